//! Weights and inputs that golden scripts make too (`crates/networks/testdata/formula.py`), so that no
//! golden file holds any.

/// The 64-bit FNV-1a hash.
pub fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Uniform in [-1, 1), one number for each place of the tensor of this name: the upper 24 bits of splitmix64's outputs,
/// seeded with [`fnv`] of the name.
pub fn uniform(name: &str, len: usize) -> Vec<f64> {
    let seed = fnv(name);
    let number = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (1..=len as u64).map(number).collect()
}

/// The parameter of this name: u / sqrt(fan_in), a normalisation's gain 1 + 0.1 u, a bias 0.1 u, a running variance
/// (1 + u / 2) / 6, by which a convolution's products keep the size that they have before a ReLU.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    let root = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let lower = name.to_lowercase();
    let gain = (lower.contains("norm") || lower.contains("bn")) && name.ends_with(".weight");
    let variance = name.ends_with(".running_var");
    let value = |u: f64| match shape.len() {
        1 if variance => (1.0 + 0.5 * u) / 6.0,
        1 if gain => 1.0 + 0.1 * u,
        1 => 0.1 * u,
        _ => u / root,
    };
    u.into_iter().map(|u| value(u) as f32).collect()
}

/// Pictures `[count, 3, size, size]` between -1 and 1 (`make_extractors.py`): squares of 32 pixels, with noise.
pub fn pictures(name: &str, count: usize, size: usize) -> Vec<f32> {
    let across = size.div_ceil(32);
    let squares = uniform(&format!("{name}.squares"), count * 3 * across * across);
    let noise = uniform(&format!("{name}.noise"), count * 3 * size * size);
    let value = |(i, noise): (usize, f64)| {
        let (plane, y, x) = (i / size / size, i / size % size, i % size);
        let square = squares[(plane * across + y / 32) * across + x / 32];
        (0.75 * square + 0.25 * noise) as f32
    };
    noise.into_iter().enumerate().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `formula.py`.
    #[test]
    fn python_makes_the_same() {
        let u = [-0.474104642868042, -0.946170449256897, 0.1410459280014038];
        assert_eq!(uniform("norm.weight", 3), u);
        assert_eq!(weight("norm.weight", &[3]), u.map(|u| (1.0 + 0.1 * u) as f32));
        assert_eq!(weight("norm.weight", &[1, 3]), u.map(|u| (u / 3f64.sqrt()) as f32));
        assert_eq!(weight("norm.bias", &[1]), [0.069_419_06]);
        assert_eq!(weight("bn.weight", &[2]), [1.015_85, 0.969_294_6]);
        assert_eq!(weight("bn.running_var", &[2]), [0.226_943_17, 0.144_000_25]);
    }
}
