//! Which of a component's weight files is read.

use super::Preferences;
use crate::{FormatError, Result, StateDict};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The stems and endings that diffusers and transformers write, the preferred ones first: a
/// safetensors file holds tensors and nothing else.
const FILES: [(&str, &str); 4] = [
    ("diffusion_pytorch_model", "safetensors"),
    ("model", "safetensors"),
    ("diffusion_pytorch_model", "bin"),
    ("pytorch_model", "bin"),
];

/// Opens the weights of the component in `folder`: those of the variant that was asked for, else
/// the plain ones, else those of the only variants there are.
pub(super) fn open(folder: &Path, class: &str, preferences: &Preferences) -> Result<StateDict> {
    let asked = preferences.variant.as_deref().and_then(|variant| find(folder, Some(variant)));
    let plain = || find(folder, None);
    let other = || variants(folder).iter().find_map(|variant| find(folder, Some(variant)));
    match asked.or_else(plain).or_else(other) {
        Some(path) => StateDict::open(path),
        None => {
            let expected = format!(
                "the weights of a {class}, such as {}.{}",
                if class.starts_with("UNet") || class.starts_with("Auto") {
                    FILES[0].0
                } else {
                    FILES[1].0
                },
                FILES[0].1
            );
            Err(FormatError::incomplete(folder, expected, "none: fetch them"))
        }
    }
}

/// Whether the component has weights of a variant.
pub(super) fn has_variant(folder: &Path, variant: &str) -> bool {
    find(folder, Some(variant)).is_some()
}

/// The file, or the index of several, of one variant or of none.
fn find(folder: &Path, variant: Option<&str>) -> Option<PathBuf> {
    FILES.into_iter().find_map(|(stem, ending)| {
        let names = match variant {
            None => vec![format!("{stem}.{ending}"), format!("{stem}.{ending}.index.json")],
            // The libraries disagreed, over time, on where an index bears its variant.
            Some(variant) => vec![
                format!("{stem}.{variant}.{ending}"),
                format!("{stem}.{ending}.index.{variant}.json"),
                format!("{stem}.{variant}.{ending}.index.json"),
            ],
        };
        names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
    })
}

/// The variants that the file names in a folder speak of.
fn variants(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            FILES.into_iter().find_map(|(stem, ending)| {
                let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
                let whole = rest.strip_suffix(&format!(".{ending}"));
                let index = rest.strip_suffix(&format!(".{ending}.index.json"));
                let middle = rest
                    .strip_prefix(&format!("{ending}.index."))
                    .and_then(|rest| rest.strip_suffix(".json"));
                let variant = whole.or(index).or(middle)?;
                // A shard, `fp16-00001-of-00002`, is no variant of its own.
                let plain = !variant.is_empty() && !variant.contains(['.', '-']);
                plain.then(|| variant.to_owned())
            })
        })
        .collect()
}
