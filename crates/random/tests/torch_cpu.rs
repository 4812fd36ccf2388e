//! `TorchCpu` against PyTorch, bit for bit, and its saved states.

use serde_json::Value;
use sumi_random::{NormalSource, StateError, TorchCpu};
use sumi_testkit::golden;

fn bits(values: &[f32]) -> Vec<u64> {
    values.iter().map(|z| u64::from(z.to_bits())).collect()
}

fn integers(value: &Value) -> Vec<u64> {
    let items = value.as_array().unwrap();
    items.iter().map(|x| x.as_u64().unwrap()).collect()
}

/// FNV-1a of the little-endian bytes.
fn digest(values: &[f32]) -> String {
    let bytes = values.iter().flat_map(|z| z.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn goldens() -> Value {
    golden::load("testdata/torch_cpu.json")
}

fn generator(case: &Value) -> TorchCpu {
    TorchCpu::new(case["seed"].as_u64().unwrap())
}

#[test]
fn short_draws_have_the_bits_of_pytorch() {
    for case in goldens()["short"].as_array().unwrap() {
        let expected = integers(&case["bits"]);
        let drawn = generator(case).normal_f32(expected.len());
        assert_eq!(bits(&drawn), expected, "{} of seed {}", drawn.len(), case["seed"]);
    }
}

#[test]
fn long_draws_have_the_bits_of_pytorch() {
    for case in goldens()["long"].as_array().unwrap() {
        let count = case["count"].as_u64().unwrap() as usize;
        let drawn = generator(case).normal_f32(count);
        assert_eq!(
            digest(&drawn),
            case["digest"].as_str().unwrap(),
            "{count} of seed {}",
            case["seed"]
        );
    }
}

#[test]
fn draws_follow_each_other_as_in_pytorch() {
    for case in goldens()["interleaved"].as_array().unwrap() {
        let counts = integers(&case["counts"]);
        let expected = integers(&case["bits"]);
        let mut source = generator(case);
        let mut resumed = source.clone();
        let mut drawn = Vec::new();
        for &n in &counts {
            drawn.extend(source.normal_f32(n as usize));
            // A saved state goes on in the same way, the spare normal included.
            let mut piece = vec![0.0; n as usize];
            resumed = TorchCpu::from_bytes(&resumed.to_bytes()).unwrap();
            resumed.fill_normal(&mut piece);
            assert_eq!(resumed, source);
        }
        assert_eq!(bits(&drawn), expected, "{counts:?}");
    }
}

#[test]
fn uniforms_have_the_bits_of_pytorch() {
    let case = &goldens()["uniform"];
    let mut source = generator(case);
    let drawn: Vec<f32> = (0..20).map(|_| source.uniform_f32()).collect();
    assert_eq!(bits(&drawn), integers(&case["bits"]));
}

/// The 10,000th output of MT19937 with its default seed is fixed by the C++ standard ([rand.predef]).
#[test]
fn the_generator_is_mt19937() {
    let mut source = TorchCpu::new(5489);
    let last = (0..10_000).map(|_| source.random_u32()).last();
    assert_eq!(last, Some(4_123_659_995));
}

#[test]
fn only_the_low_half_of_a_seed_counts() {
    assert_eq!(TorchCpu::new(5), TorchCpu::new(5 + (1 << 32)));
}

#[test]
fn damaged_states_are_refused() {
    let mut source = TorchCpu::new(1);
    source.normal_f32(1);
    let bytes = source.to_bytes();
    assert_eq!(bytes.len(), TorchCpu::STATE_BYTES);
    for cut in 0..bytes.len() {
        let error = TorchCpu::from_bytes(&bytes[..cut]).unwrap_err();
        assert_eq!(error, StateError::Length { expected: 2512, found: cut });
    }
    let mut long = bytes.clone();
    long.extend([0; 4]);
    assert!(TorchCpu::from_bytes(&long).is_err());

    let patch = |at: usize, word: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        TorchCpu::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(patch(2496, 625), StateError::Position { found: 625 });
    assert_eq!(patch(2500, 2), StateError::Spare);
    assert_eq!(patch(2508, 0x7ff0_0000), StateError::Spare);
    assert_eq!(
        patch(2496, 625).to_string(),
        "a saved CPU generator has used 0 to 624 words, found 625: the bytes are damaged"
    );
}
