//! Twenty thousand mutated files a parser, the same ones every time; as many as the environment
//! variable `SUMI_MUTATIONS` says, where it is set, as before a release.

use crate::allocator::peak_of;
use crate::build::torch_archive;
use crate::files::{self, Format};

/// Inputs for each parser, shared out among the forms of its format.
fn inputs() -> usize {
    let set = std::env::var("SUMI_MUTATIONS").ok();
    set.map_or(20_000, |count| count.parse().unwrap())
}

/// Values that overflow, wrap or end something.
const TELLING: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, (1 << 42) + 1, u64::MAX];

/// Xorshift: small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

fn mutate(valid: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..1 + dice.roll(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.roll(bytes.len());
        match dice.roll(7) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, dice.roll(256) as u8),
            4 => drop(bytes.drain(at..bytes.len().min(at + 1 + dice.roll(8)))),
            5 => {
                // A telling number of one to eight bytes in either order.
                let width = 1 << dice.roll(4);
                let value = TELLING[dice.roll(TELLING.len())];
                let number = if dice.roll(2) == 0 {
                    value.to_le_bytes()[..width].to_vec()
                } else {
                    value.to_be_bytes()[8 - width..].to_vec()
                };
                let end = bytes.len().min(at + width);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ => {
                // A piece of the file somewhere else in it.
                let from = dice.roll(bytes.len());
                let piece = bytes[from..bytes.len().min(from + dice.roll(32))].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn survive(
    name: &str,
    format: Format,
    inputs: usize,
    seed: u64,
    make: impl Fn(&mut Dice) -> Vec<u8>,
) {
    let mut dice = Dice(seed);
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
    let inputs = inputs().div_ceil(forms.len());
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
    survive("pickle", Format::Torch, inputs(), 5, |dice| {
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
