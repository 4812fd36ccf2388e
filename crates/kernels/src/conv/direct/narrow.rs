//! Pictures of few channels, such as red, green and blue: all that a row of the kernel sees lies side by side in a row of
//! the picture, and is one long tap.

use crate::{
    buffer::{Scratch, SharedMut, parallel},
    conv::{Added, Shape, Window},
    flex::Weight,
    simd::Isa,
};

use super::{Pass, View};

/// More channels than this fill a tap by themselves.
const FEW: usize = 8;

/// Whether rows of the kernel are long taps.
pub(super) fn suits(shape: &Shape) -> bool {
    let Window { zoom, kernel_w, .. } = shape.window;
    zoom == 1 && kernel_w > 1 && shape.inputs <= FEW
}

/// Writes `y = bias + weight * windows of x`, and the residual where there is one.
pub(super) fn forward(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    weight: Weight<'_>,
    added: Added<'_>,
    y: SharedMut,
) {
    let w = shape.window;
    let seen = |outputs: usize, kernel: usize| (outputs - 1) * w.stride + kernel;
    let (height, width) = (seen(w.out_h, w.kernel_h), seen(w.out_w, w.kernel_w));
    let mut room = Scratch::take(shape.samples * height * width * shape.inputs);
    let padded = SharedMut::new(room.slice());
    parallel(shape.samples * height, 64, |rows| {
        for row in rows {
            let (sample, at) = (row / height, row % height);
            // SAFETY: this task's own row.
            let to = unsafe {
                let pitch = width * shape.inputs;
                std::slice::from_raw_parts_mut(padded.at(row * pitch), pitch)
            };
            to.fill(0.0);
            let Some(at) = at.checked_sub(w.top).filter(|&at| at < w.height) else { continue };
            let pitch = w.width * shape.inputs;
            let from = &x[(sample * w.height + at) * pitch..][..pitch];
            let inside = to.iter_mut().skip(w.left * shape.inputs);
            inside.zip(from).for_each(|(to, from)| *to = *from);
        }
    });
    let long = turn(shape, weight);
    let pass = Pass {
        view: View::Forward,
        window: Window { height, width, kernel_w: 1, top: 0, left: 0, ..w },
        samples: shape.samples,
        from: w.kernel_w * shape.inputs,
        pitch: shape.inputs,
        from_pixels: height * width,
        to: shape.outputs,
        to_pixels: w.pixels(),
        source: room.slice(),
        weight: long.as_slice().into(),
        added: Some(added),
        result: y,
    };
    pass.run(isa);
}

/// The weight `[O, I, KH, KW]` as `[O, KW I, KH, 1]`.
fn turn(shape: &Shape, weight: Weight<'_>) -> Vec<f32> {
    let Window { kernel_h, kernel_w, .. } = shape.window;
    let row = shape.inputs * kernel_h * kernel_w;
    let mut long = vec![0.0; shape.outputs * row];
    let mut room = Scratch::take(0);
    for (o, to) in long.chunks_exact_mut(row).enumerate() {
        let (from, _) = weight.rows(o * row, [1, row, row], &mut room);
        // SAFETY: a row of the weight.
        let from = unsafe { std::slice::from_raw_parts(from, row) };
        for (at, &value) in from.iter().enumerate() {
            let (i, ky, kx) = (at / kernel_w / kernel_h, at / kernel_w % kernel_h, at % kernel_w);
            to[(kx * shape.inputs + i) * kernel_h + ky] = value;
        }
    }
    long
}
