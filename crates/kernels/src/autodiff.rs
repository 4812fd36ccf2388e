//! The network operations as a Burn backend extension: the CPU backend's own, and their
//! derivatives for its autodiff backend.

mod tokens;

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

pub(crate) use tokens::TokenOps;

use crate::{
    Activation, Bounds, Stride,
    activation::{self, Function},
    attention, concat, conv,
    flex::{Contiguous, dims, tensor},
    norm,
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
        stride: Stride,
    ) -> FloatTensor<Self>;
    fn fast_conv2d_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        stride: Stride,
    ) -> FloatTensor<Self>;
    fn fast_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        eps: f64,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn fast_activation(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self>;
    fn fast_concat(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
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
        stride: Stride,
    ) -> FlexTensor {
        convolve([x, weight, bias], None, Bounds::NONE, stride)
    }

    fn fast_conv2d_residual(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        stride: Stride,
    ) -> FlexTensor {
        convolve([x, weight, bias], Some(residual), Bounds::NONE, stride)
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

    fn fast_activation(x: FlexTensor, function: Function) -> FlexTensor {
        let _span = profile::span(Kind::Activation, Direction::Forward, 0);
        let shape = x.shape();
        tensor(activation::forward(Isa::best(), function, Contiguous::new(x).slice()), shape)
    }

    fn fast_concat(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let _span = profile::span(Kind::Concatenation, Direction::Forward, 0);
        let shape = concat::Shape::new(dims(&a), dims(&b));
        let [n, h, w, _] = dims(&a);
        let [a, b] = [a, b].map(Contiguous::new);
        let y = concat::forward(Isa::best(), &shape, a.slice(), b.slice());
        tensor(y, [n, h, w, shape.first + shape.second].into())
    }

    fn fast_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor) -> FlexTensor {
        attend(q, k, v).0
    }
}

fn convolution_shape(x: &FlexTensor, weight: &FlexTensor, stride: Stride) -> conv::Shape {
    let zoom = 1 + usize::from(stride.upsample);
    conv::Shape::new(dims(x), dims(weight), stride.step, stride.padding, zoom)
}

/// What a convolution's backward pass knows, and whether all samples share the bias.
fn convolution_state(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    stride: Stride,
) -> (conv::Shape, bool) {
    let [rows, _] = dims(bias);
    (convolution_shape(x, weight, stride), rows == 1)
}

