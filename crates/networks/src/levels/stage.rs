//! The chain of stages that a U-Net is.

use burn::module::Module;
use burn::tensor::Tensor;
use sumi_nn::{Downsample, Pass, ResnetBlock, SelfAttention, Upsample};

/// What follows a residual block.
pub(crate) trait Attend: Module {
    /// What it looks at besides the feature map.
    type Context;

    /// `x` `[N, H, W, C]`, kept.
    fn attend(&self, x: Tensor<4>, context: &Self::Context) -> Tensor<4>;
}

impl Attend for SelfAttention {
    type Context = ();

    fn attend(&self, x: Tensor<4>, (): &()) -> Tensor<4> {
        self.forward(x)
    }
}

/// What lies between two feature maps.
pub(crate) struct Stage<'a, A> {
    pub(super) layer: Layer<'a, A>,
    /// Whether it takes in the feature map that was left last.
    pub(crate) takes_skip: bool,
    /// Whether it leaves its result to one that takes it.
    pub(crate) leaves_skip: bool,
}

/// What a stage does.
pub(super) enum Layer<'a, A> {
    Residual(&'a ResnetBlock, Option<&'a A>),
    Downsample(&'a Downsample),
    Upsample(&'a Upsample),
}

/// Residual blocks, each with its attention where there is one.
pub(super) fn residuals<'a, A>(
    resnets: &'a [ResnetBlock],
    attentions: &'a [A],
) -> impl Iterator<Item = Layer<'a, A>> {
    resnets.iter().enumerate().map(|(i, resnet)| Layer::Residual(resnet, attentions.get(i)))
}

/// What every stage is given besides its feature map.
pub(crate) struct Signals<'a, C> {
    /// The embedding after its SiLU, `[N, time_dim]`.
    pub(crate) time: &'a Tensor<2>,
    /// For the attention.
    pub(crate) context: &'a C,
}

/// What a stage takes in from the way down.
#[derive(Clone, Default)]
pub(crate) struct FromDown {
    /// What was left last, where the stage takes it: `[N, H, W, C']`.
    pub(crate) skip: Option<Tensor<4>>,
    /// Height and width of what is taken next; doubling makes that of them. Twice its own without.
    pub(crate) size: Option<[usize; 2]>,
}

impl<A: Attend> Stage<'_, A> {
    /// # Shapes
    /// `x` `[N, H, W, C]`, result `[N, H', W', C'']`.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        from_down: FromDown,
        signals: &Signals<'_, A::Context>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let FromDown { skip, size } = from_down;
        let (resnet, attention) = match self.layer {
            Layer::Residual(resnet, attention) => (resnet, attention),
            Layer::Downsample(downsample) => return downsample.forward(x),
            Layer::Upsample(upsample) => {
                return match size {
                    Some(size) => upsample.forward_to(x, size),
                    None => upsample.forward(x),
                };
            }
        };
        let x = match skip {
            Some(skip) => sumi_kernels::concat(x, skip),
            // Changes nothing but the gradient's graph: the two ways through the block meet at a
            // node of their own before the skip's gradient is added to them. Gradient
            // checkpointing, for which the stage ends here, adds in the same order.
            None => {
                let dims = x.dims();
                x.reshape(dims)
            }
        };
        let x = resnet.forward(x, Some(signals.time.clone()), pass);
        match attention {
            Some(attention) => attention.attend(x, signals.context),
            None => x,
        }
    }
}

/// Sends a feature map through the stages, of which those on the way up meet what those on the way down
/// left; `x` itself is left too.
pub(crate) fn walk<'a, A: Attend + 'a>(
    stages: impl Iterator<Item = Stage<'a, A>>,
    x: Tensor<4>,
    signals: &Signals<'_, A::Context>,
    pass: &mut Pass,
) -> Tensor<4> {
    let mut skips = vec![x.clone()];
    let mut x = x;
    for stage in stages {
        let skip = if stage.takes_skip { skips.pop() } else { None };
        let size = skips.last().map(|skip| {
            let [_, h, w, _] = skip.dims();
            [h, w]
        });
        x = stage.forward(x, FromDown { skip, size }, signals, pass);
        if stage.leaves_skip {
            skips.push(x.clone());
        }
    }
    x
}
