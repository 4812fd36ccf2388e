use super::{Family, Part};
use crate::FormatError;
use std::path::PathBuf;

/// Why a tensor of a LoRA file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Its name says nothing of an adapter.
    #[error("its name is not that of an adapter's tensor")]
    NotLora,
    /// It adapts something that Sumi does not read.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// It is for a network of another kind, such as a diffusion transformer.
    #[error("it is for a network that Sumi does not run")]
    OtherNetwork,
    /// Neither its name's beginning nor its first step says which network it is for.
    #[error("its name does not say which network it is for")]
    NoPart,
    /// One of the two factors is missing.
    #[error("the adapter has no `{0}` tensor")]
    Incomplete(&'static str),
    /// The same tensor, or the same layer, under two names.
    #[error("it is given twice")]
    Twice,
    /// Its elements are no floating-point numbers.
    #[error("its elements are integers")]
    Integers,
    /// The factors do not fit each other.
    #[error("`down` {down:?} and `up` {up:?} do not fit each other")]
    Ranks {
        /// `A`'s shape.
        down: Vec<usize>,
        /// `B`'s shape.
        up: Vec<usize>,
    },
    /// Its alpha is not one finite number.
    #[error("its alpha is not one finite number")]
    Alpha,
    /// The model has no such part.
    #[error("the model has no {}", .0.folder())]
    MissingPart(Part),
    /// The part has no such layer.
    #[error("the {} has no such layer", .0.folder())]
    NoLayer(Part),
    /// The layer has another shape.
    #[error("the layer's weight is {layer:?}, the adapter is for {adapter:?}")]
    Shape {
        /// The layer's.
        layer: Vec<usize>,
        /// The adapter's, `out` and whatever `down` has after `r`.
        adapter: Vec<usize>,
    },
    /// The magnitude has another shape, or scales inputs where outputs are scaled here.
    #[error("the magnitude is {found:?}, expected one number for each of {outputs} outputs")]
    Magnitude {
        /// The layer's.
        outputs: usize,
        /// The file's.
        found: Vec<usize>,
    },
}

/// A tensor that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {reason}", shortened(key))]
pub struct Unmatched {
    /// Its name in the file.
    pub key: String,
    /// Why.
    pub reason: Reason,
}

/// A name comes from the file, so that it could be as long as the file.
fn shortened(key: &str) -> String {
    crate::error::clip(key.to_owned())
}

/// A LoRA that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FormatError),
    /// Not one adapter is in the file.
    #[error("{}: expected a LoRA, found {tensors} tensors without one adapter that can be used{}",
            path.display(), first.as_ref().map(|first| format!("; {first}")).unwrap_or_default())]
    NotALora {
        /// The file.
        path: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// The first of them.
        first: Option<Box<Unmatched>>,
    },
    /// The file is for models of another family.
    #[error("{}: the LoRA is for {lora}, the model is {model}; choose a LoRA that was trained for \
             this model's family", path.display())]
    Family {
        /// The file.
        path: PathBuf,
        /// What it was made for.
        lora: Family,
        /// What it was to be used with.
        model: Family,
    },
    /// Not one adapter fits.
    #[error("{}: none of its {adapters} adapters fits the model{}{}", path.display(),
            family.map(|family| format!("; it was made for {family}")).unwrap_or_default(),
            first.as_ref().map(|first| format!("; {first}")).unwrap_or_default())]
    NoneMatched {
        /// The file.
        path: PathBuf,
        /// How many adapters it has.
        adapters: usize,
        /// What it looks to be made for.
        family: Option<Family>,
        /// The first that does not fit.
        first: Option<Box<Unmatched>>,
    },
    /// It cannot be written in another layout.
    #[error("{}: cannot be written as {layout}: {what}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout.
        layout: &'static str,
        /// Why not.
        what: String,
    },
}
