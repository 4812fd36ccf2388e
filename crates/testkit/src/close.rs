//! Comparing numbers.

/// Asserts that every element is close to its own expected value: |a - e| <= relative |e|.
///
/// Equal values are close whatever they are, so infinities can be expected; nothing is close to NaN. Where elements may
/// be zero but for rounding, compare [`relative_error`] with a bound instead.
///
/// # Panics
/// If the lengths differ or an element is not close; the message names the worst one.
#[track_caller]
pub fn assert_close(actual: &[f64], expected: &[f64], relative: f64) {
    assert_same_length(actual, expected);
    let errors = actual.iter().zip(expected).map(|(&a, &e)| error(a, e, e.abs()));
    let far = errors.clone().filter(|&error| error > relative).count();
    let worst = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((i, error)) = worst
        && far > 0
    {
        panic!(
            "{far} of {} elements are not within {relative:e}; the worst is element {i}: found {:?}, expected {:?}, relative error {error:.3e}",
            actual.len(),
            actual[i],
            expected[i],
        );
    }
}

/// The greatest difference relative to the greatest expected magnitude: max |a - e| / max |e|.
///
/// 0 for equal slices, infinity for any difference from all zeros or NaN.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn relative_error(actual: &[f64], expected: &[f64]) -> f64 {
    assert_same_length(actual, expected);
    let scale = expected.iter().fold(0.0, |scale: f64, e| scale.max(e.abs()));
    let errors = actual.iter().zip(expected).map(|(&a, &e)| error(a, e, scale));
    errors.fold(0.0, f64::max)
}

#[track_caller]
fn assert_same_length(actual: &[f64], expected: &[f64]) {
    assert_eq!(
        actual.len(),
        expected.len(),
        "{} elements found, {} expected",
        actual.len(),
        expected.len()
    );
}

/// |a - e| / scale, where 0 / 0 = 0 and anything that is not a number is infinite.
fn error(a: f64, e: f64, scale: f64) -> f64 {
    let error = if a == e { 0.0 } else { (a - e).abs() / scale };
    if error.is_nan() { f64::INFINITY } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_has_its_own_scale() {
        assert_close(&[1e-9, 1e9], &[1e-9, 1e9], 0.0);
        assert_close(&[0.0, f64::INFINITY], &[0.0, f64::INFINITY], 0.0);
        assert_close(&[1.000_000_9], &[1.0], 1e-6);
    }

    #[test]
    #[should_panic(
        expected = "2 of 3 elements are not within 1e-3; the worst is element 1: found 3.0, expected 2.0, relative error 5.000e-1"
    )]
    fn the_worst_element_is_named() {
        assert_close(&[1.0, 3.0, 1.01], &[1.0, 2.0, 1.0], 1e-3);
    }

    #[test]
    #[should_panic(expected = "element 0: found NaN, expected NaN")]
    fn nan_is_close_to_nothing() {
        assert_close(&[f64::NAN], &[f64::NAN], 1.0);
    }

    #[test]
    #[should_panic(expected = "1 elements found, 2 expected")]
    fn lengths_must_agree() {
        relative_error(&[1.0], &[1.0, 2.0]);
    }

    #[test]
    fn relative_error_has_one_scale() {
        assert_eq!(relative_error(&[1.0, -4.5], &[0.5, -4.0]), 0.125);
        assert_eq!(relative_error(&[0.0], &[0.0]), 0.0);
        assert_eq!(relative_error(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(relative_error(&[f64::NAN, 1.0], &[1.0, 1.0]), f64::INFINITY);
    }
}
