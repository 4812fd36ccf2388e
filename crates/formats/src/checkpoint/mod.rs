//! Checkpoints of text-to-image pipelines: a diffusers folder or a single file, as the same parts.
//!
//! | layout | what it is | configuration |
//! |---|---|---|
//! | [`Layout::Diffusers`] | a folder with `model_index.json` and a folder for each component | read |
//! | [`Layout::SingleFile`] | one `.safetensors` or `.ckpt` with CompVis' or SGM's names | inferred from names and shapes |
//!
//! Either way a part's tensors bear the names that diffusers and transformers give them today, and
//! its configuration is the JSON that they would write.

mod family;
mod folder;
mod names;
mod save;
mod single;
mod weights;

pub use family::{Family, Prediction};
pub use names::present_name;
pub use save::{Target, TokenizerFiles};
pub use single::to_single_file;

use crate::{Result, StateDict};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a checkpoint lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A folder with `model_index.json`.
    Diffusers,
    /// One file with CompVis' or SGM's names.
    SingleFile,
}

impl Layout {
    /// `diffusers` or `single-file`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::SingleFile => "single-file",
        }
    }
}

/// What to prefer where a checkpoint leaves a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// The variant of the weights, such as `fp16`, in place of the plain ones.
    pub variant: Option<String>,
    /// What the network predicts, where a single file does not say.
    pub prediction: Option<Prediction>,
}

/// A component of a pipeline.
#[derive(Clone, Debug)]
pub struct Part {
    /// The library that its class is in: `diffusers` or `transformers`.
    pub library: String,
    /// Its class, such as `UNet2DConditionModel`.
    pub class: String,
    /// Its configuration as the file has it; null where it has none.
    pub config: Value,
    /// Its tensors under their present names, where it has any.
    pub weights: Option<StateDict>,
    /// Its folder, in a diffusers folder.
    pub folder: Option<PathBuf>,
    /// The files of a tokenizer that a single file brings along, by name: those that Sumi wrote of
    /// pipelines with a vocabulary of their own.
    pub files: BTreeMap<String, String>,
}

/// The tensors of one component's folder, under their present names.
///
/// # Errors
/// A folder without weights, a file that is broken or cut short.
pub fn open_component(folder: &Path, class: &str) -> Result<StateDict> {
    names::present(weights::open(folder, class, &Preferences::default())?, class)
}

/// A pipeline that was opened: what it is and where its tensors lie.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The folder or file.
    pub path: PathBuf,
    /// How it lies on disk.
    pub layout: Layout,
    /// The pipeline's class, such as `StableDiffusionPipeline`.
    pub class: String,
    /// The components by name: `unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`, ..
    pub parts: BTreeMap<String, Part>,
    /// The values of `model_index.json` that are no components, such as
    /// `force_zeros_for_empty_prompt`.
    pub index: Map<String, Value>,
    /// What was left out: components that draw nothing, and tensors that belong to no component.
    pub left_out: Vec<String>,
    /// What was assumed, because the file does not say.
    pub assumed: Vec<String>,
}

impl Checkpoint {
    /// Opens a diffusers folder or a single file; no tensor is read.
    ///
    /// # Errors
    /// A missing component, named with the folder that should hold it; a file that is broken or
    /// cut short; a folder of one component; a file of tensors that is no pipeline.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Preferences::default())
    }

    /// [`Self::open`] with preferences.
    ///
    /// # Errors
    /// As [`Self::open`], and a variant that no component has.
    pub fn open_with(path: impl AsRef<Path>, preferences: &Preferences) -> Result<Self> {
        let path = path.as_ref();
        match path.is_file() {
            true => single::open(path, preferences),
            false => folder::open(path, preferences),
        }
    }

    /// The component of that name.
    ///
    /// # Errors
    /// The pipeline has none.
    pub fn part(&self, name: &str) -> Result<&Part> {
        self.parts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.parts.keys().map(String::as_str).collect();
            crate::FormatError::incomplete(
                &self.path,
                format!("a {} with the component {name}", self.class),
                format!("the components {}", known.join(", ")),
            )
        })
    }

    /// What kind of Stable Diffusion it is.
    pub fn family(&self) -> Family {
        Family::of(self)
    }
}
