//! Damaged and hostile tokenizers: every one is a typed error or a tokenizer, none panics, hangs or
//! takes more memory than its files can back.

mod corpus;
mod folder;

use folder::{Folder, valid};
use std::time::{Duration, Instant};
use sumi_testkit::hostile::{Dice, Noting, mutate, mutations, peak_of};
use sumi_text::{TextError, Tokenizer, chunks};

#[global_allocator]
static NOTING: Noting = Noting;

/// What any tokenizer may hold beside four times its files.
const SLACK_BYTES: usize = 16 << 20;

/// The longest that a file may keep a reader.
const MAX_TIME: Duration = Duration::from_secs(1);

const TEXTS: [&str; 4] = [
    "",
    "a photo of the (cat:1.5), 蝴蝶 é!",
    "<|endoftext|>[CLS]</s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Opens a folder and encodes a few texts.
fn use_folder(folder: &Folder) -> Result<(), TextError> {
    let tokenizer = Tokenizer::open(folder.path())?;
    TEXTS.iter().try_for_each(|text| tokenizer.ids(text).map(drop))?;
    for text in TEXTS {
        let length = tokenizer.specials() + 4;
        let encoding = tokenizer.encode(text, length)?;
        assert_eq!((encoding.ids.len(), encoding.attention_mask.len()), (length, length));
        chunks(&tokenizer, text, length)?;
    }
    Ok(())
}

fn assert_bounds(name: &str, folder: &Folder) -> Result<(), TextError> {
    let started = Instant::now();
    let (result, peak) = peak_of(|| use_folder(folder));
    let limit = 4 * folder.bytes() + SLACK_BYTES;
    assert!(peak <= limit, "{name}: {peak} bytes for files of {}", folder.bytes());
    assert!(started.elapsed() < MAX_TIME, "{name}: {:?}", started.elapsed());
    result
}

#[test]
fn every_bad_folder_is_a_typed_error_within_its_bounds() {
    let corpus = corpus::all();
    assert!(corpus.len() >= 40, "{}", corpus.len());
    for bad in corpus {
        let text = match assert_bounds(bad.name, &bad.folder) {
            Ok(()) => panic!("{}: was read", bad.name),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(bad.says), "{}: {text}", bad.name);
        assert!(text.len() < 2_000, "{}: a message of {} bytes", bad.name, text.len());
    }
}

#[test]
fn a_json_file_or_model_cut_at_any_byte_is_an_error() {
    for (name, folder) in valid() {
        use_folder(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (file, bytes) in folder.files() {
            // A list of lines is a list of fewer lines wherever it is cut.
            let ignored = file == "special_tokens_map.json" && name == "clip-middle";
            if ignored || file.ends_with(".txt") {
                continue;
            }
            let cut = folder.copy();
            for length in 0..bytes.len() {
                // Behind its last brace a file of JSON is whole.
                if file.ends_with(".json") && bytes[length..].trim_ascii().is_empty() {
                    continue;
                }
                cut.write(&file, &bytes[..length]);
                assert!(use_folder(&cut).is_err(), "{name}/{file} cut to {length} bytes");
            }
        }
    }
}

/// Files whose tokens are as short as can be, where what is kept of each weighs most.
#[test]
fn dense_files_stay_within_their_memory() {
    let tokens = 1_000_000;
    let each = |one: fn(u32) -> String| (0..tokens).map(one).collect::<Vec<_>>();
    let map = each(|id| format!("\"{id:x}\":{id}")).join(",");
    let list = each(|id| format!("[\"{id:x}\",0]")).join(",");
    let merges = "[\"a a\"".to_owned() + &",\"a a\"".repeat(tokens as usize - 1) + "]";
    let model = |model: String| format!("{{\"model\": {{{model}}}}}").into_bytes();
    let lines = each(|id| format!("{id:x}\n")).concat();
    let folders = [
        ("vocab.txt", lines.into_bytes()),
        ("tokenizer.json", model(format!("\"type\": \"WordPiece\", \"vocab\": {{{map}}}"))),
        ("tokenizer.json", model(format!("\"type\": \"Unigram\", \"vocab\": [{list}]"))),
        (
            "tokenizer.json",
            model(format!("\"type\": \"BPE\", \"vocab\": {{\"a\": 0}}, \"merges\": {merges}")),
        ),
        (
            "tokenizer.json",
            model(format!(
                "\"type\": \"BPE\", \"vocab\": {{\"a\": 0, \"aa\": 1}}, \"merges\": {merges}"
            )),
        ),
    ];
    for (file, bytes) in folders {
        let folder = Folder::of(&[(file, &bytes)]);
        let (_, peak) = peak_of(|| Tokenizer::open(folder.path()).map(drop));
        let limit = 4 * bytes.len() + SLACK_BYTES;
        assert!(peak <= limit, "{file}: {peak} bytes for a file of {}", bytes.len());
    }
}

/// Mutates one file of one kind of folder at a time; the folders share the number of inputs.
fn survive(wanted: &str, seed: u64) {
    let mut folders: Vec<_> = valid();
    folders.retain(|(_, folder)| folder.files().iter().any(|(name, _)| name == wanted));
    assert!(!folders.is_empty(), "{wanted}");
    let inputs = mutations().div_ceil(folders.len());
    let mut dice = Dice::new(seed);
    let mut read = 0;
    for (name, folder) in &folders {
        let bytes = folder.read(wanted);
        for _ in 0..inputs {
            folder.write(wanted, &mutate(&bytes, &mut dice));
            read += usize::from(assert_bounds(name, folder).is_ok());
        }
    }
    // If every one were read, the mutations would test nothing. A list of words with other words in it
    // is a list of words.
    assert!(read < inputs * folders.len() || wanted == "vocab.txt", "every mutated one was read");
}

#[test]
fn mutated_vocab_json() {
    survive("vocab.json", 1);
}

#[test]
fn mutated_merges() {
    survive("merges.txt", 2);
}

#[test]
fn mutated_vocab_txt() {
    survive("vocab.txt", 3);
}

#[test]
fn mutated_tokenizer_json() {
    survive("tokenizer.json", 4);
}

#[test]
fn mutated_tokenizer_config() {
    survive("tokenizer_config.json", 5);
}

#[test]
fn mutated_special_tokens_map() {
    survive("special_tokens_map.json", 6);
}

#[test]
fn mutated_added_tokens() {
    survive("added_tokens.json", 7);
}

#[test]
fn mutated_sentencepiece_models() {
    survive("spiece.model", 8);
}
