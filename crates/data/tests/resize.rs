//! Resizing against Pillow, PyTorch and torch-fidelity (`testdata/make_resize.py`).

use serde_json::Value;
use sumi_data::{Filter, Resizing, resize};
use sumi_testkit::{formula, golden, relative_error};

struct Case {
    golden: Value,
    dims: [usize; 3],
    size_px: [usize; 2],
    pixels: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let all = golden::load("testdata/resize.json");
    all.as_array().unwrap().iter().map(Case::new).collect()
}

impl Case {
    fn new(golden: &Value) -> Self {
        let sizes = |field: &str| -> Vec<usize> {
            golden::numbers(&golden[field]).into_iter().map(|side| side as usize).collect()
        };
        let dims: [usize; 3] = sizes("dims").try_into().unwrap();
        let name = golden["name"].as_str().unwrap();
        let grey = |u: f64| ((u + 1.0) * 128.0) as u8;
        let uniform = formula::uniform(name, dims.iter().product());
        let mut pixels: Vec<u8> = uniform.into_iter().map(grey).collect();
        // Half of it black and white, whose overshoot is clipped.
        let half = pixels.len() / 2;
        pixels[..half].iter_mut().for_each(|x| *x = if *x > 127 { 255 } else { 0 });
        assert_eq!(fnv(&pixels), golden["picture"], "{name}: another picture than Python's");
        let size_px = sizes("size").try_into().unwrap();
        Self { golden: golden.clone(), dims, size_px, pixels }
    }

    /// Every `step`th number and the mean; errors are relative to the greatest.
    #[track_caller]
    fn assert_planes(&self, how: Resizing, expected: &Value, tolerance: f64) {
        let planes = how.pixels(&self.pixels, self.dims, self.size_px).unwrap();
        let planes: Vec<f64> = planes.into_iter().map(f64::from).collect();
        let step = expected["step"].as_u64().unwrap() as usize;
        let found: Vec<f64> = planes.iter().copied().step_by(step).collect();
        let error = relative_error(&found, &golden::numbers(&expected["values"]));
        assert!(error <= tolerance, "{} {}: {error:e}", self.golden["name"], how.name());
        let mean = planes.iter().sum::<f64>() / planes.len() as f64;
        let error = relative_error(&[mean], &golden::numbers(&expected["mean"]));
        assert!(error <= tolerance, "{} {}: mean {error:e}", self.golden["name"], how.name());
    }
}

