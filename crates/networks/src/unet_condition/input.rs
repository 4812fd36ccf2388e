//! What the conditional U-Net is given, and whether it fits.

use super::UNetConditionConfig;
use burn::tensor::Tensor;

/// What a network is told besides the timestep and the context. Each is given exactly when the network's
/// config asks for it, but for the guidance, which may be left out.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// A class a sample, such as the noise level of the x4 upscaler's picture.
    pub classes: Option<Vec<u32>>,
    /// What Stable Diffusion XL is told besides.
    pub added: Option<Added>,
    /// A distilled network's embedded guidance, `[N, time_cond_proj_dim]`.
    pub guidance: Option<Tensor<2>>,
}

/// The micro-conditions of Stable Diffusion XL (Podell et al., SDXL, section 2.2).
#[derive(Clone, Debug)]
pub struct Added {
    /// The pooled text embedding, `[N, P]`.
    pub text_embeds: Tensor<2>,
    /// Original size, crop and target size, each height before width, in pixels: six numbers a sample, one
    /// sample after another.
    pub time_ids: Vec<f32>,
}

/// An input that does not fit the network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct InputError {
    /// Which input.
    pub field: &'static str,
    /// What would do.
    pub expected: String,
    /// What is there.
    pub found: String,
}

fn expect(
    holds: bool,
    field: &'static str,
    expected: impl Into<String>,
    found: impl std::fmt::Debug,
) -> Result<(), InputError> {
    match holds {
        true => Ok(()),
        false => Err(InputError { field, expected: expected.into(), found: format!("{found:?}") }),
    }
}

impl UNetConditionConfig {
    /// Whether a network of this config takes these inputs.
    ///
    /// # Errors
    /// The first input that does not fit.
    pub(super) fn check_input(
        &self,
        x: &Tensor<4>,
        timesteps: &[f32],
        context: &Tensor<3>,
        extra: &Extra,
    ) -> Result<(), InputError> {
        let [n, channels, h, w] = x.dims();
        let expected = format!("[N, {}, height, width]", self.in_channels);
        expect(n > 0 && channels == self.in_channels, "x", expected, x.dims())?;
        let expected = format!("a height and a width from {}", self.least_size());
        expect(h.min(w) >= self.least_size(), "x", expected, x.dims())?;
        expect(timesteps.len() == n, "timesteps", format!("{n}"), timesteps.len())?;
        let widths = self.attended_widths();
        let fits = |[samples, tokens, width]: [usize; 3]| {
            samples == n && tokens > 0 && widths.iter().all(|&w| w == width)
        };
        let expected = match widths.first() {
            Some(width) => format!("[{n}, tokens, {width}]"),
            None => format!("[{n}, tokens, width]"),
        };
        expect(fits(context.dims()), "context", expected, context.dims())?;
        self.check_extra(n, extra)
    }

    fn check_extra(&self, n: usize, extra: &Extra) -> Result<(), InputError> {
        let classes = &extra.classes;
        match self.num_class_embeds {
            None => expect(classes.is_none(), "classes", "none: it has no classes", classes)?,
            Some(known) => {
                let expected = format!("{n} classes below {known}");
                let below = |given: &Vec<u32>| given.iter().all(|&c| (c as usize) < known);
                let fits = classes.as_ref().is_some_and(|given| given.len() == n && below(given));
                expect(fits, "classes", expected, classes)?;
            }
        }
        match (self.addition(), &extra.added) {
            (None, None) => {}
            (None, Some(_)) => {
                let expected = "none: addition_embed_type is null";
                expect(false, "text_embeds", expected, "a text embedding")?;
            }
            (Some((all, _)), None) => {
                let expected = format!("a pooled text embedding and sizes, {all} numbers in all");
                expect(false, "text_embeds", expected, "none")?;
            }
            (Some((all, each)), Some(added)) => {
                let [samples, pooled] = added.text_embeds.dims();
                let sizes = added.time_ids.len() / n;
                let whole = sizes > 0 && added.time_ids.len() == n * sizes;
                let expected = format!("the same number of sizes for each of {n} samples");
                expect(whole, "time_ids", expected, added.time_ids.len())?;
                let expected = format!("[{n}, {}]", all.saturating_sub(sizes * each));
                let fits = samples == n && pooled + sizes * each == all;
                expect(fits, "text_embeds", expected, added.text_embeds.dims())?;
            }
        }
        match (&extra.guidance, self.time_cond_proj_dim) {
            (Some(guidance), width) => {
                let expected = width
                    .map_or("none: it takes no guidance".into(), |width| format!("[{n}, {width}]"));
                let fits = width.is_some_and(|width| guidance.dims() == [n, width]);
                expect(fits, "guidance", expected, guidance.dims())
            }
            (None, _) => Ok(()),
        }
    }

    /// Pixels to a side that leave one at the coarsest level.
    fn least_size(&self) -> usize {
        match self.downsample_padding {
            // A halving takes the floor.
            0 => 1 << (self.levels() - 1),
            _ => 1,
        }
    }

    /// The widths of context that the levels with attention take.
    fn attended_widths(&self) -> Vec<usize> {
        let last = self.levels() - 1;
        (0..self.levels())
            .filter(|&level| {
                self.attends(level).contains(&true) || (level == last && self.middle_attends())
            })
            .filter_map(|level| self.cross_attention_dim.at(level).copied())
            .collect()
    }
}
