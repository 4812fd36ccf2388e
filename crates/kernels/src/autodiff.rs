//! The network operations as a Burn backend extension: the CPU backend's own, and their
//! derivatives for its autodiff backend.

use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;

use crate::{
    Activation, Padding, activation, attention, conv,
    flex::{Contiguous, dims, tensor},
    linear, norm,
    profile::{self, Direction, Kind},
    simd::Isa,
};

/// The operations, for tensors that [`crate::flex::is_fast`] accepts.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait NetworkOps: Backend {
    fn fast_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self>;
    fn fast_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        eps: f64,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fast_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn fast_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl NetworkOps for Flex {
    fn fast_conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        stride: usize,
        padding: Padding,
    ) -> FlexTensor {
        let shape = conv::Shape::new(dims(&x), dims(&weight), stride, padding);
        let flops = profile::convolution_flops(dims(&weight), shape.output());
        let _span = profile::span(Kind::Convolution, Direction::Forward, flops);
        let [x, weight, bias] = [x, weight, bias].map(Contiguous::new);
        let y = conv::forward(Isa::best(), &shape, x.slice(), weight.slice(), bias.slice());
        tensor(y, shape.output().into())
    }

    fn fast_group_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        groups: usize,
        eps: f64,
        activation: Activation,
    ) -> FlexTensor {
        group_norm(x, gamma, beta, groups, eps, activation).0
    }

    fn fast_silu(x: FlexTensor) -> FlexTensor {
        let _span = profile::span(Kind::Activation, Direction::Forward, 0);
        let shape = x.shape();
        tensor(activation::forward(Isa::best(), Contiguous::new(x).slice()), shape)
    }

    fn fast_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let shape = linear::Shape::new(dims(&x), dims(&weight));
        let flops = profile::linear_flops(dims(&x), dims(&weight));
        let _span = profile::span(Kind::Linear, Direction::Forward, flops);
        let [x, weight, bias] = [x, weight, bias].map(Contiguous::new);
        let y = linear::forward(Isa::best(), &shape, x.slice(), weight.slice(), bias.slice());
        tensor(y, [shape.rows, shape.outputs].into())
    }

    fn fast_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor) -> FlexTensor {
        attend(q, k, v).0
    }
}

fn group_norm(
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> (FlexTensor, norm::Shape, norm::Statistics) {
    let _span = profile::span(Kind::Normalisation, Direction::Forward, 0);
    let [samples, channels, h, w] = dims(&x);
    let shape = norm::Shape { samples, channels, pixels: h * w, groups, eps, activation };
    let extents = x.shape();
    let [x, gamma, beta] = [x, gamma, beta].map(Contiguous::new);
    let (y, statistics) = norm::forward(Isa::best(), shape, x.slice(), gamma.slice(), beta.slice());
    (tensor(y, extents), shape, statistics)
}

fn attend(q: FlexTensor, k: FlexTensor, v: FlexTensor) -> (FlexTensor, attention::Shape, Vec<f32>) {
    let shape = attention::Shape::new(dims(&q), dims(&k), dims(&v));
    let flops = profile::attention_flops(dims(&q), dims(&k));
    let _span = profile::span(Kind::Attention, Direction::Forward, flops);
    let extents = q.shape();
    let [q, k, v] = [q, k, v].map(Contiguous::new);
    let (y, weights) = attention::forward(Isa::best(), &shape, q.slice(), k.slice(), v.slice());
    (tensor(y, extents), shape, weights)
}

/// What a backward pass finds again: the nodes of the inputs, and whatever else it saved.
type Saved<const N: usize, T> = ([NodeId; N], T);

/// The inputs of an operation, recomputed where they were not kept.
fn inputs<const N: usize>(checkpointer: &mut Checkpointer, nodes: [NodeId; N]) -> [FlexTensor; N] {
    nodes.map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node))
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 3> for ConvBackward {
    type State = Saved<2, conv::Shape>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, shape) = ops.state;
        let [x, weight] = inputs(checkpointer, nodes);
        let [x_node, weight_node, bias_node] = ops.parents;
        let products = usize::from(x_node.is_some()) + usize::from(weight_node.is_some());
        let flops = products * profile::convolution_flops(dims(&weight), shape.output());
        let _span = profile::span(Kind::Convolution, Direction::Backward, flops);
        let (x_dims, weight_dims) = (x.shape(), weight.shape());
        let [x, weight] = [x, weight].map(Contiguous::new);
        let isa = Isa::best();
        if let Some(node) = x_node {
            let dx = conv::input_gradient(isa, &shape, gradient.slice(), weight.slice());
            grads.register::<Flex>(node.id, tensor(dx, x_dims));
        }
        if weight_node.is_some() || bias_node.is_some() {
            let (dw, db) = conv::weight_gradient(isa, &shape, x.slice(), gradient.slice());
            if let Some(node) = weight_node {
                grads.register::<Flex>(node.id, tensor(dw, weight_dims));
            }
            if let Some(node) = bias_node {
                grads.register::<Flex>(node.id, tensor(db, [shape.outputs].into()));
            }
        }
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = Saved<3, (norm::Shape, norm::Statistics)>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, (shape, statistics)) = ops.state;
        let [x, gamma, beta] = inputs(checkpointer, nodes);
        let _span = profile::span(Kind::Normalisation, Direction::Backward, 0);
        let (x_dims, channel_dims) = (x.shape(), gamma.shape());
        let [x, gamma, beta] = [x, gamma, beta].map(Contiguous::new);
        let operands = [x.slice(), gamma.slice(), beta.slice(), gradient.slice()];
        let (dx, dgamma, dbeta) = norm::backward(Isa::best(), shape, operands, &statistics);
        let results = [(dx, x_dims), (dgamma, channel_dims.clone()), (dbeta, channel_dims)];
        for (node, (data, dims)) in ops.parents.into_iter().zip(results) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, dims));
            }
        }
    }
}

