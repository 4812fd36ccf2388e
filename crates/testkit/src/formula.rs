//! Weights and inputs that golden scripts compute too (`crates/networks/testdata/formula.py`), so that
//! no golden file holds any.

/// `count` numbers that `name` stands for, uniform in [-1, 1) with 24 bits: a 32-bit FNV-1a of the name, with the
/// place of the number, through the finaliser of MurmurHash3.
pub fn uniform(name: &str, count: usize) -> Vec<f64> {
    let seed = name
        .bytes()
        .fold(0x811C_9DC5_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count)
        .map(|i| {
            let mut u = seed ^ (i as u32).wrapping_mul(0x9E37_79B1);
            for (shift, factor) in [(16, 0x85EB_CA6B), (13, 0xC2B2_AE35)] {
                u = (u ^ (u >> shift)).wrapping_mul(factor);
            }
            f64::from((u ^ (u >> 16)) >> 8) / f64::from(1 << 23) - 1.0
        })
        .collect()
}

/// The weight `name` of this shape: what has two dimensions or more has a variance of 1 / fan_in; a vector called
/// `weight` is 1 + u / 4, any other vector u / 4.
pub fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    let (scale, shift) = match shape {
        [_, inner @ ..] if !inner.is_empty() => {
            ((3.0 / inner.iter().product::<usize>() as f64).sqrt(), 0.0)
        }
        _ => (0.25, if name.ends_with(".weight") { 1.0 } else { 0.0 }),
    };
    u.into_iter().map(|u| (u * scale + shift) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `formula.py`.
    #[test]
    fn python_draws_the_same() {
        let expected = [0.9755892753601074, 0.6458170413970947, 0.7484054565429688];
        assert_eq!(uniform("conv.weight", 3), expected);
        assert_eq!(values("conv.weight", &[1, 3]), expected.map(|u| u as f32));
        assert_eq!(values("conv.weight", &[3]), expected.map(|u| (u / 4.0 + 1.0) as f32));
        assert_eq!(values("conv.bias", &[1]), [0.0888315737247467]);
    }
}