fn fnv(bytes: &[u8]) -> String {
    let step = |h: u64, byte: &u8| (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    format!("{:016x}", bytes.iter().fold(0xCBF2_9CE4_8422_2325, step))
}

#[test]
fn eight_bits_are_pillows_to_the_bit() {
    for case in cases() {
        for filter in Filter::ALL {
            let expected = &case.golden["pil"][filter.name()];
            let found = resize(&case.pixels, case.dims, case.size_px, filter).unwrap();
            let first: Vec<f64> = found.iter().take(12).map(|&x| f64::from(x)).collect();
            let name = &case.golden["name"];
            assert_eq!(first, golden::numbers(&expected["first"]), "{name} {filter:?}");
            assert_eq!(fnv(&found), expected["fnv"], "{name} {filter:?}");
            let planes = Resizing::Pil(filter).pixels(&case.pixels, case.dims, case.size_px);
            let [h, w] = case.size_px;
            let (planes, last) = (planes.unwrap(), h * w - 1);
            let channels: Vec<f32> = planes.iter().skip(last).step_by(h * w).copied().collect();
            let pixel: Vec<f32> = found[last * case.dims[2]..].iter().map(|&x| x.into()).collect();
            assert_eq!(channels, pixel, "{name}: planes are not the pixels turned");
        }
    }
}

#[test]
fn floats_are_pillows() {
    for case in cases() {
        for filter in Filter::ALL {
            let expected = &case.golden["pil_float"][filter.name()];
            // The same sums in f64 of the same f32; sines may differ in the last bit.
            case.assert_planes(Resizing::PilFloat(filter), expected, 1e-7);
        }
    }
}

#[test]
fn bilinear_is_pytorchs_and_tensorflows() {
    for case in cases() {
        // The file's nine digits; and PyTorch fuses products and sums where the processor can: two roundings of f32.
        case.assert_planes(Resizing::TorchBilinear, &case.golden["torch"], 2.5e-7);
        case.assert_planes(Resizing::Tensorflow1Bilinear, &case.golden["tensorflow1"], 6e-9);
    }
}

fn all() -> impl Iterator<Item = Resizing> {
    let pil = Filter::ALL.into_iter().flat_map(|f| [Resizing::Pil(f), Resizing::PilFloat(f)]);
    pil.chain([Resizing::TorchBilinear, Resizing::Tensorflow1Bilinear])
}

#[test]
fn the_same_size_is_the_same_picture() {
    let case = cases().swap_remove(1);
    let [h, w, c] = case.dims;
    let area = h * w;
    for how in all() {
        let planes = how.pixels(&case.pixels, case.dims, [h, w]).unwrap();
        let turned = (0..area * c).map(|i| planes[i % c * area + i / c] as u8);
        assert!(turned.eq(case.pixels.iter().copied()), "{}", how.name());
        assert_eq!(how.planes(&planes, [c, h, w], [h, w]).unwrap(), planes, "{}", how.name());
    }
}

#[test]
fn a_constant_stays_constant() {
    for how in all() {
        for ([h, w], to) in [([5, 9], [17, 4]), ([1, 1], [8, 8]), ([64, 300], [1, 7])] {
            let planes = how.planes(&vec![173.0; h * w], [1, h, w], to).unwrap();
            let far = planes.iter().map(|x| (x - 173.0).abs()).fold(0.0, f32::max);
            // Weights sum to one but for rounding.
            assert!(far < 1e-4, "{} {h} x {w} to {to:?}: {far}", how.name());
        }
    }
}

#[test]
fn numbers_beyond_a_byte_are_clipped_for_eight_bits_alone() {
    let how = Resizing::Pil(Filter::Bicubic);
    assert_eq!(how.planes(&[-7.0, 300.0, 1.6], [3, 1, 1], [1, 1]).unwrap(), [0.0, 255.0, 2.0]);
    let how = Resizing::PilFloat(Filter::Bicubic);
    assert_eq!(how.planes(&[-7.0, 300.0], [2, 1, 1], [1, 1]).unwrap(), [-7.0, 300.0]);
}

#[test]
fn what_cannot_be_resized_is_refused() {
    let refused = |dims, size| resize(&[0; 12], dims, size, Filter::Box).unwrap_err().to_string();
    assert!(refused([2, 2, 3], [0, 4]).contains("size to resize to: expected 1 to 65536 px"));
    assert!(refused([2, 2, 3], [4, 70_000]).contains("found 70000 x 4"));
    assert!(refused([0, 2, 3], [4, 4]).contains("picture to resize: expected at least 1 px"));
    assert!(refused([2, 3, 3], [4, 4]).contains("expected 3 x 2 pixels of 3 channels, found 12"));
    assert!(refused([1, 1, 12], [4, 4]).contains("expected 1 to 4, found 12"));
    let planes = Resizing::TorchBilinear.planes(&[0.0; 5], [2, 1, 3], [2, 2]);
    assert!(planes.unwrap_err().to_string().contains("found 5 numbers"));
}

#[test]
fn filters_have_pils_numbers() {
    let names: Vec<_> = (0..7).map(|code| Filter::from_pil(code).map(Filter::name)).collect();
    let known = ["lanczos", "bilinear", "bicubic", "box", "hamming"].map(Some);
    assert_eq!(names[0], None);
    assert_eq!(names[1..6], known);
    assert_eq!(names[6], None);
}
