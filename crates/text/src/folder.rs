//! Opening a folder as the transformers class that it names does.

use crate::added::AddedTokens;
use crate::bpe::{Bpe, BpeOptions};
use crate::charsmap::Charsmap;
use crate::config::{Config, Extra, Named};
use crate::decode::Decoder;
use crate::json::{File, ModelPart, unigram};
use crate::limits::read_text;
use crate::normalize::{Bert, Normalizer, Pattern};
use crate::parts::{Frame, Part};
use crate::sentencepiece::SentencePiece;
use crate::split::{Prepend, Splitter};
use crate::tokenizer::{Model, Tokenizer};
use crate::vocabulary::{Builder, Pairs};
use crate::wordpiece::{MAX_WORD_CHARS, WordPiece};
use crate::{Result, TextError};
use std::path::Path;

/// The classes that are known, without the `Fast` that older versions put behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Clip,
    Bert,
    T5,
    /// Whatever its `tokenizer.json` says.
    General,
}

const CLASSES: &str = "CLIPTokenizer, BertTokenizer, T5Tokenizer or PreTrainedTokenizerFast";

impl Class {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name.strip_suffix("Fast").unwrap_or(name) {
            "CLIPTokenizer" => Self::Clip,
            "BertTokenizer" => Self::Bert,
            "T5Tokenizer" => Self::T5,
            "PreTrainedTokenizer" | "TokenizersBackend" => Self::General,
            _ => return None,
        })
    }

    fn of_files(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).is_file();
        if has("vocab.json") && has("merges.txt") {
            Some(Self::Clip)
        } else if has("vocab.txt") {
            Some(Self::Bert)
        } else if !has("tokenizer.json") && SPIECE_NAMES.into_iter().any(has) {
            Some(Self::T5)
        } else {
            has("tokenizer.json").then_some(Self::General)
        }
    }
}

impl Tokenizer {
    /// Opens the tokenizer of a folder as `transformers` does: the class that
    /// `tokenizer_config.json` names, with its own normalisation, on the vocabulary of the folder.
    ///
    /// | class | vocabulary |
    /// |---|---|
    /// | `CLIPTokenizer` | `tokenizer.json`, or `vocab.json` and `merges.txt` |
    /// | `BertTokenizer` | `tokenizer.json`, or `vocab.txt` |
    /// | `T5Tokenizer` | `tokenizer.json`, or `spiece.model`, or `tokenizer.model` |
    /// | `PreTrainedTokenizerFast` | all of `tokenizer.json` |
    ///
    /// Where no class is named, the files tell it.
    ///
    /// # Errors
    /// A folder without these files, a class that is not one of these, a file that is damaged, over
    /// a limit, or asks for what Sumi does not do.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_as(folder, None)
    }

    /// Opens a folder as the class that the `model_index.json` above it names.
    ///
    /// # Errors
    /// As [`Tokenizer::open`].
    pub fn open_as(folder: &Path, class: Option<&str>) -> Result<Self> {
        let json = folder.join("tokenizer.json");
        let file = json.is_file().then(|| File::open(&json)).transpose()?;
        let mut config = Config::open(folder, file.as_ref().map(|file| &file.added_tokens))?;
        let path = folder.join("tokenizer_config.json");
        let named = class.map(str::to_owned).or_else(|| config.tokenizer_class.clone());
        let class = match &named {
            Some(name) => Class::of_name(name)
                .ok_or_else(|| TextError::unsupported(&path, "`tokenizer_class`", CLASSES, name))?,
            None => Class::of_files(folder).ok_or_else(|| missing(folder))?,
        };
        if config.split_special_tokens == Some(true) {
            let found = "`split_special_tokens`";
            return Err(TextError::unsupported(&path, "", "special tokens in texts", found));
        }
        let mut tokenizer = match class {
            Class::Clip => clip(folder, file, &mut config)?,
            Class::Bert => bert(folder, file, &mut config)?,
            Class::T5 => t5(folder, file, &mut config)?,
            Class::General => general(folder, file, &mut config)?,
        };
        tokenizer.configure(&config)?;
        if class != Class::General {
            tokenizer.frame = frame(class, &tokenizer, &config);
        }
        Ok(tokenizer)
    }
}

fn missing(folder: &Path) -> TextError {
    let expected = "vocab.json and merges.txt, vocab.txt, spiece.model or tokenizer.json".into();
    TextError::Missing { folder: folder.to_owned(), expected }
}

/// The special tokens that a class puts around a text.
fn frame(class: Class, tokenizer: &Tokenizer, config: &Config) -> Frame {
    let ids = |before: &Option<Named>, behind: &Option<Named>| {
        let id = |name: &Option<Named>| tokenizer.id(name.as_ref()?.content());
        let all = |name| id(name).into_iter().collect();
        Frame { before: all(before), behind: all(behind) }
    };
    match class {
        Class::Clip => ids(&config.bos_token, &config.eos_token),
        Class::Bert => ids(&config.cls_token, &config.sep_token),
        Class::T5 => ids(&None, &config.eos_token),
        Class::General => tokenizer.frame.clone(),
    }
}

