//! Which adapter belongs to which layer.

use super::names::{Aliases, Sgm, joined};
use super::{Adapter, Family, LoraError, LoraFile, Name, Part, Reason, Unmatched};
use crate::{FormatError, NamedTensor, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers of a model that can be adapted, by part.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    parts: BTreeMap<Part, Layers>,
}

#[derive(Clone, Debug, Default)]
struct Layers {
    /// Paths in diffusers' or transformers' tree, and the shapes of the weights.
    layers: Vec<(String, Vec<usize>)>,
    aliases: Aliases,
}

/// The step that newer versions of transformers leave out of CLIP's paths.
const TEXT_MODEL: &str = "text_model.";

impl Targets {
    /// A model without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part's layers: paths, and the shapes of their weights, `[out, in]` or
    /// `[out, in, k, k]`. What has another number of dimensions is no layer.
    pub fn add(&mut self, part: Part, layers: impl IntoIterator<Item = (String, Vec<usize>)>) {
        let layers = layers.into_iter().filter(|(_, shape)| matches!(shape.len(), 2 | 4)).collect();
        let mut found = Layers { layers, aliases: Aliases::default() };
        let sgm = (part == Part::Unet)
            .then(|| Sgm::of(found.layers.iter().map(|(path, _)| path.as_str())));
        for (index, (path, _)) in found.layers.iter().enumerate() {
            let mut names = sgm.as_ref().map_or_else(Vec::new, |sgm| sgm.theirs(path));
            if part != Part::Unet {
                names.push(match path.strip_prefix(TEXT_MODEL) {
                    Some(rest) => rest.to_owned(),
                    None => format!("{TEXT_MODEL}{path}"),
                });
            }
            names.push(path.clone());
            for name in names {
                found.aliases.add(joined(&name), index);
                found.aliases.add(name, index);
            }
        }
        self.parts.insert(part, found);
    }

    /// Adds a part's layers from the tensors of its state dict: every weight of two or four
    /// dimensions.
    pub fn add_tensors<'a>(
        &mut self,
        part: Part,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) {
        let layer = |(name, shape): (&str, &[usize])| {
            Some((name.strip_suffix(".weight")?.to_owned(), shape.to_vec()))
        };
        self.add(part, tensors.into_iter().filter_map(layer));
    }

    /// How wide the text embeddings are that the U-Net reads.
    pub fn cross_width(&self) -> Option<usize> {
        let unet = self.parts.get(&Part::Unet)?;
        let cross = |path: &str| path.ends_with(".attn2.to_k");
        let (_, shape) = unet.layers.iter().find(|(path, _)| cross(path))?;
        shape.get(1).copied()
    }
}

/// An adapter and the layer that it belongs to.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The network.
    pub part: Part,
    /// The layer's path.
    pub module: String,
    /// The shape of its weight.
    pub shape: Vec<usize>,
    adapter: Adapter,
}

/// An adapter's numbers, ready for its layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// `r`.
    pub rank: usize,
    /// `A`, `[r, in * k * k]`, in the order of the layer's weight.
    pub down: Vec<f32>,
    /// `B`, `[out, r]`.
    pub up: Vec<f32>,
    /// DoRA's magnitude, `[out]`.
    pub magnitude: Option<Vec<f32>>,
    /// What the product is multiplied by.
    pub scale: f64,
}

/// A file held against a model.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What can be used, in the order of parts and paths.
    pub matched: Vec<Matched>,
    /// What cannot, tensor by tensor: a warning that is to be shown.
    pub unmatched: Vec<Unmatched>,
    /// How many of the file's tensors are used.
    pub matched_keys: usize,
}

/// Finds the layer of every adapter.
///
/// # Errors
/// [`LoraError::Family`] where the text that the adapters read is of another width than the model's;
/// [`LoraError::NoneMatched`] where not one of them fits.
pub fn resolve(file: &LoraFile, targets: &Targets) -> std::result::Result<Resolved, LoraError> {
    if let (Some(lora), Some(model)) = (file.cross_width(), targets.cross_width())
        && lora != model
    {
        let (lora, model) = (Family::of_width(lora), Family::of_width(model));
        return Err(LoraError::Family { path: file.path.clone(), lora, model });
    }
    let mut taken = BTreeSet::new();
    let mut found = Resolved { matched: Vec::new(), unmatched: Vec::new(), matched_keys: 0 };
    for adapter in &file.adapters {
        let matched = find(adapter, targets).and_then(|matched| {
            match taken.insert((matched.part, matched.module.clone())) {
                true => Ok(matched),
                false => Err(Reason::Twice),
            }
        });
        match matched {
            Ok(matched) => {
                found.matched_keys += adapter.keys().count();
                found.matched.push(matched);
            }
            Err(reason) => found.unmatched.extend(
                adapter.keys().map(|key| Unmatched { key: key.to_owned(), reason: reason.clone() }),
            ),
        }
    }
    if found.matched.is_empty() {
        return Err(LoraError::NoneMatched {
            path: file.path.clone(),
            adapters: file.adapters.len(),
            family: file.family(),
            first: found.unmatched.into_iter().next().map(Box::new),
        });
    }
    found.matched.sort_by(|a, b| (a.part, &a.module).cmp(&(b.part, &b.module)));
    found.unmatched.extend(file.unread.iter().cloned());
    Ok(found)
}

