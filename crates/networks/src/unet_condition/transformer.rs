//! Transformer blocks over the pixels of a feature map.

use crate::levels::Attend;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use sumi_nn::{
    Activation, Conv2d, GroupNorm, Init, Layer, LayerMut, Layers, Linear, TransformerBlock,
    TransformerBlockConfig,
};

/// Epsilon of the normalisation before the blocks.
const EPS: f64 = 1e-6;

/// What a [`SpatialTransformer`] looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpatialTransformerConfig {
    pub(super) block: TransformerBlockConfig,
    /// How many blocks.
    pub(super) depth: usize,
    /// Groups of the normalisation.
    pub(super) groups: usize,
    pub(super) linear_projection: bool,
}

/// `x + out(blocks(in(norm(x))))`, every pixel a token (Rombach et al., High-Resolution Image Synthesis
/// with Latent Diffusion Models, appendix E.2.1).
#[derive(Module, Debug)]
pub struct SpatialTransformer {
    /// Before everything.
    pub norm: GroupNorm,
    /// From channels to tokens.
    pub proj_in: Projection,
    /// The blocks.
    pub transformer_blocks: Vec<TransformerBlock>,
    /// From tokens to channels.
    pub proj_out: Projection,
}

sumi_nn::layers!(SpatialTransformer { proj_in, transformer_blocks, proj_out });

impl SpatialTransformer {
    /// PyTorch's default initialisation.
    pub(super) fn new(init: &mut Init, config: SpatialTransformerConfig) -> Self {
        let SpatialTransformerConfig { block, depth, groups, linear_projection: linear } = config;
        Self {
            norm: GroupNorm::new(init, block.width, groups, EPS),
            proj_in: Projection::new(init, block.width, linear),
            transformer_blocks: (0..depth).map(|_| TransformerBlock::new(init, block)).collect(),
            proj_out: Projection::new(init, block.width, linear),
        }
    }
}

impl Attend for SpatialTransformer {
    /// `[N, S, context]`.
    type Context = Tensor<3>;

    fn attend(&self, x: Tensor<4>, context: &Tensor<3>) -> Tensor<4> {
        let [n, s, width] = context.dims();
        let context = context.clone().reshape([n * s, width]);
        let dims = x.dims();
        let [_, h, w, c] = dims;
        let tokens =
            self.proj_in.forward_onto(self.norm.forward(x.clone(), Activation::Identity), None);
        let tokens = self
            .transformer_blocks
            .iter()
            .fold(tokens.reshape([n * h * w, c]), |x, block| block.forward(x, context.clone(), n));
        self.proj_out.forward_onto(tokens.reshape(dims), Some(x))
    }
}

/// The same product in two forms, which differ in the shape of the weight: `[C, C]` or `[C, C, 1, 1]`.
#[derive(Clone, Debug)]
pub enum Projection {
    /// A linear layer on every pixel.
    Linear(Linear),
    /// A 1x1 convolution.
    Conv2d(Conv2d),
}

impl Projection {
    fn new(init: &mut Init, width: usize, linear: bool) -> Self {
        match linear {
            true => Self::Linear(Linear::new(init, width, width)),
            false => Self::Conv2d(Conv2d::same(init, [width, width], 1)),
        }
    }

    /// `[N, H, W, C]`, both and the result.
    fn forward_onto(&self, x: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        match self {
            Self::Linear(layer) => {
                let dims = x.dims();
                let [n, h, w, c] = dims;
                let rows = |x: Tensor<4>| x.reshape([n * h * w, c]);
                layer.forward_onto(rows(x), residual.map(rows)).reshape(dims)
            }
            Self::Conv2d(layer) => layer.forward_onto(x, None, residual),
        }
    }
}

/// Does the same to whichever layer there is.
macro_rules! either {
    ($self:expr, $layer:ident => $work:expr) => {
        match $self {
            Projection::Linear($layer) => Projection::Linear($work),
            Projection::Conv2d($layer) => Projection::Conv2d($work),
        }
    };
}

// By hand, because a derived one would put the variant's name into the parameters' paths.
impl Module for Projection {
    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Linear(layer) => layer.collect_devices(devices),
            Self::Conv2d(layer) => layer.collect_devices(devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        either!(self, layer => layer.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        either!(self, layer => layer.to_device(device))
    }

    fn train(self) -> Self {
        either!(self, layer => layer.train())
    }

    fn valid(&self) -> Self {
        either!(self, layer => layer.valid())
    }

    fn materialize(self) -> Self {
        either!(self, layer => layer.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self {
            Self::Linear(layer) => layer.visit(visitor),
            Self::Conv2d(layer) => layer.visit(visitor),
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        either!(self, layer => layer.map(mapper))
    }
}

impl ModuleDisplayDefault for Projection {
    fn content(&self, content: Content) -> Option<Content> {
        match self {
            Self::Linear(layer) => content.add_single(layer).optional(),
            Self::Conv2d(layer) => content.add_single(layer).optional(),
        }
    }
}

impl ModuleDisplay for Projection {}

impl Layers for Projection {
    fn visit_layers<'a>(&'a self, path: &mut String, visit: &mut dyn FnMut(&str, Layer<'a>)) {
        match self {
            Self::Linear(linear) => linear.visit_layers(path, visit),
            Self::Conv2d(conv) => conv.visit_layers(path, visit),
        }
    }

    fn visit_layers_mut(&mut self, path: &mut String, visit: &mut dyn FnMut(&str, LayerMut<'_>)) {
        match self {
            Self::Linear(linear) => linear.visit_layers_mut(path, visit),
            Self::Conv2d(conv) => conv.visit_layers_mut(path, visit),
        }
    }
}
