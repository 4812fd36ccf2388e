//! FID's Inception-v3: the network of TensorFlow's archive of 2015-12-05 as pytorch-fid has it
//! (`pt_inception-2015-12-05-6726825d.pth`), from which published Frechet distances and Inception Scores come.
//!
//! It is not torchvision's: average pools count no padding, the last block pools by the greatest, there are 1008
//! classes, and the weights are others.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sumi_nn::{
    Bounds, Conv2d, FoldedNorms, Init, Linear, LoadError, Padding, Pooling, Precision, Source,
    Stride, Weights, average_pool, load, max_pool,
};

/// Of every normalisation.
const EPS: f64 = 1e-3;
/// Classes of the last layer.
const CLASSES: usize = 1008;
/// Pools that halve a picture, and pools that keep its size.
const HALF: Pooling = Pooling { window: [3, 3], step: 2, padding: 0 };
const SAME: Pooling = Pooling { window: [3, 3], step: 1, padding: 1 };

/// Inception-v3 (Szegedy et al., Rethinking the Inception Architecture for Computer Vision, section 6) with FID's pools,
/// its normalisations folded into its convolutions. 23,850,960 parameters before that.
#[derive(Module, Debug)]
pub struct Inception {
    conv2d_1a_3x3: Conv2d,
    conv2d_2a_3x3: Conv2d,
    conv2d_2b_3x3: Conv2d,
    conv2d_3b_1x1: Conv2d,
    conv2d_4a_3x3: Conv2d,
    mixed_5b: BlockA,
    mixed_5c: BlockA,
    mixed_5d: BlockA,
    mixed_6a: BlockB,
    mixed_6b: BlockC,
    mixed_6c: BlockC,
    mixed_6d: BlockC,
    mixed_6e: BlockC,
    mixed_7a: BlockD,
    mixed_7b: BlockE,
    mixed_7c: BlockE,
    fc: Linear,
}

/// What the network makes of a batch.
#[derive(Clone, Debug)]
pub struct InceptionOutput {
    /// The mean of the last map over its pixels, `[N, 2048]`: "pool3".
    pub features: Tensor<2>,
    /// The last layer's products without its bias, `[N, 1008]`: what torch-fidelity's Inception Score is computed from.
    pub logits_unbiased: Tensor<2>,
    /// With the bias, `[N, 1008]`.
    pub logits: Tensor<2>,
    /// Where asked for, the maps after the two pools, before the reduction to 8x8 and at the end, from fine to coarse:
    /// `[N, H, W, C]` with 64, 192, 768 and 2048 channels. They are pytorch-fid's blocks 0, 1, 2 and, before the mean, 3.
    pub maps: Vec<Tensor<4>>,
}

impl Inception {
    /// Fresh weights, PyTorch's default initialisation.
    pub fn new(init: &mut Init) -> Self {
        Self {
            conv2d_1a_3x3: valid(init, [3, 32], [3, 3], 2),
            conv2d_2a_3x3: valid(init, [32, 32], [3, 3], 1),
            conv2d_2b_3x3: same(init, [32, 64], [3, 3]),
            conv2d_3b_1x1: same(init, [64, 80], [1, 1]),
            conv2d_4a_3x3: valid(init, [80, 192], [3, 3], 1),
            mixed_5b: BlockA::new(init, 192, 32),
            mixed_5c: BlockA::new(init, 256, 64),
            mixed_5d: BlockA::new(init, 288, 64),
            mixed_6a: BlockB::new(init, 288),
            mixed_6b: BlockC::new(init, 768, 128),
            mixed_6c: BlockC::new(init, 768, 160),
            mixed_6d: BlockC::new(init, 768, 160),
            mixed_6e: BlockC::new(init, 768, 192),
            mixed_7a: BlockD::new(init, 768),
            mixed_7b: BlockE::new(init, 1280),
            mixed_7c: BlockE::new(init, 2048),
            fc: Linear::new(init, 2048, CLASSES),
        }
    }

