//! `NumpyLegacy` against NumPy: the same numbers, however often it is asked.

use serde_json::Value;
use sumi_random::NumpyLegacy;
use sumi_testkit::golden;

/// FNV-1a of the little-endian words.
fn digest(values: &[u32]) -> String {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn permutations_and_choices_are_those_of_numpy() {
    for case in golden::load("testdata/numpy_legacy.json").as_array().unwrap() {
        let mut generator = NumpyLegacy::new(case["seed"].as_u64().unwrap() as u32);
        let sizes = case["sizes"].as_array().unwrap();
        for (size, expected) in sizes.iter().zip(case["drawn"].as_array().unwrap()) {
            let [n, size] = [0, 1].map(|i| size[i].as_u64().unwrap());
            let drawn = if n == size {
                generator.permutation(n as u32)
            } else {
                generator.choice(n as u32, size as usize)
            };
            let found = match expected {
                Value::String(_) => Value::from(digest(&drawn)),
                _ => Value::from(drawn),
            };
            assert_eq!(&found, expected, "{size} of {n} after seed {}", case["seed"]);
        }
    }
}

#[test]
fn nothing_and_everything_can_be_chosen() {
    let mut generator = NumpyLegacy::new(1);
    assert!(generator.permutation(0).is_empty());
    let mut all = generator.choice(4, 9);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}