/// The special tokens around CLIP's texts.
pub(crate) fn clip_frame(tokenizer: &Tokenizer, config: &Config) -> Frame {
    frame(Class::Clip, tokenizer, config)
}

fn default_to(named: &mut Option<Named>, text: &str) -> String {
    named.get_or_insert_with(|| Named::Text(text.into())).content().to_owned()
}

/// A tokenizer without added tokens.
pub(crate) fn bare(
    normalizer: Option<Normalizer>,
    splitter: Splitter,
    model: Model,
    decoder: Decoder,
) -> Tokenizer {
    Tokenizer {
        normalizer,
        splitter: Some(splitter),
        model,
        decoder,
        added: AddedTokens::default(),
        frame: Frame::default(),
        tidy: false,
        pad: None,
        max_length: None,
        pad_left: false,
        cut_left: false,
    }
}

/// The model of a `tokenizer.json`, which must be of the kind that the class has.
fn model_of(file: File, kind: &str, path: &Path) -> Result<ModelPart> {
    match file.model.kind() {
        found if found != kind => {
            Err(TextError::unsupported(path, "`model.type`", kind, found.to_owned()))
        }
        _ => Ok(file.model),
    }
}

fn clip(folder: &Path, file: Option<File>, config: &mut Config) -> Result<Tokenizer> {
    let (path, vocab, pairs) = match file {
        Some(file) => {
            let path = folder.join("tokenizer.json");
            let model = model_of(file, "BPE", &path)?;
            (path, model.vocab, model.merges)
        }
        None => {
            let (path, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
            if !path.is_file() || !merges.is_file() {
                return Err(missing(folder));
            }
            let text = read_text(&path)?;
            let vocab =
                serde_json::from_str(&text).map_err(|error| TextError::json(&path, &error))?;
            (path, vocab, read_merges(&merges)?)
        }
    };
    clip_of(&path, vocab, &pairs, config)
}

/// CLIP's tokenizer on a vocabulary.
pub(crate) fn clip_of(
    path: &Path,
    vocab: Builder,
    pairs: &Pairs,
    config: &mut Config,
) -> Result<Tokenizer> {
    const END: &str = "<|endoftext|>";
    default_to(&mut config.bos_token, "<|startoftext|>");
    default_to(&mut config.eos_token, END);
    default_to(&mut config.pad_token, END);
    let unknown = default_to(&mut config.unk_token, END);
    const SUFFIX: &str = "</w>";
    let options =
        BpeOptions { unknown: Some(unknown), suffix: SUFFIX.into(), ..BpeOptions::default() };
    let bpe = Bpe::new(vocab.finish(), pairs, options).map_err(|found| {
        TextError::malformed(path, "merges", "merges within the vocabulary", found)
    })?;
    let normalizer = Normalizer::Sequence(vec![
        Normalizer::Nfc,
        Normalizer::Replace(Pattern::Spaces, " ".into()),
        Normalizer::Lowercase,
    ]);
    let splitter = Splitter::Sequence(vec![
        Splitter::Clip,
        Splitter::ByteLevel { prefix_space: false, regex: true },
    ]);
    let decoder = Decoder::ByteLevel { suffix: SUFFIX.into() };
    Ok(bare(Some(normalizer), splitter, Model::Bpe(bpe), decoder))
}

/// `merges.txt`: a merge a line, after a line with the version.
fn read_merges(path: &Path) -> Result<Pairs> {
    let text = read_text(path)?;
    let mut pairs = Pairs::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version")) {
        pairs.push_line(line).map_err(|found| {
            TextError::malformed(path, format!("line {}", at + 1), "two tokens", found)
        })?;
    }
    Ok(pairs)
}

fn bert(folder: &Path, file: Option<File>, config: &mut Config) -> Result<Tokenizer> {
    let vocab = match file {
        Some(file) => model_of(file, "WordPiece", &folder.join("tokenizer.json"))?.vocab,
        None => {
            let path = folder.join("vocab.txt");
            if !path.is_file() {
                return Err(missing(folder));
            }
            read_lines(&path)?
        }
    };
    for (named, text) in [
        (&mut config.sep_token, "[SEP]"),
        (&mut config.pad_token, "[PAD]"),
        (&mut config.cls_token, "[CLS]"),
        (&mut config.mask_token, "[MASK]"),
    ] {
        default_to(named, text);
    }
    let unknown = default_to(&mut config.unk_token, "[UNK]");
    let model = WordPiece {
        vocabulary: vocab.finish(),
        unknown,
        prefix: "##".into(),
        max_chars: MAX_WORD_CHARS,
    };
    let lowercase = config.do_lower_case.unwrap_or(true);
    let normalizer = Normalizer::Bert(Bert {
        clean: true,
        chinese: config.tokenize_chinese_chars.unwrap_or(true),
        accents: config.strip_accents.unwrap_or(lowercase),
        lowercase,
    });
    let decoder = Decoder::WordPiece { prefix: "##".into(), cleanup: true };
    Ok(bare(Some(normalizer), Splitter::Bert, Model::WordPiece(model), decoder))
}

