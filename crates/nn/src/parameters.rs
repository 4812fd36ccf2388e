//! A module's parameters by name.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use std::collections::BTreeMap;

/// One parameter, flattened, outside any gradient graph.
#[derive(Clone, Debug)]
pub struct NamedParameter {
    /// Its path, fields joined by dots.
    pub name: String,
    /// Its own shape.
    pub shape: Vec<usize>,
    /// Its values, `[elements]`.
    pub values: Tensor<1>,
}

/// A file's tensors do not fit a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A parameter that the file does not have.
    #[error("tensor \"{name}\" is missing: the network needs it with shape {shape:?}")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("tensor \"{name}\": expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The network's.
        expected: Vec<usize>,
        /// The file's.
        found: Vec<usize>,
    },
    /// Tensors that the network has no place for.
    #[error("{} not part of the network: {}", match names.len() {
        1 => "a tensor that is".to_string(),
        n => format!("{n} tensors that are"),
    }, shortened(names))]
    Unexpected {
        /// Their names.
        names: Vec<String>,
    },
}

fn shortened(names: &[String]) -> String {
    let mut text = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 {
        text.push_str(", ..");
    }
    text
}

/// Every parameter with its values, in the order of the module's fields.
pub fn parameters<M: Module>(module: &M) -> Vec<NamedParameter> {
    let mut visitor = Collect { path: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    visitor.found
}

/// Every parameter's name and shape, without drawing or loading any value.
pub fn parameter_shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut visitor = Shapes { path: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    visitor.found
}

/// Replaces every parameter by the tensor of its name.
///
/// # Errors
/// A parameter without a tensor, a tensor of another shape, tensors left over.
pub fn assign<M: Module>(
    module: M,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) -> Result<M, LoadError> {
    let mut mapper = Assign { path: Vec::new(), tensors, error: None };
    let module = module.map(&mut mapper);
    if let Some(error) = mapper.error {
        return Err(error);
    }
    match mapper.tensors.is_empty() {
        true => Ok(module),
        false => Err(LoadError::Unexpected { names: mapper.tensors.into_keys().collect() }),
    }
}

struct Collect {
    path: Vec<String>,
    found: Vec<NamedParameter>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().without_autodiff();
        let shape = value.dims().to_vec();
        let elements: usize = shape.iter().product();
        self.found.push(NamedParameter {
            name: self.path.join("."),
            shape,
            values: value.reshape([elements]),
        });
    }
}

struct Shapes {
    path: Vec<String>,
    found: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.join("."), param.lazy_shape().to_vec()));
    }
}

struct Assign {
    path: Vec<String>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    error: Option<LoadError>,
}

impl ModuleMapper for Assign {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let name = self.path.join(".");
        let expected = param.lazy_shape().to_vec();
        let Some((found, values)) = self.tensors.remove(&name) else {
            self.error = Some(LoadError::Missing { name, shape: expected });
            return param;
        };
        if found != expected {
            self.error = Some(LoadError::Shape { name, expected, found });
            return param;
        }
        let device = param.lazy_device();
        let value = Tensor::<D>::from_data(TensorData::new(values, found), &device);
        let require_grad = device.is_autodiff();
        param.transform_for_load(value.set_require_grad(require_grad), burn::module::ParamId::new())
    }
}

/// Takes every parameter's gradient out of `gradients`, flat, in the order of the fields.
pub fn flat_gradients<M: Module>(module: &M, gradients: Gradients) -> Vec<Option<Tensor<1>>> {
    struct Take {
        gradients: Gradients,
        flat: Vec<Option<Tensor<1>>>,
    }
    impl ModuleVisitor for Take {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad_remove(&mut self.gradients);
            self.flat.push(gradient.map(|g| {
                let elements = g.shape().num_elements();
                g.reshape([elements])
            }));
        }
    }
    let mut take = Take { gradients, flat: Vec::new() };
    module.visit(&mut take);
    take.flat
}

/// Replaces every parameter by the flat values at its place in the order of [`parameters`].
///
/// Values past the end of `values` leave their parameters as they are; each has as many elements
/// as its parameter.
pub fn with_values<M: Module>(module: M, values: Vec<Tensor<1>>) -> M {
    module.map(&mut Replace { values: values.into_iter() })
}

struct Replace {
    values: std::vec::IntoIter<Tensor<1>>,
}

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.next() {
            Some(values) => param.map(|old| {
                let value = values.reshape(old.dims());
                match old.is_autodiff() {
                    true => Tensor::from_inner(value).set_require_grad(old.is_require_grad()),
                    false => value,
                }
            }),
            None => param,
        }
    }
}
