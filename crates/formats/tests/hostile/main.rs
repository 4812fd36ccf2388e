//! Damaged and hostile files: every one is a typed error, none panics, and none makes a reader
//! allocate more than its length can back.
//!
//! Most of the corpus is rebuilt from faults in other readers: safetensors' audit, GGUF's wrapped
//! dimensions (ggml issue 709, llama.cpp issue 18674), 160 bytes that force gigabytes (ggml issue
//! 1516), 43 bytes that hang (llama.cpp issue 27188), and the ways around torch's `weights_only`
//! (CVE-2025-32434, CVE-2026-24747).

mod build;
mod files;
mod lora;
mod mutate;
mod numpy;
#[path = "../checkpoints/pipeline.rs"]
mod pipeline;
mod png;
mod safetensors;
mod small;
mod torch;

use files::Format;
use sumi_testkit::hostile::{Noting, peak_of};

#[global_allocator]
static NOTING: Noting = Noting;

/// A bad file: its name, its format, its bytes, and what the error must say.
struct Bad {
    name: &'static str,
    format: Format,
    bytes: Vec<u8>,
    says: &'static str,
}

impl Bad {
    fn new(
        name: &'static str,
        format: Format,
        bytes: impl Into<Vec<u8>>,
        says: &'static str,
    ) -> Self {
        let bytes = bytes.into();
        Self { name, format, bytes, says }
    }
}

#[test]
fn every_bad_file_is_a_typed_error_within_its_memory() {
    let corpus: Vec<Bad> =
        [safetensors::corpus(), numpy::corpus(), torch::corpus(), small::corpus(), png::corpus()]
            .into_iter()
            .flatten()
            .collect();
    assert!(corpus.len() >= 40, "{}", corpus.len());
    for bad in corpus {
        let (result, peak) = peak_of(|| bad.format.read(&bad.bytes));
        let text = match result {
            Ok(_) => panic!("{}: was read", bad.name),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(bad.says), "{}: {text}", bad.name);
        assert!(text.len() < 2_000, "{}: a message of {} bytes", bad.name, text.len());
        files::assert_memory(bad.name, peak, bad.bytes.len());
        if matches!(bad.format, Format::Safetensors | Format::Torch) {
            let (result, peak) =
                sumi_testkit::hostile::peak_of(|| Format::Located.read(&bad.bytes));
            assert!(result.is_err(), "{}: was located", bad.name);
            // The copy that stands for the file is none of the reader's.
            files::assert_memory(bad.name, peak.saturating_sub(bad.bytes.len()), bad.bytes.len());
        }
    }
}

#[test]
fn a_file_cut_at_any_byte_is_an_error() {
    for (name, format, bytes) in files::valid() {
        format.read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        // One of many kilobytes is cut at every 61st byte.
        let every = |length: &usize| bytes.len() < 1 << 14 || length.is_multiple_of(61);
        for length in (0..bytes.len()).filter(every) {
            let result = format.read(&bytes[..length]);
            assert!(result.is_err(), "{name} cut to {length} of {}", bytes.len());
        }
    }
}

#[test]
fn missing_files_and_folders_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    for format in Format::ALL {
        let absent = folder.path().join("absent.bin");
        let text = format.open(&absent).unwrap_err().to_string();
        assert!(text.contains("absent.bin: cannot open the file"), "{text}");
        assert!(text.ends_with("check the path"), "{text}");
        let text = format.open(folder.path()).unwrap_err().to_string();
        assert!(text.contains("a folder is not supported, expected a regular file"), "{text}");
    }
}
