//! LoRA files of every common layout, read into one form.
//!
//! | layout | a name in it | scale |
//! |---|---|---|
//! | [`Layout::Peft`] | `unet.mid_block...to_q.lora_A.weight` | `lora_alpha / r` from the metadata, else 1 |
//! | [`Layout::Diffusers`] | `text_encoder...q_proj.lora_linear_layer.down.weight` | 1 |
//! | [`Layout::AttnProcs`] | `mid_block...attn1.processor.to_q_lora.down.weight` | 1 |
//! | [`Layout::Kohya`] | `lora_unet_mid_block_..._to_q.lora_down.weight` | `alpha / r` |
//! | [`Layout::KohyaSgm`] | `lora_unet_middle_block_1_..._to_q.lora_down.weight` | `alpha / r` |
//!
//! Kohya's names have lost their dots, so a file is held against the layers of a network:
//! [`resolve`] says which adapter belongs to which layer, and lists every key that belongs to none.

mod error;
mod keys;
mod metadata;
mod names;
mod resolve;
mod write;

pub use error::{LoraError, Reason, Unmatched};
pub use keys::Name;
pub use resolve::{Matched, Resolved, Targets, Values, resolve};
pub use write::convert;

use crate::{Dtype, FormatError, NamedTensor, TensorMap, safetensors, torch};
use keys::{Form, Key, Role};
use metadata::Settings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A network of a text-to-image model that can be adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The denoiser.
    Unet,
    /// The text encoder, or the first of two.
    TextEncoder,
    /// The second text encoder of SDXL.
    TextEncoder2,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Unet, Self::TextEncoder, Self::TextEncoder2];

    /// Its folder in a diffusers model.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }
}

/// How a file spells its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// PEFT's, which diffusers writes today.
    Peft,
    /// diffusers' own before PEFT, `lora.down` and `lora_linear_layer.down`.
    Diffusers,
    /// diffusers' first, by attention processors.
    AttnProcs,
    /// kohya's trainer, with diffusers' block names.
    Kohya,
    /// kohya's trainer, with the block names of the CompVis and SGM code.
    KohyaSgm,
    /// More than one of these.
    Mixed,
}

impl Layout {
    /// What the layout is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Diffusers => "diffusers",
            Self::AttnProcs => "attn-procs",
            Self::Kohya => "kohya",
            Self::KohyaSgm => "kohya-sgm",
            Self::Mixed => "mixed",
        }
    }
}

/// What is added to one layer, as the file has it.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The network that the layer is in.
    pub part: Part,
    /// The layer, as the file names it.
    pub name: Name,
    /// `A`, `[r, in]` or `[r, in, k, k]`.
    pub down: Arc<NamedTensor>,
    /// `B`, `[out, r]` or `[out, r, 1, 1]`.
    pub up: Arc<NamedTensor>,
    /// What stands between them in a Tucker decomposition, `[r, r, k, k]`.
    pub mid: Option<Arc<NamedTensor>>,
    /// `alpha`, from the file or its metadata; `r` where neither says.
    pub alpha: Option<f64>,
    /// Whether the product is scaled by `alpha / sqrt(r)` and not by `alpha / r`.
    pub rank_stabilised: bool,
    /// DoRA's magnitude, one number an output.
    pub magnitude: Option<Arc<NamedTensor>>,
    /// The name of the tensor that alpha is from.
    alpha_key: Option<String>,
}

impl Adapter {
    /// `r`.
    pub fn rank(&self) -> usize {
        self.up.shape.get(1).copied().unwrap_or(0)
    }

    /// What the product is multiplied by, `alpha / r` (Hu et al., LoRA, section 4.1), or
    /// `alpha / sqrt(r)` (Kalajdzievski, rsLoRA, Eq. 1).
    pub fn scale(&self) -> f64 {
        let rank = self.rank() as f64;
        match self.alpha {
            None => 1.0,
            Some(alpha) if self.rank_stabilised => alpha / rank.sqrt(),
            Some(alpha) => alpha / rank,
        }
    }

    /// The layer's path in diffusers' tree: exact where the file has dots, else by the names that
    /// Stable Diffusion's layers have.
    pub fn module(&self) -> String {
        match &self.name {
            Name::Dotted(path) => self.in_our_tree(path.clone()),
            Name::Joined(name) => self.in_our_tree(names::split(name)),
        }
    }

    fn in_our_tree(&self, path: String) -> String {
        match self.part {
            Part::Unet => names::Sgm::published().ours(&path).unwrap_or(path),
            _ => path,
        }
    }

    /// Its tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &NamedTensor> {
        let optional = [&self.mid, &self.magnitude].into_iter().flatten();
        [&self.down, &self.up].into_iter().chain(optional).map(AsRef::as_ref)
    }

    /// The width of the text that a cross-attention reads, if it is one's keys or values.
    fn cross_width(&self) -> Option<usize> {
        let (Name::Dotted(name) | Name::Joined(name)) = &self.name;
        let ends = [".to_k", ".to_v", "_to_k", "_to_v"].iter().any(|end| name.ends_with(end));
        let cross = self.part == Part::Unet && name.contains("attn2") && ends;
        self.down.shape.get(1).copied().filter(|_| cross)
    }
}

