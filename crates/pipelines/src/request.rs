//! What to draw.

use sumi_model::SamplerChoice;

/// The words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompts {
    /// What is to be seen.
    pub prompt: String,
    /// What is not; where nothing is said, the empty prompt, or zeros where the checkpoint wants them.
    pub negative: Option<String>,
    /// Whether brackets are letters and what is too long is cut off, as in diffusers; otherwise weights are
    /// read and long prompts go on in further chunks, as in the WebUI.
    pub plain: bool,
    /// How many of the text encoder's last layers are left out.
    pub clip_skip: usize,
}

/// Whose random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generator {
    /// PyTorch's on the CPU.
    #[default]
    TorchCpu,
    /// PyTorch's on a CUDA device.
    TorchCuda,
}

/// A picture to start from.
#[derive(Clone, Debug, PartialEq)]
pub struct Init {
    /// From -1 to 1, `[3, H, W]`.
    pub image: Vec<f32>,
    /// Height and width, in pixels.
    pub dims: [usize; 2],
    /// Which pixels are redrawn, `[H, W]`; all of them where there is none.
    pub mask: Option<Vec<bool>>,
    /// The share of the way that is walked, from 0 to 1; 0.8 where nothing is said, 1 with a mask.
    pub strength: Option<f64>,
}

/// What to draw, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The words.
    pub prompts: Prompts,
    /// Picture `i` draws its noise from a generator of seed `seed + i`.
    pub seed: u64,
    /// Whose random numbers.
    pub generator: Generator,
    /// Sampler, steps and grid; the checkpoint's own where nothing is said.
    pub choice: SamplerChoice,
    /// The scale of classifier-free guidance; up to 1 there is none.
    pub guidance: f64,
    /// Height and width, in pixels; the picture's own where there is one to start from, else the
    /// checkpoint's.
    pub dims: Option<[usize; 2]>,
    /// A picture to start from.
    pub init: Option<Init>,
    /// Whether the autoencoder works on one strip after the other.
    pub tiled: bool,
}
