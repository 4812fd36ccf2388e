//! Reaching the layers of a network by their paths, and changing what sits beside them.

use crate::adapter::folded;
use crate::{Adapter, AdapterError, AdapterValues, Conv2d, Linear};
use burn::module::{Param, ParamId};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// A layer that products are made in.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// Its weight is `[out, in]`.
    Linear(&'a Linear),
    /// Its weight is `[out, in, k, k]`.
    Conv2d(&'a Conv2d),
}

/// A [`Layer`] that can be changed.
#[derive(Debug)]
pub enum LayerMut<'a> {
    /// Its weight is `[out, in]`.
    Linear(&'a mut Linear),
    /// Its weight is `[out, in, k, k]`.
    Conv2d(&'a mut Conv2d),
}

/// What has [`Layer`]s inside: every network, by [`layers!`](crate::layers).
pub trait Layers {
    /// Shows every layer with its path, whose fields are joined by dots behind `path`.
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>));

    /// Shows every layer to something that may change it.
    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>));
}

/// Runs `work` with `name` at the end of `path`.
#[doc(hidden)]
pub fn within(path: &mut String, name: &str, work: impl FnOnce(&mut String)) {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(name);
    work(path);
    path.truncate(length);
}

/// Lets the named fields of a struct be visited; every field that has a [`Linear`] or a [`Conv2d`]
/// somewhere inside is to be named.
///
/// ```
/// use burn::module::Module;
/// use sumi_nn::{Linear, layers};
///
/// #[derive(Module, Debug)]
/// struct FeedForward {
///     fc1: Linear,
///     fc2: Option<Linear>,
/// }
/// layers!(FeedForward { fc1, fc2 });
/// ```
///
/// A struct of any layers, as in `struct Block<A: Module>`, is written `layers!(Block<A> { .. } where A)`.
#[macro_export]
macro_rules! layers {
    ($owner:ty { $($field:ident),* $(,)? } $(where $inner:ident)?) => {
        impl$(<$inner: ::burn::module::Module + $crate::Layers>)? $crate::Layers for $owner {
            fn visit_layers<'a>(
                &'a self,
                path: &mut String,
                visit: &mut dyn FnMut(&str, $crate::Layer<'a>),
            ) {
                $($crate::within(path, stringify!($field), |path| {
                    $crate::Layers::visit_layers(&self.$field, path, visit);
                });)*
            }

            fn visit_layers_mut(
                &mut self,
                path: &mut String,
                visit: &mut dyn FnMut(&str, $crate::LayerMut<'_>),
            ) {
                $($crate::within(path, stringify!($field), |path| {
                    $crate::Layers::visit_layers_mut(&mut self.$field, path, visit);
                });)*
            }
        }
    };
}

macro_rules! leaf {
    ($($layer:ident)*) => {$(
        impl Layers for $layer {
            fn visit_layers<'a>(
                &'a self,
                path: &mut String,
                visit: &mut dyn FnMut(&str, Layer<'a>),
            ) {
                visit(path, Layer::$layer(self));
            }

            fn visit_layers_mut(
                &mut self,
                path: &mut String,
                visit: &mut dyn FnMut(&str, LayerMut<'_>),
            ) {
                visit(path, LayerMut::$layer(self));
            }
        }
    )*};
}

leaf!(Linear Conv2d);

impl<T: Layers> Layers for Vec<T> {
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>)) {
        for (index, item) in self.iter().enumerate() {
            within(path, &index.to_string(), |path| item.visit_layers(path, visit));
        }
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        for (index, item) in self.iter_mut().enumerate() {
            within(path, &index.to_string(), |path| item.visit_layers_mut(path, visit));
        }
    }
}

impl<T: Layers> Layers for Option<T> {
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>)) {
        if let Some(item) = self {
            item.visit_layers(path, visit);
        }
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        if let Some(item) = self {
            item.visit_layers_mut(path, visit);
        }
    }
}

impl Layer<'_> {
    /// `[out, in]` or `[out, in, k, k]`; no value is drawn or loaded.
    pub fn weight_shape(&self) -> Vec<usize> {
        match self {
            Self::Linear(layer) => layer.weight.lazy_shape().to_vec(),
            Self::Conv2d(layer) => layer.weight.lazy_shape().to_vec(),
        }
    }

    /// What sits beside it.
    pub fn adapters(&self) -> &[Adapter] {
        match self {
            Self::Linear(layer) => &layer.adapters,
            Self::Conv2d(layer) => &layer.adapters,
        }
    }
}

/// Every layer's path and the shape of its weight, in the order of the fields.
pub fn layer_shapes<N: Layers>(network: &N) -> Vec<(String, Vec<usize>)> {
    let mut found = Vec::new();
    network.visit_layers(&mut String::new(), &mut |path, layer| {
        found.push((path.to_string(), layer.weight_shape()));
    });
    found
}