pub(crate) fn convolve(
    [x, weight, bias]: [FlexTensor; 3],
    residual: Option<FlexTensor>,
    bounds: Bounds,
    stride: Stride,
) -> FlexTensor {
    let shape = convolution_shape(&x, &weight, stride);
    let _span = profile::span(shape.kind(), Direction::Forward, shape.flops());
    let [x, weight, bias] = [x, weight, bias].map(Contiguous::new);
    let residual = residual.map(Contiguous::new);
    let residual = residual.as_ref().map(Contiguous::slice);
    let added = conv::Added { bias: bias.slice(), residual, bounds };
    let y = conv::forward(Isa::best(), &shape, x.slice(), weight.weight(), added);
    tensor(y, shape.output().into())
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
    let [samples, h, w, channels] = dims(&x);
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

/// The backward pass of a convolution, with three parents or, where there is a residual, four.
#[derive(Debug)]
struct ConvBackward;

impl<const N: usize> Backward<Flex, N> for ConvBackward {
    /// With it, whether all samples share the bias.
    type State = Saved<2, (conv::Shape, bool)>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let (nodes, (shape, shared)) = ops.state;
        let mut parents = ops.parents.into_iter();
        let [x_node, weight_node, bias_node, residual_node] =
            std::array::from_fn(|_| parents.next().flatten());
        if let Some(node) = residual_node {
            grads.register::<Flex>(node.id, gradient.clone());
        }
        let gradient = Contiguous::new(gradient);
        let [x, weight] = inputs(checkpointer, nodes);
        let products = usize::from(x_node.is_some()) + usize::from(weight_node.is_some());
        let _span = profile::span(shape.kind(), Direction::Backward, products * shape.flops());
        let (x_dims, weight_dims) = (x.shape(), weight.shape());
        let [x, weight] = [x, weight].map(Contiguous::new);
        let isa = Isa::best();
        if let Some(node) = weight_node {
            let dw = conv::weight_gradient(isa, &shape, x.slice(), gradient.slice());
            grads.register::<Flex>(node.id, tensor(dw, weight_dims));
        }
        if let Some(node) = bias_node {
            let db = conv::bias_gradient(isa, &shape, gradient.slice(), shared);
            let rows = db.len() / shape.outputs.max(1);
            grads.register::<Flex>(node.id, tensor(db, [rows, shape.outputs].into()));
        }
        if let Some(node) = x_node {
            let dx = conv::input_gradient(isa, &shape, gradient.slice(), weight.weight());
            grads.register::<Flex>(node.id, tensor(dx, x_dims));
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
struct ActivationBackward;

impl Backward<Flex, 1> for ActivationBackward {
    type State = Saved<1, Function>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let (nodes, function) = ops.state;
        let [x] = inputs(checkpointer, nodes);
        let _span = profile::span(Kind::Activation, Direction::Backward, 0);
        let shape = x.shape();
        if let [Some(node)] = ops.parents {
            let x = Contiguous::new(x);
            let dx = activation::backward(Isa::best(), function, x.slice(), gradient.slice());
            grads.register::<Flex>(node.id, tensor(dx, shape));
        }
    }
}

#[derive(Debug)]
struct ConcatBackward;

impl Backward<Flex, 2> for ConcatBackward {
    type State = [[usize; 4]; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Contiguous::new(grads.consume::<Flex>(&ops.node));
        let _span = profile::span(Kind::Concatenation, Direction::Backward, 0);
        let [a, b] = ops.state;
        let shape = concat::Shape::new(a, b);
        let (da, db) = concat::backward(Isa::best(), &shape, gradient.slice());
        for ((node, data), dims) in ops.parents.into_iter().zip([da, db]).zip([a, b]) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, dims.into()));
            }
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
        stride: Stride,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        match ConvBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let [x, weight, bias] = [x, weight, bias].map(|input| input.into_primitive());
                let state = convolution_state(&x, &weight, &bias, stride);
                prep.finish((saved, state), convolve([x, weight, bias], None, Bounds::NONE, stride))
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias] = [x, weight, bias].map(|input| input.into_primitive());
                prep.finish(convolve([x, weight, bias], None, Bounds::NONE, stride))
            }
        }
    }

    fn fast_conv2d_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        stride: Stride,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node(), residual.node()];
        let all = [x, weight, bias, residual];
        match ConvBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&all[0]), prep.checkpoint(&all[1])];
                let [x, weight, bias, residual] = all.map(|input| input.into_primitive());
                let state = convolution_state(&x, &weight, &bias, stride);
                prep.finish(
                    (saved, state),
                    convolve([x, weight, bias], Some(residual), Bounds::NONE, stride),
                )
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias, residual] = all.map(|input| input.into_primitive());
                prep.finish(convolve([x, weight, bias], Some(residual), Bounds::NONE, stride))
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

    fn fast_activation(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self> {
        match ActivationBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = [prep.checkpoint(&x)];
                prep.finish((saved, function), Flex::fast_activation(x.into_primitive(), function))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(Flex::fast_activation(x.into_primitive(), function))
            }
        }
    }

    fn fast_concat(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let shapes = [&a, &b].map(|x| dims(x.primitive()));
        let kind = ConcatBackward.prepare::<C>([a.node(), b.node()]).compute_bound().stateful();
        let y = Flex::fast_concat(a.into_primitive(), b.into_primitive());
        match kind {
            OpsKind::Tracked(prep) => prep.finish(shapes, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
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
