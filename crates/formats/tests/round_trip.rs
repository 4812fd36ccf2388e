//! Whatever is written is read back, and read alike by the reference implementation.

use proptest::prelude::*;
use std::collections::BTreeMap;
use sumi_formats::{Dtype, NamedTensor, TensorMap, npz, safetensors};

fn tensor(name: String) -> impl Strategy<Value = NamedTensor> {
    let shape = prop::collection::vec(0_usize..5, 0..4);
    (shape, prop::sample::select(&Dtype::ALL[..]), any::<u64>()).prop_map(
        move |(shape, dtype, seed)| {
            let bytes = shape.iter().product::<usize>() * dtype.size();
            let mut state = seed | 1;
            let byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            let data = std::iter::repeat_with(byte).take(bytes).collect();
            NamedTensor { name: name.clone(), dtype, shape, data }
        },
    )
}

fn tensors() -> impl Strategy<Value = Vec<NamedTensor>> {
    // Names with quotes, escapes and other alphabets, each made unique by its place.
    prop::collection::vec("[a-z.\"\\\\水é ]{0,8}", 0..6).prop_flat_map(|names| {
        let unique = names.into_iter().enumerate();
        unique.map(|(index, name)| tensor(format!("{name}{index}"))).collect::<Vec<_>>()
    })
}

fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..4)
}

fn by_name(map: &TensorMap) -> BTreeMap<&str, &NamedTensor> {
    map.names().zip(&map.tensors).collect()
}

proptest! {
    #[test]
    fn safetensors_round_trip(tensors in tensors(), metadata in metadata()) {
        let map = TensorMap { tensors, metadata };
        let bytes = safetensors::to_bytes(&map).unwrap();
        let read = safetensors::from_bytes(&bytes).unwrap();
        prop_assert_eq!(by_name(&read), by_name(&map));
        prop_assert_eq!(&read.metadata, &map.metadata);
        // Written once more, the bytes are the same: the order is settled.
        prop_assert_eq!(safetensors::to_bytes(&read).unwrap(), &bytes[..]);

        let reference = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(reference.len(), map.tensors.len());
        for tensor in &map.tensors {
            let view = reference.tensor(&tensor.name).unwrap();
            prop_assert_eq!((view.shape(), view.data()), (&tensor.shape[..], &tensor.data[..]));
            prop_assert_eq!(view.dtype().to_string(), tensor.dtype.name());
            let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            prop_assert_eq!(start % tensor.dtype.size(), 0, "data is aligned");
        }
    }
}

proptest! {
    // Every case syncs a folder and some files to the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn npz_round_trip(tensors in tensors()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let known = |tensor: &NamedTensor| tensor.dtype != Dtype::Bf16;
        let tensors: Vec<_> = tensors.into_iter().filter(known).collect();
        npz::write(&path, &tensors).unwrap();
        prop_assert_eq!(npz::read(&path).unwrap().tensors, &tensors[..]);
        for tensor in &tensors {
            let path = folder.path().join("one.npy");
            npz::write_npy(&path, tensor).unwrap();
            let read = npz::read_npy(&path).unwrap();
            prop_assert_eq!((read.dtype, read.shape, read.data), (tensor.dtype, tensor.shape.clone(), tensor.data.clone()));
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let x = NamedTensor::from_f32("x", &[1], &[1.0]);
    let twice = TensorMap::new(vec![x.clone(), x.clone()]);
    let text = safetensors::write(&path, &twice).unwrap_err().to_string();
    assert!(text.contains("tensor `x`: expected a name of its own"), "{text}");
    assert!(npz::write(&path, &twice.tensors).is_err());

    let reserved = TensorMap::new(vec![NamedTensor::from_f32("__metadata__", &[1], &[1.0])]);
    assert!(safetensors::write(&path, &reserved).is_err());
    let torn = [NamedTensor::from_f32("x", &[3], &[1.0])];
    assert!(safetensors::write(&path, &TensorMap::new(torn.to_vec())).is_err());
    assert!(npz::write(&path, &torn).is_err());
    let bf16 = NamedTensor { dtype: Dtype::Bf16, data: vec![0; 2], ..x };
    let text = npz::write(&path, &[bf16]).unwrap_err().to_string();
    assert!(text.contains("expected a type that NumPy has, found BF16"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