    /// The network of a file, under torchvision's names: `Mixed_5b.branch1x1.conv.weight`,
    /// `Mixed_5b.branch1x1.bn.running_var`. An auxiliary head (`AuxLogits.*`) is passed over.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape, that cannot be read or that has no place in the network; a negative
    /// variance.
    pub fn load(weights: &mut impl Weights, device: &Device) -> Result<Self, LoadError> {
        let ignored =
            |name: &str| name.starts_with("AuxLogits.") || name.ends_with(".num_batches_tracked");
        let mut weights = FoldedNorms::new(weights, EPS, source, ignored);
        load(Self::new(&mut Init::new(device, 0)), &mut weights, Precision::F32)
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.fc.weight.lazy_device()
    }

    /// Features and logits, and with `maps` the maps of four stages.
    ///
    /// # Shapes
    /// `x` `[N, 3, 299, 299]` in [-1, 1]; other sizes from 75 on are convolved as they are.
    pub fn forward(&self, x: Tensor<4>, maps: bool) -> InceptionOutput {
        let mut kept = Vec::new();
        let mut keep = |x: &Tensor<4>| {
            if maps {
                kept.push(x.clone())
            }
        };
        let x = relu(&self.conv2d_1a_3x3, x.permute([0, 2, 3, 1]));
        let x = relu(&self.conv2d_2a_3x3, x);
        let x = max_pool(relu(&self.conv2d_2b_3x3, x), HALF);
        keep(&x);
        let x = relu(&self.conv2d_3b_1x1, x);
        let x = max_pool(relu(&self.conv2d_4a_3x3, x), HALF);
        keep(&x);
        let x = [&self.mixed_5b, &self.mixed_5c, &self.mixed_5d]
            .into_iter()
            .fold(x, |x, b| b.forward(x));
        let x = self.mixed_6a.forward(x);
        let blocks = [&self.mixed_6b, &self.mixed_6c, &self.mixed_6d, &self.mixed_6e];
        let x = blocks.into_iter().fold(x, |x, block| block.forward(x));
        keep(&x);
        let x = self.mixed_7a.forward(x);
        let x = self.mixed_7b.forward(x, average_pool);
        // TensorFlow's graph has the greatest here and the mean everywhere else.
        let x = self.mixed_7c.forward(x, max_pool);
        keep(&x);
        let [n, h, w, c] = x.dims();
        let whole = Pooling { window: [h, w], step: 1, padding: 0 };
        let features = average_pool(x, whole).reshape([n, c]);
        let logits_unbiased =
            sumi_kernels::linear(features.clone(), self.fc.weight.val(), Default::default());
        let bias = self.fc.bias.as_ref().map(|bias| bias.val().unsqueeze());
        let logits = match bias {
            Some(bias) => logits_unbiased.clone() + bias,
            None => logits_unbiased.clone(),
        };
        InceptionOutput { features, logits_unbiased, logits, maps: kept }
    }
}

/// The file's names of a layer.
fn source(path: &str) -> Source {
    if path == "fc" {
        return Source { layer: path.into(), norm: None };
    }
    // Only the first part is capitalised.
    let name = path.replacen("conv2d", "Conv2d", 1).replacen("mixed", "Mixed", 1);
    Source { layer: format!("{name}.conv"), norm: Some(format!("{name}.bn")) }
}

/// A convolution that keeps the picture's size.
fn same(init: &mut Init, [inputs, outputs]: [usize; 2], [h, w]: [usize; 2]) -> Conv2d {
    let padding = Padding { top: h / 2, bottom: h / 2, left: w / 2, right: w / 2 };
    Conv2d::shaped(init, [outputs, inputs, h, w], Stride { step: 1, padding, upsample: false })
}