/// `vocab.txt`: a token a line, whose number is its id.
fn read_lines(path: &Path) -> Result<Builder> {
    let text = read_text(path)?;
    let mut vocab = Builder::default();
    for (id, line) in text.lines().enumerate() {
        let pushed = vocab.push(line.trim_end(), id as u32);
        pushed.map_err(|found| TextError::malformed(path, "", "a vocabulary", found))?;
    }
    match vocab.len() {
        0 => Err(TextError::malformed(path, "", "a token a line", "an empty file")),
        _ => Ok(vocab),
    }
}

fn t5(folder: &Path, file: Option<File>, config: &mut Config) -> Result<Tokenizer> {
    const UNKNOWN: u32 = 2;
    let (path, vocab, charsmap) = match file {
        Some(mut file) => {
            let path = folder.join("tokenizer.json");
            let read = file.normalizer.take().and_then(Part::charsmap);
            let charsmap = read.transpose().map_err(|found| {
                TextError::unsupported(&path, "`normalizer`", "SentencePiece's", found)
            })?;
            (path.clone(), model_of(file, "Unigram", &path)?.vocab, charsmap)
        }
        None => spiece(folder, config)?,
    };
    default_to(&mut config.eos_token, "</s>");
    default_to(&mut config.unk_token, "<unk>");
    default_to(&mut config.pad_token, "<pad>");
    if config.extra().is_empty() {
        config.extra_special_tokens = Some(extra_ids(config)?);
    }
    let model = unigram(vocab, Some(UNKNOWN), false)
        .map_err(|found| TextError::malformed(&path, "", "a unigram model", found))?;
    let meta = |split| Splitter::Metaspace { replacement: '▁', prepend: Prepend::Always, split };
    let splitter = Splitter::Sequence(vec![Splitter::Whitespace, meta(true)]);
    let decoder = Decoder::Metaspace { replacement: '▁', prepended: true };
    Ok(bare(charsmap, splitter, Model::Unigram(model), decoder))
}

/// T5's sentinels, `<extra_id_0>` and on.
fn extra_ids(config: &Config) -> Result<Extra> {
    const MAX_EXTRA_IDS: u32 = 4096;
    let count = config.extra_ids.unwrap_or(100);
    if count > MAX_EXTRA_IDS {
        return Err(TextError::TooLarge {
            place: "tokenizer_config.json: `extra_ids`".into(),
            limit: u64::from(MAX_EXTRA_IDS),
            found: u64::from(count),
        });
    }
    Ok(Extra((0..count).map(|id| Named::Text(format!("<extra_id_{id}>"))).collect()))
}

/// What a SentencePiece model is called; the second by other models than T5.
const SPIECE_NAMES: [&str; 2] = ["spiece.model", "tokenizer.model"];

type Vocab = (std::path::PathBuf, Builder, Option<Normalizer>);

fn spiece(folder: &Path, config: &mut Config) -> Result<Vocab> {
    let names = SPIECE_NAMES.into_iter().map(|name| folder.join(name));
    let path = names.into_iter().find(|path| path.is_file()).ok_or_else(|| missing(folder))?;
    let SentencePiece { mut vocab, added, charsmap } = SentencePiece::open(&path)?;
    let not = |found| TextError::malformed(&path, "", "a SentencePiece model", found);
    let Extra(extra) = extra_ids(config)?;
    for name in extra.iter().rev() {
        let id = vocab.len() as u32;
        vocab.push(name.content(), id).map_err(not)?;
        vocab.scores.push(0.0);
    }
    // The model's own added tokens come before the sentinels.
    let own = added.into_iter().map(|(text, special)| Named::piece(text, special));
    let mut all: Vec<Named> = own.collect();
    if !all.iter().any(|name| name.content().contains("<extra_id_")) {
        all.extend(extra);
    }
    if config.extra().is_empty() {
        config.extra_special_tokens = Some(Extra(all));
    }
    let charsmap = match charsmap.is_empty() {
        true => None,
        false => Some(Normalizer::Charsmap(Charsmap::parse(&charsmap).map_err(not)?)),
    };
    Ok((path, vocab, charsmap))
}

fn general(folder: &Path, file: Option<File>, config: &mut Config) -> Result<Tokenizer> {
    let file = file.ok_or_else(|| missing(folder))?;
    if let (None, Some(padding)) = (&config.pad_token, &file.padding) {
        config.pad_token = Some(Named::Text(padding.pad_token.clone()));
    }
    file.tokenizer(&folder.join("tokenizer.json"))
}
