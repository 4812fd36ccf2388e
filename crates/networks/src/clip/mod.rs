//! CLIP: pictures and texts in one space (Radford et al., Learning Transferable Visual Models From Natural Language
//! Supervision).

mod layers;
mod model;
mod text;
mod vision;

pub use layers::{Attention, Encoder, EncoderLayer, Mlp};
pub use model::{ClipConfig, ClipModel, unit_rows};
pub use text::{ClipTextConfig, ClipTextModel, ClipTextOutput, Embeddings, TextTransformer};
pub use vision::{
    ClipVisionConfig, ClipVisionModel, ClipVisionOutput, ImageShapeError, VisionEmbeddings,
    VisionTransformer,
};
