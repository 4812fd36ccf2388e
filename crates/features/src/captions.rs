//! What the pictures of a folder are said to show.

use crate::{FeatureError, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sumi_formats::infotext::{self, Infotext};
use sumi_formats::{FormatError, png_text};

/// The captions of pictures, from wherever they stand.
///
/// For a file, in this order: the line of its name in `metadata.jsonl` beside it (`file_name` and `text`, as
/// Hugging Face's image folders have it), the first line of a `.txt` beside it that is named like it, and the prompt that
/// the PNG itself was drawn from.
#[derive(Clone, Debug, Default)]
pub struct Captions {
    /// The captions of a folder's `metadata.jsonl`, read once.
    listed: BTreeMap<PathBuf, BTreeMap<String, String>>,
}

impl Captions {
    /// The caption of a file, where it has one.
    ///
    /// # Errors
    /// A list of captions that cannot be read.
    pub fn of(&mut self, path: &Path) -> Result<Option<String>> {
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if !self.listed.contains_key(&folder) {
            self.listed.insert(folder.clone(), read_list(&folder)?);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(caption) = self.listed.get(&folder).and_then(|list| list.get(&*name)) {
            return Ok(Some(caption.clone()));
        }
        Ok(beside(path).or_else(|| inside(path)))
    }

    /// One caption a line of a text file; empty lines at the end do not count.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn lines(path: &Path) -> Result<Vec<String>> {
        Ok(read(path)?.trim_end().lines().map(str::to_owned).collect())
    }
}

/// The most bytes that a list of captions may have.
const MAX_LIST_BYTES: u64 = 1 << 30;
/// The most bytes that one caption may have.
const MAX_CAPTION_BYTES: u64 = 1 << 16;

fn read(path: &Path) -> Result<String> {
    let failed = |action, source| FormatError::Io { path: path.into(), action, source };
    let length = std::fs::metadata(path).map_err(|e| failed("open the file", e))?.len();
    if length > MAX_LIST_BYTES {
        let expected = format!("at most {MAX_LIST_BYTES} bytes of captions");
        return Err(FeatureError::set(path, expected, length.to_string()));
    }
    Ok(std::fs::read_to_string(path).map_err(|e| failed("read the file as text", e))?)
}

#[derive(serde::Deserialize)]
struct Line {
    file_name: String,
    text: String,
}

fn read_list(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join("metadata.jsonl");
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let text = read(&path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                let expected = format!("line {} to hold \"file_name\" and \"text\"", index + 1);
                FeatureError::set(&path, expected, error.to_string())
            })?;
            Ok((line.file_name, line.text))
        })
        .collect()
}

/// The first line of the text file that is named like the picture.
fn beside(path: &Path) -> Option<String> {
    let text = path.with_extension("txt");
    let small = std::fs::metadata(&text).ok()?.len() <= MAX_CAPTION_BYTES;
    let caption = small.then(|| std::fs::read_to_string(text).ok()).flatten()?;
    caption.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The prompt that a PNG was drawn from.
fn inside(path: &Path) -> Option<String> {
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("png")) {
        return None;
    }
    let texts = png_text::read(path).ok()?;
    let parameters = texts.into_iter().find(|(keyword, _)| keyword == infotext::KEYWORD)?.1;
    Some(Infotext::parse(&parameters).prompt).filter(|prompt| !prompt.is_empty())
}
