//! Gradients in the memory of one stage (Chen, Xu, Zhang and Guestrin, Training Deep Nets with
//! Sublinear Memory Cost, 2016).

use super::UNet;
use crate::levels::{FromDown, Signals};
use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use sumi_nn::{Pass, flat_gradients};

/// What a stage is recomputed from.
struct Kept {
    x: Tensor<4>,
    skip: Option<Tensor<4>>,
    /// As it was before the stage, so that dropout draws the same mask again.
    pass: Pass,
}

/// The loss, `[1]`, and its gradient with respect to every parameter, flat, in the order of
/// [`sumi_nn::parameters`]; both outside any gradient graph.
pub type LossAndGradients = (Tensor<1>, Vec<Option<Tensor<1>>>);

impl UNet {
    /// What `loss_of(self.forward(..))` and its gradient are, to the last bit. But the forward
    /// pass keeps only what goes into each residual block, halving and doubling, and the backward
    /// pass recomputes them one at a time.
    ///
    /// The loss depends on its argument, and the network is on a device with differentiation.
    ///
    /// # Shapes
    /// As [`UNet::forward`].
    pub fn checkpointed_gradients(
        &self,
        x: Tensor<4>,
        timesteps: &[f32],
        classes: Option<&[u32]>,
        pass: Pass,
        loss_of: impl FnOnce(Tensor<4>) -> Tensor<1>,
    ) -> LossAndGradients {
        let input = x.inner();
        let (kept, time, x) = self.keep_inputs(input.clone(), timesteps, classes, pass);

        // The end of the network, and the loss.
        let x = leaf(x);
        let loss = loss_of(self.leave(x.clone()));
        let mut gradients = loss.clone().backward();
        let mut x_gradient = take(&x, &mut gradients);
        let mut found = flat_gradients(self, gradients);

        // The stages, from the last to the first. What takes a skip finds its gradient first.
        let mut skip_gradients = Vec::new();
        let mut time_gradients = Vec::new();
        for (stage, Kept { x, skip, mut pass }) in self.stages().into_iter().zip(kept).rev() {
            if stage.leaves_skip {
                x_gradient = add_last(x_gradient, &mut skip_gradients);
            }
            let (x, skip, time) = (leaf(x), skip.map(leaf), leaf(time.clone()));
            let signals = Signals { time: &time, context: &() };
            let from_down = FromDown { skip: skip.clone(), size: None };
            let y = stage.forward(x.clone(), from_down, &signals, &mut pass);
            let mut gradients = backward_from(y, x_gradient);
            x_gradient = take(&x, &mut gradients);
            skip_gradients.extend(skip.map(|skip| take(&skip, &mut gradients)));
            time_gradients.extend(time.grad_remove(&mut gradients));
            merge(&mut found, flat_gradients(self, gradients));
        }

        // The beginning of the network. Burn adds what a shared tensor's users pass back to it in
        // the order in which they used it.
        let y = self.enter(Tensor::from_inner(input));
        let x_gradient = add_last(x_gradient, &mut skip_gradients);
        merge(&mut found, flat_gradients(self, backward_from(y, x_gradient)));
        if let Some(sum) = time_gradients.into_iter().rev().reduce(|sum, next| sum + next) {
            let time = self.embed(timesteps, classes, &self.device());
            merge(&mut found, flat_gradients(self, backward_from(time, sum)));
        }
        (loss.inner(), found)
    }

    /// The forward pass outside any gradient graph: what goes into each stage, the time embedding,
    /// and what comes out of the last stage.
    fn keep_inputs(
        &self,
        x: Tensor<4>,
        timesteps: &[f32],
        classes: Option<&[u32]>,
        mut pass: Pass,
    ) -> (Vec<Kept>, Tensor<2>, Tensor<4>) {
        let plain = self.valid();
        let time = plain.embed(timesteps, classes, &x.device());
        let mut x = plain.enter(x);
        let mut skips = vec![x.clone()];
        let mut kept = Vec::new();
        let signals = Signals { time: &time, context: &() };
        for stage in plain.stages() {
            let skip = if stage.takes_skip { skips.pop() } else { None };
            kept.push(Kept { x: x.clone(), skip: skip.clone(), pass: pass.clone() });
            x = stage.forward(x, FromDown { skip, size: None }, &signals, &mut pass);
            if stage.leaves_skip {
                skips.push(x.clone());
            }
        }
        (kept, time, x)
    }
}

/// The start of a gradient graph.
fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x).require_grad()
}

/// The gradients of whatever `y` was computed from, given that of `y`.
fn backward_from<const D: usize>(y: Tensor<D>, gradient: Tensor<D>) -> Gradients {
    (y * Tensor::from_inner(gradient)).sum().backward()
}

