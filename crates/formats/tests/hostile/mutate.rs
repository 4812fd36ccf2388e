//! Twenty thousand mutated files a parser, the same ones every time; each number is shared out among
//! the forms of a format.

use crate::build::torch_archive;
use crate::files::{self, Format};
use sumi_testkit::hostile::{Dice, mutate, mutations, peak_of};

fn survive(
    name: &str,
    format: Format,
    inputs: usize,
    seed: u64,
    make: impl Fn(&mut Dice) -> Vec<u8>,
) {
    let mut dice = Dice::new(seed);
    let mut read = 0;
    for _ in 0..inputs {
        let bytes = make(&mut dice);
        let (result, peak) = peak_of(|| format.read(&bytes));
        files::assert_memory(name, peak, bytes.len());
        read += usize::from(result.is_ok());
    }
    // If every one were read, the mutations would test nothing.
    assert!(read < inputs, "{name}: every mutated file was read");
}

/// The mutations of the valid files of one format.
fn survive_all(format: Format, seed: u64) {
    let mut forms = files::valid();
    forms.retain(|(_, its, _)| *its == format);
    let inputs = mutations().div_ceil(forms.len());
    for (name, _, valid) in forms {
        survive(name, format, inputs, seed, |dice| mutate(&valid, dice));
    }
}

#[test]
fn mutated_safetensors() {
    survive_all(Format::Safetensors, 1);
}

#[test]
fn mutated_npz() {
    survive_all(Format::Npz, 2);
}

#[test]
fn mutated_npy() {
    survive_all(Format::Npy, 3);
}

#[test]
fn mutated_checkpoints() {
    survive_all(Format::Torch, 4);
}

/// An archive's checksums stop most mutations before the pickle machine sees them, so the pickle is
/// mutated before it is packed.
#[test]
fn mutated_pickles() {
    let valid = crate::torch::valid_pickle();
    survive("pickle", Format::Torch, mutations(), 5, |dice| {
        torch_archive(&mutate(&valid, dice), &[("0", &[0; 16])])
    });
}

#[test]
fn mutated_idx() {
    survive_all(Format::Idx, 6);
}

#[test]
fn mutated_cifar() {
    survive_all(Format::Cifar, 7);
}

#[test]
fn mutated_png_texts() {
    survive_all(Format::PngText, 8);
}

/// Checksums stop most mutations before a text is looked at, so the text is mutated before it is
/// packed.
#[test]
fn mutated_texts_of_a_png() {
    let texts = [
        (*b"tEXt", crate::png::plain()),
        (*b"zTXt", crate::png::deflated()),
        (*b"iTXt", crate::png::unicode()),
    ];
    survive("PNG text", Format::PngText, mutations(), 9, |dice| {
        let (kind, data) = &texts[dice.roll(3)];
        crate::png::png(&[(*kind, &mutate(data, dice))])
    });
}

#[test]
fn mutated_files_of_places() {
    survive_all(Format::Located, 8);
}

#[test]
fn mutated_shard_indices() {
    survive_all(Format::ShardIndex, 9);
}

#[test]
fn mutated_pipeline_indices() {
    survive_all(Format::PipelineIndex, 10);
}

/// A pipeline's header has some hundred names, most of whose mutations make one part incomplete.
#[test]
fn mutated_single_files() {
    survive_all(Format::SingleFile, 11);
}
