//! Between two noises.

use crate::State;

/// Spherical interpolation, `(sin((1 - w) theta) a + sin(w theta) b) / sin(theta)` with the angle `theta`
/// between `a` and `b`, sample by sample (Song et al., DDIM, Appendix D.5).
///
/// Between two standard normals it gives what has their length, which a straight line does not.
pub fn slerp<S: State>(a: &S, b: &S, w: f64) -> S {
    let (lengths_a, lengths_b) = (a.norms(), b.norms());
    let sums = a.combine(1.0, b, 1.0).norms();
    let factors = |(&sum, (&a, &b)): (&f64, (&f64, &f64))| {
        // |a + b|^2 = |a|^2 + |b|^2 + 2 |a| |b| cos(theta)
        let cos = ((sum * sum - a * a - b * b) / (2.0 * a * b)).clamp(-1.0, 1.0);
        let theta = cos.acos();
        match theta.sin() {
            // The same direction, opposite ones, or no direction at all: a straight line.
            sin if sin > 1e-6 => [((1.0 - w) * theta).sin() / sin, (w * theta).sin() / sin],
            _ => [1.0 - w, w],
        }
    };
    let pairs = sums.iter().zip(lengths_a.iter().zip(&lengths_b)).map(factors);
    let (of_a, of_b): (Vec<f64>, Vec<f64>) = pairs.map(|[a, b]| (a, b)).unzip();
    a.scale_each(&of_a).combine(1.0, &b.scale_each(&of_b), 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_testkit::assert_close;

    #[test]
    fn it_keeps_the_length_and_ends_at_its_ends() {
        let (a, b) = (vec![3.0, 0.0, 4.0], vec![0.0, 5.0, 0.0]);
        assert_close(&slerp(&a, &b, 0.0), &a, 1e-12);
        assert!(slerp(&a, &b, 1.0).combine(1.0, &b, -1.0).norms()[0] < 1e-12);
        for w in [0.1, 0.5, 0.8] {
            assert_close(&slerp(&a, &b, w).norms(), &[5.0], 1e-12);
        }
        assert_close(&slerp(&a, &b, 0.5), &[3.0, 5.0, 4.0].map(|x| x / 2f64.sqrt()), 1e-12);
    }

    #[test]
    fn without_an_angle_it_is_straight() {
        let a = vec![1.0, 2.0];
        assert_close(&slerp(&a, &vec![2.0, 4.0], 0.25), &[1.25, 2.5], 1e-12);
        assert_eq!(slerp(&a, &vec![0.0, 0.0], 0.5), [0.5, 1.0]);
    }
}
