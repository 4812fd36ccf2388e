//! From the tensors of files to the parameters of modules.

use crate::ModelError;
use burn::module::Module;
use burn::tensor::{AllocationProperty, Bytes, TensorData};
use std::path::Path;
use sumi_formats::{Dtype, Floats, FormatError, StateDict};
use sumi_nn::{LoadError, Precision, Weights, load};

/// A state dict that networks take their tensors out of, each borrowed from the mapped file where
/// it needs no conversion, else read and converted by itself.
pub struct StateWeights {
    state: StateDict,
    /// Why a tensor could not be read, which says more than a [`LoadError`] can.
    error: Option<FormatError>,
}

impl Weights for StateWeights {
    fn shape_of(&self, name: &str) -> Option<Vec<usize>> {
        self.state.get(name).map(|entry| entry.shape().to_vec())
    }

    fn take(&mut self, name: &str, precision: Precision) -> Result<TensorData, LoadError> {
        let unreadable = |why: String| LoadError::Unreadable(why);
        let Some(entry) = self.state.remove(name) else {
            return Err(unreadable(format!("tensor \"{name}\" was taken twice")));
        };
        let wanted = match precision {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::Bf16,
            Precision::F16 => Dtype::F16,
        };
        let floats = entry.floats(name, wanted).map_err(|error| {
            let text = error.to_string();
            self.error = Some(error);
            unreadable(text)
        })?;
        let shape = entry.shape().to_vec();
        match floats {
            Floats::F32(values) => Ok(TensorData::new(values, shape)),
            Floats::F16(values) => Ok(TensorData::new(values, shape)),
            Floats::Bf16(values) => Ok(TensorData::new(values, shape)),
            Floats::Mapped(_, bytes) => {
                let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
                TensorData::try_from_bytes(bytes, shape, precision.dtype())
                    .map_err(|error| unreadable(error.to_string()))
            }
        }
    }

    fn left(&self) -> Vec<String> {
        self.state.names().map(str::to_owned).collect()
    }
}

/// Fills a module from the tensors of a file or of several, its rounded weights in `precision`.
///
/// Nothing is held twice: opening f32 weights in 16 bits takes the memory of the 16 bits, and
/// opening them in f32 that of the mapped file.
///
/// # Errors
/// [`ModelError::Weights`] with `path` for a tensor that is missing, of another shape or left over;
/// [`ModelError::Format`] for one that cannot be read or is not finite.
pub fn fill<M: Module>(
    module: M,
    state: StateDict,
    path: &Path,
    precision: Precision,
) -> Result<M, ModelError> {
    from_tensors(state, path, |weights| load(module, weights, precision))
}

/// What `make` builds from the tensors of a file or of several: a network whose weights are not the file's as they are,
/// such as [`sumi_networks::inception::Inception::load`].
///
/// # Errors
/// Those of [`fill`].
pub fn from_tensors<N>(
    state: StateDict,
    path: &Path,
    make: impl FnOnce(&mut StateWeights) -> Result<N, LoadError>,
) -> Result<N, ModelError> {
    let mut weights = StateWeights { state, error: None };
    make(&mut weights).map_err(|source| match weights.error {
        Some(error) => ModelError::Format(error),
        None => ModelError::Weights { path: path.to_path_buf(), source },
    })
}
