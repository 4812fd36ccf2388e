//! Layers that every network shares.
//!
//! Field names are the tensor names of diffusers' files, so a module's path *is* its key:
//! `mid_block.attentions.0.to_q.weight`. Weights are in PyTorch's layout. The arithmetic lives in
//! `sumi-kernels`; layers do not know how it works.

mod adapter;
mod attention;
mod batch_norm;
mod init;
mod layers;
mod parameters;
mod pass;
mod precision;
mod resample;
mod resnet;
mod rms_norm;
mod time;
mod transformer;
mod walk;

pub use adapter::{Adapter, AdapterError, AdapterValues, folded};
pub use attention::{SelfAttention, SelfAttentionConfig};
pub use batch_norm::{FoldedNorms, Source};
pub use init::Init;
pub use layers::{Conv2d, Dropout, Embedding, GroupNorm, LayerNorm, Linear};
pub use parameters::{
    LoadError, NamedParameter, Weights, assign, flat_gradients, load, parameter_shapes, parameters,
    with_values,
};
pub use pass::Pass;
pub use precision::{Precision, to_precision};
pub use resample::{Downsample, Upsample};
pub use resnet::{ResnetBlock, ResnetBlockConfig};
pub use rms_norm::RmsNorm;
pub use sumi_kernels::{
    Activation, Bounds, Gelu, GroupStatistics, Padding, Pooling, Stride, average_pool, max_pool,
};
pub use time::{SinusoidConfig, TimestepEmbedding, sinusoid};
pub use transformer::{
    CrossAttention, CrossAttentionConfig, FeedForward, Geglu, TransformerBlock,
    TransformerBlockConfig,
};
#[doc(hidden)]
pub use walk::within;
pub use walk::{Layer, LayerMut, Layers, Merged, attach, detach, layer_shapes, merge, unmerge};
