//! CLIP's own vocabulary, for checkpoints that come without one.

use crate::config::{Config, Named};
use crate::folder::{clip_frame, clip_of};
use crate::vocabulary::{Builder, Pairs};
use crate::{Result, TextError, Tokenizer};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The merges of CLIP's vocabulary (OpenAI, MIT; see `data/LICENSE-CLIP`).
const MERGES: &[u8] = include_bytes!("../data/clip_merges.txt.gz");

/// The name of [`MERGES`], for errors.
const PACKED: &str = "clip_merges.txt.gz";

/// What fills up short texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipPad {
    /// `<|endoftext|>`, 49407: Stable Diffusion 1, and the first encoder of SDXL.
    EndOfText,
    /// `!`, 0: the OpenCLIP encoders of Stable Diffusion 2 and SDXL. It is a special token then, so
    /// that a `!` in a text is this id too, as in transformers.
    Bang,
}

impl Tokenizer {
    /// CLIP's tokenizer with its own vocabulary of 49,408 tokens, for texts of 77 ids.
    ///
    /// ```
    /// use sumi_text::{ClipPad, Tokenizer};
    ///
    /// let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
    /// assert_eq!(tokenizer.ids("a photo of a cat").unwrap(), [320, 1125, 539, 320, 2368]);
    /// ```
    ///
    /// # Errors
    /// None with the vocabulary that comes with Sumi.
    pub fn clip(pad: ClipPad) -> Result<Self> {
        let path = Path::new(PACKED);
        let text = unpack()?;
        let not = |found| TextError::malformed(path, "", "CLIP's merges", found);
        let (vocab, pairs) = parse(&text).map_err(not)?;
        let pad = match pad {
            ClipPad::EndOfText => "<|endoftext|>",
            ClipPad::Bang => "!",
        };
        let mut config = Config {
            pad_token: Some(Named::Text(pad.into())),
            model_max_length: Some(77.0),
            ..Config::default()
        };
        let mut tokenizer = clip_of(path, vocab, &pairs, &mut config)?;
        tokenizer.configure(&config)?;
        tokenizer.frame = clip_frame(&tokenizer, &config);
        Ok(tokenizer)
    }
}

fn unpack() -> Result<String> {
    let mut text = String::new();
    let io =
        |source| TextError::Io { path: PACKED.into(), action: "unpack the vocabulary", source };
    flate2::read::GzDecoder::new(MERGES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// CLIP's own vocabulary as the files `vocab.json` and `merges.txt` that tokenizers are opened from.
///
/// # Errors
/// None with the vocabulary that comes with Sumi.
pub fn clip_files() -> Result<[(&'static str, Vec<u8>); 2]> {
    let text = unpack()?;
    let not = |found: String| TextError::malformed(Path::new(PACKED), "", "CLIP's merges", found);
    let vocab = parse(&text).map_err(not)?.0.finish();
    let ids = 0..vocab.len() as u32;
    let tokens: BTreeMap<&str, u32> = ids.filter_map(|id| Some((vocab.token(id)?, id))).collect();
    let vocab = serde_json::to_vec(&tokens).map_err(|error| not(error.to_string()))?;
    let merges = format!("#version: 0.2\n{text}").into_bytes();
    Ok([("vocab.json", vocab), ("merges.txt", merges)])
}

/// The vocabulary of merges: the bytes, the bytes at the end of a word, what merges give, in order,
/// and two special tokens.
fn parse(merges: &str) -> std::result::Result<(Builder, Pairs), String> {
    let mut vocab = Builder::default();
    let mut pairs = Pairs::default();
    let mut push = |token: &str| {
        let id = vocab.len() as u32;
        vocab.push(token, id)
    };
    // Latin-1's printing characters first, then those that stand for the other bytes.
    let mut bytes: Vec<char> = (0..=255).map(crate::characters::of_byte).collect();
    bytes.sort_unstable();
    for c in &bytes {
        push(&c.to_string())?;
    }
    for c in &bytes {
        push(&format!("{c}</w>"))?;
    }
    for line in merges.lines() {
        pairs.push_line(line)?;
        push(&line.replacen(' ', "", 1))?;
    }
    push("<|startoftext|>")?;
    push("<|endoftext|>")?;
    Ok((vocab, pairs))
}