/// A LoRA file.
#[derive(Clone, Debug)]
pub struct LoraFile {
    /// Where it is, or empty where it came from memory.
    pub path: PathBuf,
    /// How it spells its names.
    pub layout: Layout,
    /// The strings in its header, such as kohya's `ss_network_dim`.
    pub metadata: BTreeMap<String, String>,
    /// What it adds, in the order of the parts and names.
    pub adapters: Vec<Adapter>,
    /// The tensors that are part of no adapter, and why.
    pub unread: Vec<Unmatched>,
}

/// A family of models, by the width of the text embeddings that its cross-attention reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x, and Taiyi: 768.
    Sd1,
    /// Stable Diffusion 2.x: 1024.
    Sd2,
    /// Stable Diffusion XL: 2048.
    Sdxl,
    /// Something else.
    Width(usize),
}

impl Family {
    /// The family whose text embeddings are so wide.
    pub fn of_width(width: usize) -> Self {
        match width {
            768 => Self::Sd1,
            1024 => Self::Sd2,
            2048 => Self::Sdxl,
            other => Self::Width(other),
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sd1 => f.write_str("Stable Diffusion 1.x (text 768 wide)"),
            Self::Sd2 => f.write_str("Stable Diffusion 2.x (text 1024 wide)"),
            Self::Sdxl => f.write_str("Stable Diffusion XL (text 2048 wide)"),
            Self::Width(width) => write!(f, "a model whose text is {width} wide"),
        }
    }
}

impl LoraFile {
    /// How wide the text embeddings are that it was made for, if it touches cross-attention.
    pub fn cross_width(&self) -> Option<usize> {
        self.adapters.iter().find_map(Adapter::cross_width)
    }

    /// The family that it was made for: by its shapes, else by what kohya's trainer noted.
    pub fn family(&self) -> Option<Family> {
        let noted = || {
            let version = self.metadata.get("ss_base_model_version")?;
            [("sdxl", Family::Sdxl), ("sd_v2", Family::Sd2), ("sd_v1", Family::Sd1)]
                .into_iter()
                .find_map(|(start, family)| version.starts_with(start).then_some(family))
        };
        self.cross_width().map(Family::of_width).or_else(noted)
    }
}

/// The names under which a folder holds a LoRA.
const FILES_IN_FOLDER: [&str; 4] = [
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "pytorch_lora_weights.bin",
    "adapter_model.bin",
];

/// Reads a LoRA: a `.safetensors` file, a torch file, or a folder with one of either. Beside
/// PEFT's `adapter_model`, `adapter_config.json` says how it is scaled.
///
/// # Errors
/// [`LoraError::File`] for a damaged file; [`LoraError::NotALora`] for one without any adapter.
pub fn read(path: impl AsRef<Path>) -> Result<LoraFile, LoraError> {
    let path = path.as_ref();
    let in_folder = || FILES_IN_FOLDER.iter().map(|name| path.join(name)).find(|p| p.is_file());
    let path =
        &if path.is_dir() { in_folder().unwrap_or(path.to_owned()) } else { path.to_owned() };
    let is_safetensors = path.extension().is_some_and(|ending| ending == "safetensors");
    let map = if is_safetensors { safetensors::read(path)? } else { torch::read(path)? };
    let is_peft = path.file_stem().is_some_and(|stem| stem == "adapter_model");
    let beside = path.with_file_name("adapter_config.json");
    let settings = match is_peft && beside.is_file() {
        true => Settings::beside(&beside)?,
        false => Settings::of(path, &map.metadata)?,
    };
    assemble(path, map, &settings)
}

/// Reads a LoRA from the tensors of a file.
///
/// # Errors
/// As [`read`].
pub fn from_map(map: TensorMap) -> Result<LoraFile, LoraError> {
    let settings = Settings::of(Path::new(""), &map.metadata)?;
    assemble(Path::new(""), map, &settings)
}

/// The tensors of one adapter, as they are found.
#[derive(Default)]
struct Pieces {
    tensors: Vec<(Role, NamedTensor)>,
}

