//! Two-point interpolation along each side, which has nothing against aliasing.

/// The two inputs between which an output of one side lies, and how far from the first.
struct Between {
    low: usize,
    high: usize,
    fraction: f32,
}

/// PyTorch's: the centre of output `i` is at `scale (i + 1/2) - 1/2`, and not left of the first input's.
///
/// # Shapes
/// `[H, W]` to `[height, width]`.
pub(super) fn torch(plane: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let place = |scale: f32, output: f32| (scale * (output + 0.5) - 0.5).max(0.0);
    // As a mean of both ends, not as a step from one, which rounds otherwise.
    let blend = |a: f32, b: f32, fraction: f32| (1.0 - fraction) * a + fraction * b;
    interpolate(plane, from, to, place, blend)
}

/// TensorFlow 1's: output `i` is at `scale i`.
///
/// # Shapes
/// `[H, W]` to `[height, width]`.
pub(super) fn tensorflow1(plane: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let place = |scale: f32, output: f32| scale * output;
    let blend = |a: f32, b: f32, fraction: f32| a + (b - a) * fraction;
    interpolate(plane, from, to, place, blend)
}

fn interpolate(
    plane: &[f32],
    [h, w]: [usize; 2],
    [height, width]: [usize; 2],
    place: impl Fn(f32, f32) -> f32,
    blend: impl Fn(f32, f32, f32) -> f32,
) -> Vec<f32> {
    let side = |inputs: usize, outputs: usize| -> Vec<Between> {
        let scale = inputs as f32 / outputs as f32;
        let between = |output: usize| {
            let at = place(scale, output as f32);
            // Rounding of `scale` may lead past the end.
            let low = (at as usize).min(inputs - 1);
            let fraction = (at - low as f32).clamp(0.0, 1.0);
            Between { low, high: (low + 1).min(inputs - 1), fraction }
        };
        (0..outputs).map(between).collect()
    };
    let columns = side(w, width);
    let mut resized = Vec::with_capacity(height * width);
    for Between { low, high, fraction: down } in side(h, height) {
        let (above, below) = (&plane[low * w..][..w], &plane[high * w..][..w]);
        resized.extend(columns.iter().map(|&Between { low, high, fraction }| {
            let upper = blend(above[low], above[high], fraction);
            let lower = blend(below[low], below[high], fraction);
            blend(upper, lower, down)
        }));
    }
    resized
}