/// PyTorch's `ModuleList` of two modules of different kinds.
impl<A: Layers, B: Layers> Layers for (A, B) {
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>)) {
        within(path, "0", |path| self.0.visit_layers(path, visit));
        within(path, "1", |path| self.1.visit_layers(path, visit));
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        within(path, "0", |path| self.0.visit_layers_mut(path, visit));
        within(path, "1", |path| self.1.visit_layers_mut(path, visit));
    }
}

impl LayerMut<'_> {
    fn adapters(&mut self) -> &mut Vec<Adapter> {
        match self {
            Self::Linear(layer) => &mut layer.adapters,
            Self::Conv2d(layer) => &mut layer.adapters,
        }
    }

    fn attach(&mut self, values: AdapterValues) -> Result<(), AdapterError> {
        let (shape, device) = match self {
            Self::Linear(layer) => (layer.weight.lazy_shape().to_vec(), layer.weight.lazy_device()),
            Self::Conv2d(layer) => (layer.weight.lazy_shape().to_vec(), layer.weight.lazy_device()),
        };
        let adapter = Adapter::new(values, &shape, &device)?;
        self.adapters().push(adapter);
        Ok(())
    }
}

/// Puts adapters beside layers, each behind those that are there already.
///
/// # Errors
/// A path that no layer has; numbers that do not fit their layer. The network may then have some of
/// the adapters already, so what must not be lost is attached to a copy: copies share their tensors.
pub fn attach<N: Layers>(
    network: &mut N,
    adapters: impl IntoIterator<Item = (String, AdapterValues)>,
) -> Result<(), AdapterError> {
    let mut waiting: BTreeMap<String, Vec<AdapterValues>> = BTreeMap::new();
    for (path, values) in adapters {
        waiting.entry(path).or_default().push(values);
    }
    let mut outcome = Ok(());
    network.visit_layers_mut(&mut String::new(), &mut |path, mut layer| {
        for values in waiting.remove(path).into_iter().flatten() {
            if outcome.is_ok() {
                outcome = layer.attach(values);
            }
        }
    });
    outcome?;
    match waiting.into_keys().next() {
        Some(path) => Err(AdapterError::NoLayer { path }),
        None => Ok(()),
    }
}

/// Takes all adapters away.
pub fn detach<N: Layers>(network: &mut N) {
    network.visit_layers_mut(&mut String::new(), &mut |_, mut layer| layer.adapters().clear());
}

/// What [`merge`] took out of a network: the frozen weights, and the adapters beside them.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    linear: BTreeMap<String, Original<2>>,
    conv2d: BTreeMap<String, Original<4>>,
}

#[derive(Clone, Debug)]
struct Original<const D: usize> {
    weight: Param<Tensor<D>>,
    adapters: Vec<Adapter>,
}

/// Folds all adapters into the weights that they are beside, in `f32`, rounded to the weights' own
/// type.
pub fn merge<N: Layers>(network: &mut N) -> Merged {
    let mut merged = Merged::default();
    network.visit_layers_mut(&mut String::new(), &mut |path, layer| match layer {
        LayerMut::Linear(Linear { weight, adapters, .. }) => {
            fold(path, weight, adapters, &mut merged.linear);
        }
        LayerMut::Conv2d(Conv2d { weight, adapters, .. }) => {
            fold(path, weight, adapters, &mut merged.conv2d);
        }
    });
    merged
}

fn fold<const D: usize>(
    path: &str,
    weight: &mut Param<Tensor<D>>,
    adapters: &mut Vec<Adapter>,
    originals: &mut BTreeMap<String, Original<D>>,
) {
    if adapters.is_empty() {
        return;
    }
    let frozen = weight.val();
    let (shape, dtype) = (frozen.dims(), frozen.dtype());
    let rows = frozen.reshape([shape[0] as i32, -1]);
    let value = folded(rows, adapters).reshape(shape).cast(dtype).detach();
    let value = Param::initialized(ParamId::new(), value);
    let original =
        Original { weight: std::mem::replace(weight, value), adapters: std::mem::take(adapters) };
    originals.insert(path.to_string(), original);
}

/// Puts back what [`merge`] took: the same weights, to the last bit, and the adapters beside them.
pub fn unmerge<N: Layers>(network: &mut N, mut merged: Merged) {
    network.visit_layers_mut(&mut String::new(), &mut |path, layer| match layer {
        LayerMut::Linear(Linear { weight, adapters, .. }) => {
            restore(merged.linear.remove(path), weight, adapters);
        }
        LayerMut::Conv2d(Conv2d { weight, adapters, .. }) => {
            restore(merged.conv2d.remove(path), weight, adapters);
        }
    });
}

fn restore<const D: usize>(
    original: Option<Original<D>>,
    weight: &mut Param<Tensor<D>>,
    adapters: &mut Vec<Adapter>,
) {
    if let Some(original) = original {
        *weight = original.weight;
        *adapters = original.adapters;
    }
}