fn assemble(path: &Path, map: TensorMap, settings: &Settings) -> Result<LoraFile, LoraError> {
    let mut pieces: BTreeMap<(Part, Name), Pieces> = BTreeMap::new();
    let mut unread = Vec::new();
    let mut forms = Vec::new();
    let (mut sgm, mut tensors) = (false, 0);
    for tensor in map.tensors {
        tensors += 1;
        match keys::parse(&tensor.name) {
            Ok(Key { part, name, role, form }) => {
                if let Some(form) = form.filter(|form| !forms.contains(form)) {
                    forms.push(form);
                }
                sgm |= is_sgm(&name);
                pieces.entry((part, name)).or_default().tensors.push((role, tensor));
            }
            Err(reason) => unread.push(Unmatched { key: tensor.name, reason }),
        }
    }
    let mut adapters = Vec::with_capacity(pieces.len());
    for ((part, name), pieces) in pieces {
        match pieces.adapter(part, name, settings) {
            Ok(adapter) => adapters.push(adapter),
            Err(more) => unread.extend(more),
        }
    }
    if adapters.is_empty() {
        let first = unread.into_iter().next().map(Box::new);
        return Err(LoraError::NotALora { path: path.to_owned(), tensors, first });
    }
    let layout = match forms[..] {
        [Form::Peft] => Layout::Peft,
        [Form::Diffusers] => Layout::Diffusers,
        [Form::AttnProcs] => Layout::AttnProcs,
        [Form::Kohya] if sgm => Layout::KohyaSgm,
        [Form::Kohya] => Layout::Kohya,
        _ => Layout::Mixed,
    };
    Ok(LoraFile { path: path.to_owned(), layout, metadata: map.metadata, adapters, unread })
}

fn is_sgm(name: &Name) -> bool {
    let (Name::Dotted(name) | Name::Joined(name)) = name;
    ["input_blocks", "middle_block", "output_blocks"].iter().any(|start| name.starts_with(start))
}

impl Pieces {
    /// Puts the pieces together, or says of each why it cannot be used.
    fn adapter(
        self,
        part: Part,
        name: Name,
        settings: &Settings,
    ) -> Result<Adapter, Vec<Unmatched>> {
        if let Err(reason) = self.check() {
            let keys = self.tensors.into_iter();
            let unmatched = |(_, tensor): (Role, NamedTensor)| Unmatched {
                key: tensor.name,
                reason: reason.clone(),
            };
            return Err(keys.map(unmatched).collect());
        }
        let alpha = self.tensors.iter().find(|(role, _)| *role == Role::Alpha);
        let alpha_key = alpha.map(|(_, tensor)| tensor.name.clone());
        let alpha = alpha.and_then(|(_, tensor)| scalar(tensor));
        let [mut down, mut up, mut mid, mut magnitude] = [None, None, None, None];
        for (role, tensor) in self.tensors {
            match role {
                Role::Down => down = Some(Arc::new(tensor)),
                Role::Up => up = Some(Arc::new(tensor)),
                Role::Mid => mid = Some(Arc::new(tensor)),
                Role::Magnitude => magnitude = Some(Arc::new(tensor)),
                Role::Alpha | Role::Other(_) => {}
            }
        }
        let (Some(down), Some(up)) = (down, up) else { return Err(Vec::new()) };
        let (from_settings, rank_stabilised) = match &name {
            Name::Dotted(path) if alpha.is_none() => settings.alpha(part, path),
            _ => (None, false),
        };
        let alpha = alpha.or(from_settings);
        Ok(Adapter { part, name, down, up, mid, alpha, rank_stabilised, magnitude, alpha_key })
    }

    fn check(&self) -> Result<(), Reason> {
        let of = |wanted: Role| self.tensors.iter().filter(move |(role, _)| *role == wanted);
        for (role, _) in &self.tensors {
            if let Role::Other(what) = role {
                return Err(Reason::Unsupported(what));
            }
            if of(*role).count() > 1 {
                return Err(Reason::Twice);
            }
        }
        let (Some((_, down)), Some((_, up))) = (of(Role::Down).next(), of(Role::Up).next()) else {
            let missing = if of(Role::Down).next().is_none() { "down" } else { "up" };
            return Err(Reason::Incomplete(missing));
        };
        let floats = self
            .tensors
            .iter()
            .all(|(role, tensor)| *role == Role::Alpha || is_float(tensor.dtype));
        if !floats {
            return Err(Reason::Integers);
        }
        let rank = up.shape.get(1).copied().unwrap_or(0);
        let inner = match of(Role::Mid).next() {
            None => down.shape.first().copied() == Some(rank),
            Some((_, mid)) => {
                mid.shape.len() == 4
                    && mid.shape[0] == rank
                    && Some(&mid.shape[1]) == down.shape.first()
            }
        };
        let sound = |shape: &[usize]| matches!(shape.len(), 2 | 4) && !shape.contains(&0);
        let pointwise = up.shape.iter().skip(2).all(|&size| size == 1);
        if !inner || !pointwise || !sound(&up.shape) || !sound(&down.shape) {
            return Err(Reason::Ranks { down: down.shape.clone(), up: up.shape.clone() });
        }
        match of(Role::Alpha).next() {
            Some((_, alpha)) if scalar(alpha).is_none() => Err(Reason::Alpha),
            _ => Ok(()),
        }
    }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}

/// The one finite number of a tensor.
fn scalar(tensor: &NamedTensor) -> Option<f64> {
    if tensor.elements() != 1 {
        return None;
    }
    let value = tensor.to_f32().ok()?.first().copied()?;
    value.is_finite().then_some(f64::from(value))
}

/// A mistake in a file's metadata.
fn bad_metadata(path: &Path, field: &str, expected: &str, found: String) -> LoraError {
    LoraError::File(FormatError::malformed(path, field, None, expected, found))
}

#[cfg(test)]
mod tests;
