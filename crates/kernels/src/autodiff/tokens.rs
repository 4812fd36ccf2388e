//! The operations on tokens: layer normalisation and the gated unit.

use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;

use super::{Saved, inputs};
use crate::{
    activation,
    flex::{Contiguous, dims, tensor},
    layer_norm,
    profile::{self, Direction, Kind},
    simd::Isa,
};

/// The operations, for tensors that [`crate::flex::is_fast`] accepts.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait TokenOps: Backend {
    fn fast_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;
    fn fast_geglu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl TokenOps for Flex {
    fn fast_layer_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, eps: f64) -> FlexTensor {
        normalise(x, gamma, beta, eps).0
    }

    fn fast_geglu(x: FlexTensor) -> FlexTensor {
        let _span = profile::span(Kind::Activation, Direction::Forward, 0);
        let [rows, width] = dims(&x);
        let y = activation::geglu(Isa::best(), Contiguous::new(x).slice(), width / 2);
        tensor(y, [rows, width / 2].into())
    }
}

fn normalise(
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    eps: f64,
) -> (FlexTensor, layer_norm::Statistics) {
    let _span = profile::span(Kind::Normalisation, Direction::Forward, 0);
    let extents = x.shape();
    let [x, gamma, beta] = [x, gamma, beta].map(Contiguous::new);
    let scaled = [gamma.slice(), beta.slice()];
    let (y, statistics) = layer_norm::forward(Isa::best(), x.slice(), scaled, eps);
    (tensor(y, extents), statistics)
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 3> for LayerNormBackward {
    type State = Saved<2, layer_norm::Statistics>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, statistics) = ops.state;
        let [x, gamma] = inputs(checkpointer, nodes);
        let _span = profile::span(Kind::Normalisation, Direction::Backward, 0);
        let (x_dims, channel_dims) = (x.shape(), gamma.shape());
        let [x, gamma] = [x, gamma].map(Contiguous::new);
        let operands = [x.slice(), gamma.slice(), gradient.slice()];
        let (dx, dgamma, dbeta) = layer_norm::backward(Isa::best(), operands, &statistics);
        let results = [(dx, x_dims), (dgamma, channel_dims.clone()), (dbeta, channel_dims)];
        for (node, (data, dims)) in ops.parents.into_iter().zip(results) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, dims));
            }
        }
    }
}

#[derive(Debug)]
struct GegluBackward;

impl Backward<Flex, 1> for GegluBackward {
    type State = Saved<1, ()>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let [x] = inputs(checkpointer, ops.state.0);
        let _span = profile::span(Kind::Activation, Direction::Backward, 0);
        let (shape, [_, width]) = (x.shape(), dims(&x));
        if let [Some(node)] = ops.parents {
            let x = Contiguous::new(x);
            let dx =
                activation::geglu_backward(Isa::best(), x.slice(), width / 2, gradient.slice());
            grads.register::<Flex>(node.id, tensor(dx, shape));
        }
    }
}

impl<C: CheckpointStrategy> TokenOps for Autodiff<Flex, C> {
    fn fast_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        match LayerNormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [&x, &gamma].map(|input| prep.checkpoint(input));
                let [x, gamma, beta] = [x, gamma, beta].map(|input| input.into_primitive());
                let (y, statistics) = normalise(x, gamma, beta, eps);
                prep.finish((saved, statistics), y)
            }
            OpsKind::UnTracked(prep) => {
                let [x, gamma, beta] = [x, gamma, beta].map(|input| input.into_primitive());
                prep.finish(normalise(x, gamma, beta, eps).0)
            }
        }
    }

    fn fast_geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match GegluBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x)];
                prep.finish((saved, ()), Flex::fast_geglu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::fast_geglu(x.into_primitive())),
        }
    }
}
