//! The presets: each reads, builds its network, and is what it says it is.

use burn::tensor::Device;
use std::path::{Path, PathBuf};
use sumi_data::Pictures;
use sumi_networks::unet::UNet;
use sumi_nn::{Init, parameter_shapes};
use sumi_process::{Prediction, ReverseVariance};
use sumi_train::{LearningRate, Loss, NetworkConfig, ProcessKind, RunConfig};

fn presets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../presets")
}

fn preset(name: &str) -> RunConfig {
    RunConfig::read(&presets().join(format!("{name}.toml")), &[]).unwrap()
}

/// A single black picture of the size that a preset is for.
fn picture(size_px: usize, channels: usize, classes: usize) -> Pictures {
    Pictures {
        height_px: size_px,
        width_px: size_px,
        channels,
        pixels: vec![0; size_px * size_px * channels],
        labels: vec![0],
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        max_value: 255,
    }
}

/// Counts without drawing a single weight.
fn parameters(config: &RunConfig, pictures: &Pictures) -> usize {
    let unet = UNet::new(&config.unet(pictures).unwrap(), &mut Init::new(&Device::flex(), 0));
    let shapes = parameter_shapes(&unet.unwrap());
    shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

#[test]
fn every_preset_reads_and_its_copy_reads_back() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(presets()).unwrap() {
        let path = entry.unwrap().path();
        let config = RunConfig::read(&path, &[]).unwrap();
        let again = RunConfig::parse(&config.to_toml().unwrap(), "copy", &[]).unwrap();
        assert_eq!(again, config, "{}", path.display());
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    let all = [
        "ddpm-256",
        "ddpm-cifar10",
        "digits",
        "digits-classifier",
        "eight-gaussians",
        "mnist",
        "swiss-roll",
        "two-moons",
    ];
    assert_eq!(names, all);
}

/// What a preset writes out loud, it has to take back: one change is enough.
#[test]
fn the_digits_can_learn_their_variance() {
    let change = ["process.variance=learned_range".to_string()];
    let config = RunConfig::read(&presets().join("digits.toml"), &change).unwrap();
    assert_eq!(config.loss(), Loss::Hybrid);
    assert_eq!(preset("digits").loss(), Loss::Simple);
}

/// The README's config for one's own pictures is one that trains.
#[test]
fn the_readmes_config_reads() {
    let readme = std::fs::read_to_string(presets().join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let config = RunConfig::parse(text, "README.md", &[]).unwrap();
    config.unet(&picture(32, 3, 2)).unwrap();
}

#[test]
fn the_published_networks_have_their_published_sizes() {
    let cifar = parameters(&preset("ddpm-cifar10"), &picture(32, 3, 10));
    assert_eq!(cifar, 35_746_307);
    let large = parameters(&preset("ddpm-256"), &picture(256, 3, 1));
    assert_eq!(large, 113_673_219);
}

#[test]
fn the_classifier_fits_its_digits() {
    let config = preset("digits-classifier").classifier(&sumi_data::digits::load()).unwrap();
    assert_eq!((config.num_classes, config.unet().size_multiple_px()), (10, 2));
}

#[test]
fn the_small_networks_are_small() {
    let digits = parameters(&preset("digits"), &sumi_data::digits::load());
    assert!((500_000..1_000_000).contains(&digits), "{digits}");
    let mnist = parameters(&preset("mnist"), &picture(28, 1, 10));
    assert!((500_000..2_000_000).contains(&mnist), "{mnist}");
}

/// Ho, Jain and Abbeel, section 4 and Appendix B.
#[test]
fn the_papers_settings_are_complete() {
    for (name, dropout, learning_rate, batch_size, steps) in
        [("ddpm-cifar10", 0.1, 2e-4, 128, 800_000), ("ddpm-256", 0.0, 2e-5, 64, 500_000)]
    {
        let RunConfig { data, process, network, train, .. } = preset(name);
        assert!(data.flip && data.held_out_fraction == 0.0, "{name}");
        let ProcessKind::Discrete { timesteps, beta_start, beta_end, .. } = process.kind else {
            panic!("{name}: {process:?}")
        };
        assert_eq!((timesteps, beta_start, beta_end), (1000, 1e-4, 0.02));
        assert_eq!(process.prediction, Prediction::Epsilon);
        assert_eq!(process.variance, ReverseVariance::FixedLarge);
        let NetworkConfig::Unet {
            dropout: found,
            norm_groups,
            blocks,
            class_conditional,
            head_dim,
            ..
        } = network
        else {
            panic!("{name}: {network:?}")
        };
        assert_eq!((found, norm_groups, blocks), (dropout, 32, 2), "{name}");
        assert_eq!((class_conditional, head_dim), (false, None), "{name}");
        assert_eq!((train.learning_rate, train.batch_size), (learning_rate, batch_size));
        assert_eq!((train.steps, train.warmup_steps), (steps, 5000), "{name}");
        assert_eq!((train.gradient_clip, train.ema_decay), (1.0, 0.9999), "{name}");
        assert_eq!(train.schedule, LearningRate::Constant, "{name}");
        let adam = train.adamw;
        assert_eq!((adam.beta1, adam.beta2, adam.weight_decay), (0.9, 0.999, 0.0), "{name}");
    }
}