/// Takes a leaf's gradient out, in memory of its own: it may be a view of a larger one.
fn take<const D: usize>(leaf: &Tensor<D>, gradients: &mut Gradients) -> Tensor<D> {
    let gradient = leaf.grad_remove(gradients);
    let gradient = gradient.unwrap_or_else(|| leaf.clone().inner().zeros_like());
    let elements = gradient.shape().num_elements();
    gradient.reshape([elements]).reshape(leaf.dims())
}

/// Adds the last of the skips' gradients, which it takes away.
fn add_last(gradient: Tensor<4>, skip_gradients: &mut Vec<Tensor<4>>) -> Tensor<4> {
    match skip_gradients.pop() {
        Some(skip) => gradient + skip,
        None => gradient,
    }
}

/// Puts the gradients of one stage's parameters in their places.
fn merge(found: &mut [Option<Tensor<1>>], more: Vec<Option<Tensor<1>>>) {
    for (place, gradient) in found.iter_mut().zip(more) {
        if gradient.is_some() {
            *place = gradient;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unet::{BlockType, UNetConfig};
    use burn::tensor::{Device, TensorData};
    use sumi_nn::{Init, parameters, with_values};
    use sumi_random::{NormalSource, Philox};

    /// Classes, attention, a residual block that changes its channels, a level that halves and
    /// doubles, dropout.
    fn config() -> UNetConfig {
        UNetConfig {
            down_block_types: vec![BlockType::DownBlock2D, BlockType::AttnDownBlock2D],
            up_block_types: vec![BlockType::AttnUpBlock2D, BlockType::UpBlock2D],
            block_out_channels: vec![8, 16],
            attention_head_dim: Some(8),
            norm_num_groups: 4,
            dropout: 0.2,
            num_class_embeds: Some(5),
            ..UNetConfig::default()
        }
    }

    fn normal(stream: u64, len: usize, scale: f32) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Philox::new(7, stream).fill_normal(&mut values);
        values.into_iter().map(|x| x * scale).collect()
    }

    /// Nothing stays at the zeros at which it starts, which let no gradient through.
    fn unet(device: &Device) -> UNet {
        let unet = UNet::new(&config(), &mut Init::new(device, 0)).unwrap();
        let plain = device.clone().without_autodiff();
        let values = parameters(&unet).into_iter().zip(10..).map(|(parameter, stream)| {
            let values = normal(stream, parameter.values.dims()[0], 0.2);
            Tensor::from_data(TensorData::from(values.as_slice()), &plain)
        });
        let values = values.collect();
        with_values(unet, values)
    }

    fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
        x.try_into_vec_as::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn recomputing_changes_no_bit() {
        let device = Device::flex().autodiff();
        let unet = unet(&device);
        let pictures = |stream| {
            let values = normal(stream, 3 * 3 * 8 * 8, 1.0);
            Tensor::<4>::from_data(TensorData::new(values, [3, 3, 8, 8]), &device)
        };
        let (x, target) = (pictures(0), pictures(1));
        let (timesteps, classes) = ([3.0, 500.0, 999.0], [4, 0, 2]);
        let pass = Pass::Training(Philox::new(1, 2));
        let loss_of = |output: Tensor<4>| (output - target.clone()).square().mean();

        let output = unet.forward(x.clone(), &timesteps, Some(&classes), &mut pass.clone());
        let loss = loss_of(output);
        let (expected_loss, expected) =
            (bits(loss.clone().inner()), flat_gradients(&unet, loss.backward()));

        let (loss, found) =
            unet.checkpointed_gradients(x, &timesteps, Some(&classes), pass, loss_of);
        assert_eq!(bits(loss), expected_loss);
        assert_eq!(found.len(), expected.len());
        for ((parameter, found), expected) in parameters(&unet).iter().zip(found).zip(expected) {
            let (found, expected) = (bits(found.unwrap()), bits(expected.unwrap()));
            let name = &parameter.name;
            assert!(expected.iter().any(|&bits| bits << 1 != 0), "{name}: no gradient to compare");
            assert!(found == expected, "{name}: another gradient");
        }
    }

    #[test]
    fn every_gradient_is_outside_differentiation() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::ones([1, 3, 8, 8], &device);
        let (loss, gradients) = unet(&device).checkpointed_gradients(
            x,
            &[1.0],
            Some(&[0]),
            Pass::Inference,
            |output| output.mean(),
        );
        assert!(!loss.device().is_autodiff());
        assert!(gradients.iter().flatten().all(|gradient| !gradient.device().is_autodiff()));
    }
}
