//! A module's parameters by name.

use crate::Precision;
use crate::precision::is_rounded;
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
    /// A tensor whose values cannot be read, or are not numbers.
    #[error("{0}")]
    Unreadable(String),
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

/// Tensors by name that a module is filled from, one at a time.
pub trait Weights {
    /// The shape of a tensor; nothing where there is none of that name.
    fn shape_of(&self, name: &str) -> Option<Vec<usize>>;

    /// Hands out a tensor, once, in the type of `precision`; asked for after its shape.
    ///
    /// # Errors
    /// Values that cannot be read, or that are not finite.
    fn take(&mut self, name: &str, precision: Precision) -> Result<TensorData, LoadError>;

    /// The tensors that were not taken.
    fn left(&self) -> Vec<String>;

    /// Under which name the file has a tensor, for errors.
    fn stored_name(&self, name: &str) -> String {
        name.to_string()
    }
}

impl Weights for BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    fn shape_of(&self, name: &str) -> Option<Vec<usize>> {
        self.get(name).map(|(shape, _)| shape.clone())
    }

    fn take(&mut self, name: &str, precision: Precision) -> Result<TensorData, LoadError> {
        let (shape, values) = self.remove(name).unwrap_or_default();
        Ok(TensorData::new(values, shape).convert_dtype(precision.dtype()))
    }

    fn left(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// Replaces every parameter by the tensor of its name.
///
/// # Errors
/// A parameter without a tensor, a tensor of another shape, tensors left over.
pub fn assign<M: Module>(
    module: M,
    mut weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) -> Result<M, LoadError> {
    load(module, &mut weights, Precision::F32)
}

/// Replaces every parameter by the tensor of its name, the weights of products in `precision`:
/// what [`crate::to_precision`] makes of [`assign`]'s result, without the f32 weights in between.
///
/// # Errors
/// A parameter without a tensor, a tensor of another shape or that cannot be read, tensors left
/// over.
pub fn load<M: Module>(
    module: M,
    weights: &mut impl Weights,
    precision: Precision,
) -> Result<M, LoadError> {
    let (path, containers) = (Vec::new(), Vec::new());
    let mut mapper = Assign { path, containers, weights, precision, error: None };
    let module = module.map(&mut mapper);
    if let Some(error) = mapper.error {
        return Err(error);
    }
    let names = weights.left();
    match names.is_empty() {
        true => Ok(module),
        false => Err(LoadError::Unexpected { names }),
    }
}

/// Whether there is a tensor of that name and shape.
pub(crate) fn check_shape(
    weights: &impl Weights,
    name: &str,
    expected: &[usize],
) -> Result<(), LoadError> {
    let (found, name) = (weights.shape_of(name), weights.stored_name(name));
    match found {
        None => Err(LoadError::Missing { name, shape: expected.to_vec() }),
        Some(found) if found != expected => {
            Err(LoadError::Shape { name, expected: expected.to_vec(), found })
        }
        Some(_) => Ok(()),
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

struct Assign<'a, W> {
    path: Vec<String>,
    /// What each step of the path leads into, such as `Struct:Linear`.
    containers: Vec<String>,
    weights: &'a mut W,
    precision: Precision,
    error: Option<LoadError>,
}

impl<W: Weights> Assign<'_, W> {
    /// The tensor of the parameter at the present path.
    fn take(&mut self, expected: Vec<usize>) -> Result<TensorData, LoadError> {
        let name = self.path.join(".");
        check_shape(self.weights, &name, &expected)?;
        let layer = self.containers.last().map_or("", String::as_str);
        let precision = match is_rounded(layer, expected.len()) {
            true => self.precision,
            false => Precision::F32,
        };
        self.weights.take(&name, precision)
    }
}

impl<W: Weights> ModuleMapper for Assign<'_, W> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let data = match self.take(param.lazy_shape().to_vec()) {
            Ok(data) => data,
            Err(error) => {
                self.error = Some(error);
                return param;
            }
        };
        let device = param.lazy_device();
        let dtype = data.dtype();
        let value = Tensor::<D>::from_data(data, (&device, dtype));
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