/// A convolution without padding.
fn valid(
    init: &mut Init,
    [inputs, outputs]: [usize; 2],
    [h, w]: [usize; 2],
    step: usize,
) -> Conv2d {
    let stride = Stride { step, padding: Padding::all(0), upsample: false };
    Conv2d::shaped(init, [outputs, inputs, h, w], stride)
}

fn relu(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    conv.forward_within(x, None, Bounds::RELU)
}

/// One convolution after the other.
fn chain<const N: usize>(convs: [&Conv2d; N], x: &Tensor<4>) -> Tensor<4> {
    convs.into_iter().fold(x.clone(), |x, conv| relu(conv, x))
}

fn side_by_side<const N: usize>(maps: [Tensor<4>; N]) -> Tensor<4> {
    Tensor::cat(maps.into(), 3)
}

/// At 35x35 (the paper's figure 5).
#[derive(Module, Debug)]
struct BlockA {
    branch1x1: Conv2d,
    branch5x5_1: Conv2d,
    branch5x5_2: Conv2d,
    branch3x3dbl_1: Conv2d,
    branch3x3dbl_2: Conv2d,
    branch3x3dbl_3: Conv2d,
    branch_pool: Conv2d,
}

impl BlockA {
    fn new(init: &mut Init, inputs: usize, pool: usize) -> Self {
        Self {
            branch1x1: same(init, [inputs, 64], [1, 1]),
            branch5x5_1: same(init, [inputs, 48], [1, 1]),
            branch5x5_2: same(init, [48, 64], [5, 5]),
            branch3x3dbl_1: same(init, [inputs, 64], [1, 1]),
            branch3x3dbl_2: same(init, [64, 96], [3, 3]),
            branch3x3dbl_3: same(init, [96, 96], [3, 3]),
            branch_pool: same(init, [inputs, pool], [1, 1]),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        side_by_side([
            relu(&self.branch1x1, x.clone()),
            chain([&self.branch5x5_1, &self.branch5x5_2], &x),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &x),
            relu(&self.branch_pool, average_pool(x, SAME)),
        ])
    }
}

/// From 35x35 to 17x17 (the paper's figure 10).
#[derive(Module, Debug)]
struct BlockB {
    branch3x3: Conv2d,
    branch3x3dbl_1: Conv2d,
    branch3x3dbl_2: Conv2d,
    branch3x3dbl_3: Conv2d,
}

impl BlockB {
    fn new(init: &mut Init, inputs: usize) -> Self {
        Self {
            branch3x3: valid(init, [inputs, 384], [3, 3], 2),
            branch3x3dbl_1: same(init, [inputs, 64], [1, 1]),
            branch3x3dbl_2: same(init, [64, 96], [3, 3]),
            branch3x3dbl_3: valid(init, [96, 96], [3, 3], 2),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        side_by_side([
            relu(&self.branch3x3, x.clone()),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &x),
            max_pool(x, HALF),
        ])
    }
}

/// At 17x17 (the paper's figure 6).
#[derive(Module, Debug)]
struct BlockC {
    branch1x1: Conv2d,
    branch7x7_1: Conv2d,
    branch7x7_2: Conv2d,
    branch7x7_3: Conv2d,
    branch7x7dbl_1: Conv2d,
    branch7x7dbl_2: Conv2d,
    branch7x7dbl_3: Conv2d,
    branch7x7dbl_4: Conv2d,
    branch7x7dbl_5: Conv2d,
    branch_pool: Conv2d,
}

