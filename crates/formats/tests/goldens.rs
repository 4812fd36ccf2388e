//! Files that Python's tools wrote, read back value by value; `testdata/make_goldens.py` made them.

use std::path::PathBuf;
use sumi_formats::{Dtype, NamedTensor, TensorMap, npz, safetensors, torch};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

const LINEAR: [f32; 6] = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5];
const TURNED: [f32; 6] = [-1.0, 0.5, -0.5, 1.0, 0.0, 1.5];

/// Every tensor of the golden set: name, type, shape, values.
fn expected() -> [(&'static str, Dtype, &'static [usize], &'static [f32]); 14] {
    [
        ("linear", Dtype::F32, &[2, 3], &LINEAR),
        ("turned", Dtype::F32, &[3, 2], &TURNED),
        ("half", Dtype::F16, &[2, 3], &LINEAR),
        ("bfloat16", Dtype::Bf16, &[2, 3], &LINEAR),
        ("double", Dtype::F64, &[2, 3], &LINEAR),
        ("tail", Dtype::F32, &[2], &[4.0, 5.0]),
        ("window", Dtype::F32, &[3, 2], &[0.0, 1.0, 1.0, 2.0, 2.0, 3.0]),
        ("scalar", Dtype::I64, &[], &[7.0]),
        ("empty", Dtype::F32, &[0, 4], &[]),
        ("small", Dtype::I8, &[2], &[-1.0, 2.0]),
        ("byte", Dtype::U8, &[2], &[0.0, 255.0]),
        ("flag", Dtype::Bool, &[2], &[1.0, 0.0]),
        ("short", Dtype::I16, &[1], &[-300.0]),
        ("int", Dtype::I32, &[1], &[70_000.0]),
    ]
}

fn assert_tensor(tensor: &NamedTensor, dtype: Dtype, shape: &[usize], values: &[f32]) {
    assert_eq!((tensor.dtype, &tensor.shape[..]), (dtype, shape), "{}", tensor.name);
    assert_eq!(tensor.to_f32().unwrap(), values, "{}", tensor.name);
}

fn assert_golden(map: &TensorMap, prefix: &str) {
    assert_eq!(map.tensors.len(), expected().len());
    for (name, dtype, shape, values) in expected() {
        let tensor = map.get(&format!("{prefix}{name}")).unwrap();
        assert_tensor(tensor, dtype, shape, values);
    }
}

#[test]
fn torch_checkpoints_of_both_forms() {
    for file in ["checkpoint.pt", "legacy.pth"] {
        let map = torch::read(golden(file)).unwrap();
        assert_golden(&map, "state_dict.");
        let names: Vec<_> = expected().map(|(name, ..)| format!("state_dict.{name}")).into();
        assert!(map.names().eq(&names), "{file}: the order of the dictionary");
    }
}

#[test]
fn torch_state_dicts_and_parameters() {
    for file in ["linear.bin", "parameters.bin"] {
        let map = torch::read(golden(file)).unwrap();
        assert_eq!(map.names().collect::<Vec<_>>(), ["weight", "bias"]);
        assert_tensor(&map.tensors[0], Dtype::F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_tensor(&map.tensors[1], Dtype::F32, &[2], &[5.0, 6.0]);
    }
}

#[test]
fn a_pickled_module_is_refused_by_name() {
    let text = torch::read(golden("module.pt")).unwrap_err().to_string();
    assert!(
        text.contains("the global `torch.nn.modules.linear.Linear` is not supported"),
        "{text}"
    );
    assert!(text.contains("the pickle at byte 2"), "{text}");
}

#[test]
fn safetensors_from_python() {
    let map = safetensors::read(golden("tensors.safetensors")).unwrap();
    assert_golden(&map, "");
    assert_eq!(map.metadata["format"], "pt");
    let header = safetensors::read_header(golden("tensors.safetensors")).unwrap();
    let infos: Vec<_> = map.tensors.iter().map(NamedTensor::info).collect();
    assert_eq!((header.tensors, header.metadata), (infos, map.metadata));
}

#[test]
fn npz_from_numpy() {
    let map = npz::read(golden("pictures.npz")).unwrap();
    let counting: Vec<f32> = (0..24_u8).map(f32::from).collect();
    assert_tensor(map.get("arr_0").unwrap(), Dtype::U8, &[2, 2, 2, 3], &counting);
    assert_eq!(map.get("arr_1").unwrap().to_i64().unwrap(), [3, -1]);

    let map = npz::read(golden("compressed.npz")).unwrap();
    let columns = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_tensor(map.get("columns").unwrap(), Dtype::F32, &[2, 3], &columns);
    assert_tensor(map.get("scalar").unwrap(), Dtype::F64, &[], &[0.5]);
    assert_tensor(map.get("empty").unwrap(), Dtype::F16, &[0, 3], &[]);
    assert_tensor(map.get("flags").unwrap(), Dtype::Bool, &[2], &[1.0, 0.0]);

    // NumPy writes the same arrays the same way, but for the zip entries' dates.
    let written = tempfile::tempdir().unwrap();
    let ours = written.path().join("pictures.npz");
    npz::write(&ours, &npz::read(golden("pictures.npz")).unwrap().tensors).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let header = "\u{1}\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 3), }";
    for file in [golden("pictures.npz"), ours] {
        assert!(text(std::fs::read(file).unwrap()).contains(header));
    }
}

#[test]
fn objects_and_foreign_byte_orders_are_refused() {
    for (file, found) in [("objects.npy", "\"|O\""), ("big_endian.npy", "\">i4\"")] {
        let text = npz::read_npy(golden(file)).unwrap_err().to_string();
        assert!(text.contains(&format!("the type {found} is not supported")), "{text}");
    }
}