fn find(adapter: &Adapter, targets: &Targets) -> std::result::Result<Matched, Reason> {
    let part = adapter.part;
    let layers = targets.parts.get(&part).ok_or(Reason::MissingPart(part))?;
    let (Name::Dotted(name) | Name::Joined(name)) = &adapter.name;
    let index = layers.aliases.get(name).ok_or(Reason::NoLayer(part))?;
    let (module, shape) = layers.layers.get(index).ok_or(Reason::NoLayer(part))?;
    adapter.fits(shape)?;
    Ok(Matched { part, module: module.clone(), shape: shape.clone(), adapter: adapter.clone() })
}

impl Adapter {
    /// Holds the adapter against a weight. A linear layer and a convolution of one pixel are the same.
    fn fits(&self, layer: &[usize]) -> std::result::Result<(), Reason> {
        let outputs = layer.first().copied().unwrap_or(0);
        let mut own = vec![self.up.shape.first().copied().unwrap_or(0)];
        own.extend(self.down.shape.iter().skip(1));
        if let Some(mid) = &self.mid {
            let pointwise = own.get(2..).is_none_or(|window| window.iter().all(|&size| size == 1));
            own.truncate(2);
            // A window on both sides would be larger than either.
            own.extend(mid.shape.iter().skip(2).map(|&size| if pointwise { size } else { 0 }));
        }
        if without_pixel(&own) != without_pixel(layer) {
            return Err(Reason::Shape { layer: layer.to_vec(), adapter: own });
        }
        match &self.magnitude {
            Some(magnitude) if !self.scales_outputs(magnitude, layer) => {
                Err(Reason::Magnitude { outputs, found: magnitude.shape.clone() })
            }
            _ => Ok(()),
        }
    }

    /// PEFT has `[out]` and `[1, out, 1, 1]`. LyCORIS has `[out, 1, ..]`, or `[1, in, ..]` for a
    /// decomposition of columns, which must not be taken for the former.
    fn scales_outputs(&self, magnitude: &NamedTensor, layer: &[usize]) -> bool {
        let (outputs, inputs) = (layer.first().copied(), layer.get(1).copied());
        let shape = magnitude.shape.as_slice();
        let rest = shape.iter().skip(1).all(|&size| size == 1);
        let peft = shape.len() == 4 && shape[0] == 1 && shape[2] == 1 && shape[3] == 1;
        let unlike = matches!(self.name, Name::Dotted(_)) || inputs != outputs;
        (shape.first().copied() == outputs && rest)
            || (peft && shape.get(1).copied() == outputs && unlike)
    }

    /// The names of its tensors in the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors().map(|tensor| tensor.name.as_str()).chain(self.alpha_key.as_deref())
    }
}

/// A weight's shape without a window of one pixel.
fn without_pixel(shape: &[usize]) -> &[usize] {
    match shape {
        [head @ .., 1, 1] if head.len() == 2 => head,
        other => other,
    }
}

impl Matched {
    /// `r`.
    pub fn rank(&self) -> usize {
        self.adapter.rank()
    }

    /// Its numbers as `f32`.
    ///
    /// # Errors
    /// A tensor whose bytes do not fit its shape, which no reader gives.
    pub fn values(&self) -> Result<Values> {
        let Adapter { down, up, mid, magnitude, .. } = &self.adapter;
        let down = match mid {
            None => down.to_f32()?,
            Some(mid) => tucker(down, mid)?,
        };
        let magnitude = magnitude.as_ref().map(|magnitude| magnitude.to_f32()).transpose()?;
        let scale = self.adapter.scale();
        let values = Values { rank: self.adapter.rank(), down, up: up.to_f32()?, magnitude, scale };
        values.check(&self.module)?;
        Ok(values)
    }
}

impl Values {
    /// A number that is none would spread over the whole picture.
    fn check(&self, module: &str) -> Result<()> {
        let numbers = self.down.iter().chain(&self.up).chain(self.magnitude.iter().flatten());
        match numbers.into_iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => {
                let name = format!("adapter of {module}");
                Err(FormatError::tensor(Path::new(""), &name, "finite numbers", "others"))
            }
        }
    }
}

/// `A` from its Tucker decomposition: `A[r, i, y, x] = sum_s mid[r, s, y, x] down[s, i]` (Yeh et al.,
/// LyCORIS, section 3.1).
fn tucker(down: &NamedTensor, mid: &NamedTensor) -> Result<Vec<f32>> {
    let (inner, inputs) = (down.shape[0], down.shape[1]);
    let (outer, window) = (mid.shape[0], mid.shape[2] * mid.shape[3]);
    let (down, mid) = (down.to_f32()?, mid.to_f32()?);
    let mut product = vec![0.0; outer * inputs * window];
    for (r, rows) in product.chunks_exact_mut(inputs * window).enumerate() {
        for s in 0..inner {
            let at = (r * inner + s) * window;
            for (i, pixels) in rows.chunks_exact_mut(window).enumerate() {
                let factor = down[s * inputs + i];
                for (pixel, value) in pixels.iter_mut().zip(&mid[at..at + window]) {
                    *pixel += factor * value;
                }
            }
        }
    }
    Ok(product)
}
