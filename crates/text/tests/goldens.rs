//! Token ids against transformers' on 2,000 strings, by `testdata/make_tokens.py`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use sumi_text::{ClipPad, Tokenizer};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = vec![];
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn golden<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&unpacked(&testdata(name))).unwrap()
}

/// A tokenizer's answers: the ids of all strings in a row, and whole encodings of every tenth.
#[derive(Deserialize)]
struct Answers {
    length: usize,
    counts: Vec<usize>,
    ids: Vec<u32>,
    encodings: Vec<(Vec<u32>, Vec<u8>, Option<String>)>,
}

/// A folder of the test data, with its large files unpacked.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(testdata("folders").join(name)).unwrap() {
        let from = entry.unwrap().path();
        let to = folder.path().join(from.file_name().unwrap());
        match from.extension().is_some_and(|extension| extension == "gz") {
            true => fs::write(to.with_extension(""), unpacked(&from)).unwrap(),
            false => drop(fs::copy(&from, &to).unwrap()),
        }
    }
    folder
}

fn assert_same(name: &str, tokenizer: &Tokenizer) {
    let strings: Vec<String> = golden("strings.json.gz");
    let mut all: BTreeMap<String, Answers> = golden("tokens.json.gz");
    let answers = all.remove(name).unwrap();
    assert_eq!(strings.len(), 2_000);
    let mut rest = &answers.ids[..];
    let mut wrong = 0;
    for (text, &count) in strings.iter().zip(&answers.counts) {
        let (expected, behind) = rest.split_at(count);
        rest = behind;
        let found = tokenizer.ids(text).unwrap();
        if found != expected {
            wrong += 1;
            if wrong <= 5 {
                let short: String = text.chars().take(60).collect();
                eprintln!("{name}: {short:?}\n expected {expected:?}\n found    {found:?}");
            }
        }
    }
    assert_eq!(wrong, 0, "{name}: of 2,000 strings");
    assert_eq!(rest, [0; 0]);
    for (text, (ids, mask, cut)) in strings.iter().step_by(10).zip(answers.encodings) {
        let found = tokenizer.encode(text, answers.length).unwrap();
        let short: String = text.chars().take(60).collect();
        assert_eq!(found.ids, ids, "{name}: {short:?}");
        assert_eq!(found.attention_mask, mask, "{name}: {short:?}");
        assert_eq!(found.cut, cut, "{name}: {short:?}");
    }
}

#[test]
fn clip_with_its_own_vocabulary() {
    let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
    assert_same("clip", &tokenizer);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(49_406), Some(49_407)));
    assert_eq!((tokenizer.pad(), tokenizer.max_length()), (Some(49_407), Some(77)));
}

#[test]
fn clip_padded_with_a_sign() {
    let tokenizer = Tokenizer::clip(ClipPad::Bang).unwrap();
    assert_same("clip-bang", &tokenizer);
    assert_eq!(tokenizer.pad(), Some(0));
}

/// BERT's Chinese vocabulary of 21,128 tokens, with Taiyi's config. It is not part of the repository:
/// `cargo xtask data bert-vocab` fetches it, and without it this test passes without a look.
#[test]
fn bert_with_the_chinese_vocabulary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(vocab) = fs::read(root.join("data/bert-vocab/vocab.txt")) else {
        eprintln!("skipped: bert_with_the_chinese_vocabulary needs `cargo xtask data bert-vocab`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vocab.txt"), vocab).unwrap();
    let config = r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true,
        "model_max_length": 512, "strip_accents": null, "tokenize_chinese_chars": true}"#;
    fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_same("bert", &tokenizer);
    let ids = tokenizer.encode("粉色的蝴蝶,小精灵,卡通", 14).unwrap().ids;
    assert_eq!((ids[0], ids[13]), (101, 102));
    assert_eq!(tokenizer.max_length(), Some(512));
}

/// Stable Diffusion 1.5's layout: `vocab.json`, `merges.txt`, `special_tokens_map.json`.
#[test]
fn clip_folder_of_the_old_layout() {
    assert_same("clip-old", &Tokenizer::open(folder("clip-old").path()).unwrap());
}

/// SDXL's layout: `added_tokens_decoder` in the config.
#[test]
fn clip_folder_with_added_tokens() {
    assert_same("clip-middle", &Tokenizer::open(folder("clip-middle").path()).unwrap());
}

/// Today's layout: `tokenizer.json` alone; a small vocabulary, so that some bytes are unknown.
#[test]
fn clip_folder_of_the_new_layout() {
    assert_same("clip-new", &Tokenizer::open(folder("clip-new").path()).unwrap());
}

#[test]
fn bert_folder_of_the_old_layout() {
    assert_same("bert-old", &Tokenizer::open(folder("bert-old").path()).unwrap());
}

#[test]
fn bert_folder_of_the_new_layout() {
    assert_same("bert-new", &Tokenizer::open(folder("bert-new").path()).unwrap());
}

#[test]
fn t5_folder_with_a_sentencepiece_model() {
    assert_same("t5-spiece", &Tokenizer::open(folder("t5-spiece").path()).unwrap());
}

#[test]
fn t5_folder_of_the_new_layout() {
    assert_same("t5-new", &Tokenizer::open(folder("t5-new").path()).unwrap());
}

#[test]
fn general_files() {
    for name in ["general-unigram", "general-bytes"] {
        assert_same(name, &Tokenizer::open(folder(name).path()).unwrap());
    }
}
