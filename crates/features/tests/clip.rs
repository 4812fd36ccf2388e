//! A CLIP folder against transformers (`testdata/make_clip.py`).

use burn::tensor::Device;
use serde_json::{Value, json};
use std::path::Path;
use sumi_data::Image;
use sumi_features::clip::Clip;
use sumi_testkit::{formula, golden, relative_error};

/// Sums of some dozens of products in `f32`, in another order, through a handful of layers.
const TOLERANCE: f64 = 2e-5;

fn open(folder: impl AsRef<Path>) -> Result<Clip, String> {
    Clip::open(folder.as_ref(), &Device::flex()).map_err(|error| error.to_string())
}

/// A copy of the folder with files changed, or taken out where nothing is said.
fn changed(files: &[(&str, Option<Value>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("testdata/clip").unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    for (name, value) in files {
        let path = folder.path().join(name);
        match value {
            Some(value) => std::fs::write(path, value.to_string()).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
    folder
}

fn images(golden: &Value) -> Vec<Image> {
    let image = |size: &Value| {
        let sides = golden::numbers(size);
        let [height_px, width_px] = [sides[0] as usize, sides[1] as usize];
        let name = format!("clip-{height_px}x{width_px}");
        let uniform = formula::uniform(&name, height_px * width_px * 3);
        let rgb = uniform.into_iter().map(|u| ((u + 1.0) * 128.0) as u8).collect();
        Image { width_px, height_px, rgb, grey: false, alpha: false }
    };
    golden["sizes"].as_array().unwrap().iter().map(image).collect()
}

fn texts(golden: &Value) -> Vec<&str> {
    golden["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[track_caller]
fn assert_numbers(what: &str, found: &[f32], expected: &Value, tolerance: f64) {
    let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
    let error = relative_error(&found, &golden::numbers(expected));
    assert!(error < tolerance, "{what}: {error:e}");
}

#[test]
fn pictures_and_texts_are_embedded_as_in_transformers() {
    let golden = golden::load("testdata/clip.json");
    let clip = open("testdata/clip").unwrap();
    assert_eq!(clip.dims(), 12);
    let images = clip.image_embeds(&images(&golden)).unwrap();
    assert_numbers("image_embeds", &images, &golden["image_embeds"], TOLERANCE);
    let texts = clip.text_embeds(&texts(&golden)).unwrap();
    assert_numbers("text_embeds", &texts, &golden["text_embeds"], TOLERANCE);
    let unit = clip.normalised(&images).unwrap();
    assert_numbers("image_unit", &unit, &golden["image_unit"], TOLERANCE);
    let logits = clip.logits_per_image(&images, &texts).unwrap();
    assert_numbers("logits_per_image", &logits, &golden["logits_per_image"], TOLERANCE);
    assert!(clip.normalised(&images[1..]).unwrap_err().to_string().contains("vectors of 12"));
}

#[test]
fn pictures_are_prepared_as_in_transformers() {
    let golden = golden::load("testdata/clip.json");
    let clip = open("testdata/clip").unwrap();
    assert_eq!(
        clip.preprocess().describe(),
        "shorter side to 32 px (bicubic with antialiasing, as PIL's), middle 30 x 30 px"
    );
    let planes: Vec<Vec<f32>> =
        images(&golden).iter().map(|image| clip.preprocess().planes(image).unwrap()).collect();
    // Once in f32 there, in f64 and rounded here.
    let some: Vec<f32> = planes[1].iter().copied().step_by(7).collect();
    assert_numbers("pixel_values", &some, &golden["pixel_values"], 3e-7);
    let mean = |planes: &Vec<f32>| planes.iter().map(|&x| f64::from(x)).sum::<f64>() as f32;
    let means: Vec<f32> = planes.iter().map(|x| mean(x) / x.len() as f32).collect();
    assert_numbers("means", &means, &golden["means"], 1e-6);
}

#[test]
fn a_picture_has_the_same_vector_in_any_company() {
    let golden = golden::load("testdata/clip.json");
    let clip = open("testdata/clip").unwrap();
    let images = images(&golden);
    let together = clip.image_embeds(&images).unwrap();
    let alone: Vec<f32> =
        images.chunks(1).flat_map(|one| clip.image_embeds(one).unwrap()).collect();
    let expected: Vec<f64> = together.iter().map(|&x| f64::from(x)).collect();
    assert_numbers("alone", &alone, &json!(expected), 1e-6);
    assert_eq!(clip.image_embeds(&[]).unwrap(), [0.0; 0]);
    assert_eq!(clip.text_embeds(&[]).unwrap(), [0.0; 0]);
}

/// A torch file with the counters of old versions, a size in one number, and configs as OpenAI's have them.
#[test]
fn old_folders_are_read() {
    let golden = golden::load("testdata/clip.json");
    let mut config = golden::load("testdata/clip/config.json");
    let text = config["text_config"].clone();
    config["text_config_dict"] = text;
    for part in ["text_config", "vision_config"] {
        config[part].as_object_mut().unwrap().remove("projection_dim");
    }
    config["text_config_dict"]["eos_token_id"] = json!(2);
    let size = json!({"size": 32, "crop_size": 30, "resample": 3, "do_pad": null, "image_std": null,
        "feature_extractor_type": "CLIPFeatureExtractor"});
    let folder = changed(&[
        ("config.json", Some(config)),
        ("preprocessor_config.json", Some(size)),
        ("processor_config.json", None),
        ("model.safetensors", None),
    ]);
    std::fs::copy("testdata/clip-old.bin", folder.path().join("pytorch_model.bin")).unwrap();
    let clip = open(folder.path()).unwrap();
    assert!(clip.weights().ends_with("pytorch_model.bin"));
    assert_eq!(clip.sha256().len(), 64);
    let images = clip.image_embeds(&images(&golden)).unwrap();
    assert_numbers("image_embeds", &images, &golden["image_embeds"], TOLERANCE);
    let texts = clip.text_embeds(&texts(&golden)).unwrap();
    assert_numbers("text_embeds", &texts, &golden["text_embeds"], TOLERANCE);
}

#[test]
fn a_folder_that_is_no_clip_says_why() {
    let refused = |files: &[(&str, Option<Value>)]| open(changed(files).path()).unwrap_err();
    let text = refused(&[("config.json", None)]);
    assert!(text.contains("expected the folder of a CLIPModel, found no config.json"), "{text}");
    let bert = json!({"model_type": "bert", "architectures": ["BertModel"]});
    let text = refused(&[("config.json", Some(bert))]);
    assert!(text.contains("expected the config of a CLIPModel, found \"BertModel\""), "{text}");
    let text = refused(&[("model.safetensors", None)]);
    assert!(text.contains("weights of a CLIPModel"), "{text}");

    let mut config = golden::load("testdata/clip/config.json");
    config["projection_dim"] = json!(13);
    let text = refused(&[("config.json", Some(config.clone()))]);
    assert!(text.contains("projection.weight\": expected shape [13"), "{text}");
    config["vision_config"]["image_size"] = json!(28);
    let text = refused(&[("config.json", Some(config))]);
    assert!(text.contains("crop_size: expected image_size, 28 x 28, found 30 x 30"), "{text}");

    let prepared = |change: Value| {
        let file = "preprocessor_config.json";
        let text = refused(&[(file, Some(change))]);
        assert!(text.starts_with("clip: "), "{text}");
        text
    };
    assert!(prepared(json!({"resample": 0, "crop_size": 30})).contains("resample: expected 1"));
    assert!(prepared(json!({"do_resize": false})).contains("do_resize: expected true"));
    assert!(prepared(json!({"size": 0})).contains("size: expected 1 to 4096 px, found 0 x 0"));
    assert!(prepared(json!({"do_center_crop": false})).contains("do_center_crop: expected true"));
    let zero = json!({"image_std": [0.0, 1.0, 1.0], "crop_size": 30});
    assert!(prepared(zero).contains("above 0 in image_std"));
    assert!(prepared(json!({"size": "big"})).contains("preprocessor_config.json"));
}

#[test]
fn a_narrow_picture_is_an_error_and_not_a_flood() {
    let clip = open("testdata/clip").unwrap();
    let narrow = |width_px, height_px| Image {
        width_px,
        height_px,
        rgb: vec![0; width_px * height_px * 3],
        grey: false,
        alpha: false,
    };
    let text = clip.image_embeds(&[narrow(100_000, 1)]).unwrap_err().to_string();
    assert!(text.contains("size to resize to"), "{text}");
    assert!(clip.image_embeds(&[narrow(0, 3)]).is_err());
    // Smaller than what is cut out, after a resize to less: black around it.
    let folder = changed(&[(
        "preprocessor_config.json",
        Some(json!({"size": 20, "crop_size": 30, "do_normalize": false})),
    )]);
    let white = Image { rgb: vec![255; 27], ..narrow(3, 3) };
    let planes = open(folder.path()).unwrap().preprocess().planes(&white).unwrap();
    let row: Vec<f32> = planes[15 * 30..16 * 30].to_vec();
    assert_eq!(row, [[0.0; 5].as_slice(), &[1.0; 20], &[0.0; 5]].concat());
    assert!(planes[..5 * 30].iter().all(|&x| x == 0.0));
}