#[derive(Debug)]
struct SiluBackward;

impl Backward<Flex, 1> for SiluBackward {
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
        let shape = x.shape();
        if let [Some(node)] = ops.parents {
            let x = Contiguous::new(x);
            let dx = activation::backward(Isa::best(), x.slice(), gradient.slice());
            grads.register::<Flex>(node.id, tensor(dx, shape));
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = Saved<2, linear::Shape>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, shape) = ops.state;
        let [x, weight] = inputs(checkpointer, nodes);
        let [x_node, weight_node, bias_node] = ops.parents;
        let products = usize::from(x_node.is_some()) + usize::from(weight_node.is_some());
        let flops = products * profile::linear_flops(dims(&x), dims(&weight));
        let _span = profile::span(Kind::Linear, Direction::Backward, flops);
        let [x, weight] = [x, weight].map(Contiguous::new);
        let isa = Isa::best();
        if let Some(node) = x_node {
            let dx = linear::input_gradient(isa, &shape, gradient.slice(), weight.slice());
            grads.register::<Flex>(node.id, tensor(dx, [shape.rows, shape.inputs].into()));
        }
        if let Some(node) = weight_node {
            let dw = linear::weight_gradient(isa, &shape, x.slice(), gradient.slice());
            grads.register::<Flex>(node.id, tensor(dw, [shape.outputs, shape.inputs].into()));
        }
        if let Some(node) = bias_node {
            let db = linear::bias_gradient(&shape, gradient.slice());
            grads.register::<Flex>(node.id, tensor(db, [shape.outputs].into()));
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    type State = Saved<3, (attention::Shape, FlexTensor)>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, (shape, weights)) = ops.state;
        let [q, k, v] = inputs(checkpointer, nodes);
        let flops = 2 * profile::attention_flops(dims(&q), dims(&k));
        let _span = profile::span(Kind::Attention, Direction::Backward, flops);
        let extents = [q.shape(), k.shape(), v.shape()];
        let [q, k, v, weights] = [q, k, v, weights].map(Contiguous::new);
        let operands = [q.slice(), k.slice(), v.slice(), weights.slice(), gradient.slice()];
        let results = attention::backward(Isa::best(), &shape, operands);
        for ((node, data), dims) in ops.parents.into_iter().zip(results).zip(extents) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, dims));
            }
        }
    }
}

impl<C: CheckpointStrategy> NetworkOps for Autodiff<Flex, C> {
    fn fast_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self> {
        let shape =
            conv::Shape::new(dims(x.primitive()), dims(weight.primitive()), stride, padding);
        let nodes = [x.node(), weight.node(), bias.node()];
        let kind = ConvBackward.prepare::<C>(nodes).compute_bound().stateful();
        let run = |x, weight, bias| Flex::fast_conv2d(x, weight, bias, stride, padding);
        match kind {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let y = run(x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                prep.finish((saved, shape), y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(run(x.into_primitive(), weight.into_primitive(), bias.into_primitive()))
            }
        }
    }

    fn fast_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        eps: f64,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let kind = NormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let run = |x, gamma, beta| group_norm(x, gamma, beta, groups, eps, activation);
        match kind {
            OpsKind::Tracked(mut prep) => {
                let saved = [&x, &gamma, &beta].map(|input| prep.checkpoint(input));
                let [x, gamma, beta] = [x, gamma, beta].map(|input| input.into_primitive());
                let (y, shape, statistics) = run(x, gamma, beta);
                prep.finish((saved, (shape, statistics)), y)
            }
            OpsKind::UnTracked(prep) => {
                let [x, gamma, beta] = [x, gamma, beta].map(|input| input.into_primitive());
                prep.finish(run(x, gamma, beta).0)
            }
        }
    }

    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match SiluBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x)];
                prep.finish((saved, ()), Flex::fast_silu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::fast_silu(x.into_primitive())),
        }
    }

    fn fast_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = linear::Shape::new(dims(x.primitive()), dims(weight.primitive()));
        let nodes = [x.node(), weight.node(), bias.node()];
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let [x, weight, bias] = [x, weight, bias].map(|input| input.into_primitive());
                prep.finish((saved, shape), Flex::fast_linear(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias] = [x, weight, bias].map(|input| input.into_primitive());
                prep.finish(Flex::fast_linear(x, weight, bias))
            }
        }
    }

    fn fast_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        match AttentionBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [&q, &k, &v].map(|input| prep.checkpoint(input));
                let [q, k, v] = [q, k, v].map(|input| input.into_primitive());
                let (y, shape, weights) = attend(q, k, v);
                let len = weights.len();
                prep.finish((saved, (shape, tensor(weights, [len].into()))), y)
            }
            OpsKind::UnTracked(prep) => {
                let [q, k, v] = [q, k, v].map(|input| input.into_primitive());
                prep.finish(attend(q, k, v).0)
            }
        }
    }
}