impl BlockC {
    fn new(init: &mut Init, inputs: usize, inner: usize) -> Self {
        let (flat, tall) = ([1, 7], [7, 1]);
        Self {
            branch1x1: same(init, [inputs, 192], [1, 1]),
            branch7x7_1: same(init, [inputs, inner], [1, 1]),
            branch7x7_2: same(init, [inner, inner], flat),
            branch7x7_3: same(init, [inner, 192], tall),
            branch7x7dbl_1: same(init, [inputs, inner], [1, 1]),
            branch7x7dbl_2: same(init, [inner, inner], tall),
            branch7x7dbl_3: same(init, [inner, inner], flat),
            branch7x7dbl_4: same(init, [inner, inner], tall),
            branch7x7dbl_5: same(init, [inner, 192], flat),
            branch_pool: same(init, [inputs, 192], [1, 1]),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let double = [
            &self.branch7x7dbl_1,
            &self.branch7x7dbl_2,
            &self.branch7x7dbl_3,
            &self.branch7x7dbl_4,
            &self.branch7x7dbl_5,
        ];
        side_by_side([
            relu(&self.branch1x1, x.clone()),
            chain([&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3], &x),
            chain(double, &x),
            relu(&self.branch_pool, average_pool(x, SAME)),
        ])
    }
}

/// From 17x17 to 8x8.
#[derive(Module, Debug)]
struct BlockD {
    branch3x3_1: Conv2d,
    branch3x3_2: Conv2d,
    branch7x7x3_1: Conv2d,
    branch7x7x3_2: Conv2d,
    branch7x7x3_3: Conv2d,
    branch7x7x3_4: Conv2d,
}

impl BlockD {
    fn new(init: &mut Init, inputs: usize) -> Self {
        Self {
            branch3x3_1: same(init, [inputs, 192], [1, 1]),
            branch3x3_2: valid(init, [192, 320], [3, 3], 2),
            branch7x7x3_1: same(init, [inputs, 192], [1, 1]),
            branch7x7x3_2: same(init, [192, 192], [1, 7]),
            branch7x7x3_3: same(init, [192, 192], [7, 1]),
            branch7x7x3_4: valid(init, [192, 192], [3, 3], 2),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let long =
            [&self.branch7x7x3_1, &self.branch7x7x3_2, &self.branch7x7x3_3, &self.branch7x7x3_4];
        side_by_side([
            chain([&self.branch3x3_1, &self.branch3x3_2], &x),
            chain(long, &x),
            max_pool(x, HALF),
        ])
    }
}

/// At 8x8 (the paper's figure 7).
#[derive(Module, Debug)]
struct BlockE {
    branch1x1: Conv2d,
    branch3x3_1: Conv2d,
    branch3x3_2a: Conv2d,
    branch3x3_2b: Conv2d,
    branch3x3dbl_1: Conv2d,
    branch3x3dbl_2: Conv2d,
    branch3x3dbl_3a: Conv2d,
    branch3x3dbl_3b: Conv2d,
    branch_pool: Conv2d,
}

impl BlockE {
    fn new(init: &mut Init, inputs: usize) -> Self {
        let (flat, tall) = ([1, 3], [3, 1]);
        Self {
            branch1x1: same(init, [inputs, 320], [1, 1]),
            branch3x3_1: same(init, [inputs, 384], [1, 1]),
            branch3x3_2a: same(init, [384, 384], flat),
            branch3x3_2b: same(init, [384, 384], tall),
            branch3x3dbl_1: same(init, [inputs, 448], [1, 1]),
            branch3x3dbl_2: same(init, [448, 384], [3, 3]),
            branch3x3dbl_3a: same(init, [384, 384], flat),
            branch3x3dbl_3b: same(init, [384, 384], tall),
            branch_pool: same(init, [inputs, 192], [1, 1]),
        }
    }

    fn forward(&self, x: Tensor<4>, pool: fn(Tensor<4>, Pooling) -> Tensor<4>) -> Tensor<4> {
        let single = relu(&self.branch3x3_1, x.clone());
        let double = chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2], &x);
        side_by_side([
            relu(&self.branch1x1, x.clone()),
            relu(&self.branch3x3_2a, single.clone()),
            relu(&self.branch3x3_2b, single),
            relu(&self.branch3x3dbl_3a, double.clone()),
            relu(&self.branch3x3dbl_3b, double),
            relu(&self.branch_pool, pool(x, SAME)),
        ])
    }
}
