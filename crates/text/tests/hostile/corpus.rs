//! Bad tokenizers, by name.

use crate::folder::{Folder, charsmap, field, piece, spiece};

/// A bad folder: its name, and what the error must say.
pub struct Bad {
    pub name: &'static str,
    pub folder: Folder,
    pub says: &'static str,
}

const CLIP_VOCAB: &[u8] =
    br#"{"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4}"#;

fn bad(name: &'static str, files: &[(&str, &[u8])], says: &'static str) -> Bad {
    Bad { name, folder: Folder::of(files), says }
}

/// CLIP's old layout.
fn clip(name: &'static str, vocab: &[u8], merges: &[u8], says: &'static str) -> Bad {
    bad(name, &[("vocab.json", vocab), ("merges.txt", merges)], says)
}

/// A config beside a sound CLIP.
fn config(name: &'static str, config: &str, says: &'static str) -> Bad {
    let files: [(&str, &[u8]); 3] = [
        ("vocab.json", CLIP_VOCAB),
        ("merges.txt", b"#version: 0.2\na b</w>\n"),
        ("tokenizer_config.json", config.as_bytes()),
    ];
    bad(name, &files, says)
}

/// A `tokenizer.json` of these parts; an empty part is left out.
fn json(name: &'static str, parts: &str, model: &str, says: &'static str) -> Bad {
    let file = format!("{{\"version\": \"1.0\", {parts} \"model\": {model}}}");
    bad(name, &[("tokenizer.json", file.as_bytes())], says)
}

fn t5(name: &'static str, model: &[u8], says: &'static str) -> Bad {
    bad(name, &[("spiece.model", model)], says)
}

fn clips() -> Vec<Bad> {
    let merges = b"#version: 0.2\na b</w>\n";
    vec![
        bad("an empty folder", &[], "no tokenizer found, expected vocab.json and merges.txt"),
        bad("a vocabulary without merges", &[("vocab.json", CLIP_VOCAB)], "no tokenizer found"),
        clip("an empty vocab.json", b"", merges, "vocab.json: expected JSON of a tokenizer"),
        clip("a vocabulary that is a number", b"1", merges, "expected a map from token to id"),
        clip("a vocabulary of strings", br#"{"a": "b"}"#, merges, "expected u32"),
        clip("a vocabulary of negative ids", br#"{"a": -1}"#, merges, "expected u32"),
        clip("an id of 2^32", br#"{"a": 4294967296}"#, merges, "expected u32"),
        clip("a vocabulary that goes on", br#"{"a": 0} {"b": 1}"#, merges, "trailing characters"),
        clip(
            "a vocabulary in Latin-1",
            b"{\"\xe9\": 0}",
            merges,
            "the text at byte 2: expected UTF-8",
        ),
        clip("half a surrogate", br#"{"\ud800": 0}"#, merges, "vocab.json: expected JSON"),
        clip("a merge of one token", CLIP_VOCAB, b"a b</w>\na\n", "line 2: expected two tokens"),
        clip("a merge of three tokens", CLIP_VOCAB, b"a b c\n", "line 1: expected two tokens"),
        clip("an empty line of merges", CLIP_VOCAB, b"a b</w>\n\n", "line 2: expected two tokens"),
        clip(
            "a merge of what is no token",
            CLIP_VOCAB,
            b"x b</w>\n",
            "the merge of \"x\" and \"b</w>\"",
        ),
        clip("a merge to what is no token", CLIP_VOCAB, b"a a\n", "the merge of \"a\" and \"a\""),
        clip("merges in Latin-1", CLIP_VOCAB, b"\xe9 a\n", "merges.txt: the text at byte 0"),
        clip("a vocabulary without the unknown token", br#"{"a": 0}"#, b"", "neither \"a</w>\""),
        clip("braces without end", &[b'{'; 100_000], merges, "vocab.json: expected JSON"),
        clip("brackets without end", &[b'['; 100_000], merges, "vocab.json: expected JSON"),
        clip(
            "a token as long as the file",
            &[b"{\"".to_vec(), vec![b'a'; 100_000]].concat(),
            merges,
            "vocab.json: expected JSON",
        ),
        clip(
            "more tokens than any vocabulary has",
            &many(),
            b"",
            "a vocabulary of more than 1048576 tokens",
        ),
    ]
}

/// A vocabulary of a million and some tokens, as dense as can be.
fn many() -> Vec<u8> {
    let token = |id: u32| format!("\"{id:x}\":0,");
    let tokens: String = (0..1_100_000).map(token).collect();
    format!("{{{}}}", tokens.trim_end_matches(',')).into_bytes()
}

fn configs() -> Vec<Bad> {
    let token = |n: u32| format!("\"<{n}>\"");
    let extra: Vec<String> = (0..5_000).map(token).collect();
    let extra = format!("{{\"extra_special_tokens\": [{}]}}", extra.join(","));
    let deep = format!("{{\"chat_template\": {}", "[".repeat(100_000));
    vec![
        config(
            "a class that is not known",
            r#"{"tokenizer_class": "LlamaTokenizer"}"#,
            "LlamaTokenizer is not supported, expected CLIPTokenizer",
        ),
        config(
            "a class that is a list",
            r#"{"tokenizer_class": []}"#,
            "tokenizer_config.json: expected JSON",
        ),
        config("a config that is a list", "[]", "expected a JSON object"),
        config("a special token that is a number", r#"{"bos_token": 1}"#, "expected a token"),
        config(
            "a special token without content",
            r#"{"bos_token": {}}"#,
            "missing field `content`",
        ),
        config(
            "an added token without id",
            r#"{"added_tokens_decoder": {"x": {"content": "a"}}}"#,
            "tokenizer_config.json: expected JSON",
        ),
        config("a side that is none", r#"{"padding_side": "up"}"#, "unknown variant `up`"),
        config(
            "special tokens that are split",
            r#"{"split_special_tokens": true}"#,
            "`split_special_tokens` is not supported",
        ),
        config("5,000 special tokens", &extra, "more than 4096 special tokens"),
        config("a template without end", &deep, "tokenizer_config.json: expected JSON"),
        config(
            "a class whose files are missing",
            r#"{"tokenizer_class": "BertTokenizer"}"#,
            "no tokenizer found",
        ),
        bad(
            "a BERT without words",
            &[("vocab.txt", b"")],
            "expected a token a line, found an empty file",
        ),
        bad(
            "a BERT without its unknown token",
            &[("vocab.txt", b"a\nb\n")],
            "neither \"photo\" nor the unknown token \"[UNK]\"",
        ),
        bad(
            "added tokens without ids",
            &[("vocab.txt", b"[UNK]\n"), ("added_tokens.json", br#"{"a": "b"}"#)],
            "added_tokens.json: expected JSON",
        ),
    ]
}

fn jsons() -> Vec<Bad> {
    const WORDS: &str = r###"{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0}}"###;
    let model = |name, model, says| json(name, "", model, says);
    let part = |name, part, says| json(name, part, WORDS, says);
    let prefix = format!(
        r#"{{"type": "WordPiece", "continuing_subword_prefix": "{}", "vocab": {{"a": 0}}}}"#,
        "#".repeat(65)
    );
    let nested = r#""normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [{"type": "NFC"}]}]},"#;
    let long = format!(
        r#""normalizer": {{"type": "Sequence", "normalizers": [{}]}},"#,
        [r#"{"type": "NFC"}"#; 65].join(",")
    );
    let grow = format!(
        r#""normalizer": {{"type": "Replace", "pattern": {{"String": "a"}}, "content": "{}"}},"#,
        "a".repeat(100_000)
    );
    vec![
        model(
            "a model without a vocabulary",
            r#"{"type": "BPE", "merges": []}"#,
            "missing field `vocab`",
        ),
        model(
            "a model without tokens",
            r#"{"type": "BPE", "vocab": {}, "merges": []}"#,
            "`model.vocab`: expected tokens",
        ),
        model(
            "a model of an unknown kind",
            r#"{"type": "WordLevel", "vocab": {"a": 0}}"#,
            "WordLevel is not supported",
        ),
        model(
            "a model with an unknown option",
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [], "magic": 1}"#,
            "unknown field `magic`",
        ),
        model(
            "a model with dropout",
            r#"{"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}"#,
            "expected a model without chance",
        ),
        model(
            "a model whose merges are numbers",
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [1]}"#,
            "a merge: two tokens",
        ),
        model(
            "a unigram model without scores",
            r#"{"type": "Unigram", "vocab": {"a": 0}}"#,
            "a vocabulary without scores",
        ),
        model(
            "an unknown token beyond the vocabulary",
            r#"{"type": "Unigram", "unk_id": 1, "vocab": [["a", 0]]}"#,
            "the unknown token 1 of 1 tokens",
        ),
        model(
            "a unigram model without an unknown token",
            r#"{"type": "Unigram", "vocab": [["a", 0]]}"#,
            "the vocabulary has neither",
        ),
        model(
            "words without limit",
            r#"{"type": "WordPiece", "max_input_chars_per_word": 1000000000, "vocab": {"[UNK]": 0}}"#,
            "expected words of at most 1000 characters",
        ),
        model(
            "a prefix of 65 bytes",
            &prefix,
            "expected prefixes and suffixes of at most 64 bytes",
        ),
        part(
            "an unknown normalizer",
            r#""normalizer": {"type": "Magic"},"#,
            "the normalizer Magic is not supported",
        ),
        part(
            "an unknown pattern",
            r#""normalizer": {"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""},"#,
            "replacing the pattern (a*)*b is not supported",
        ),
        part(
            "an unknown pre-tokenizer",
            r#""pre_tokenizer": {"type": "UnicodeScripts"},"#,
            "the pre-tokenizer UnicodeScripts is not supported",
        ),
        part(
            "a hostile pattern",
            r#""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "((a{1000}){1000}){1000}"}, "behavior": "Removed", "invert": true},"#,
            "splitting at",
        ),
        part(
            "an unknown decoder",
            r#""decoder": {"type": "CTC"},"#,
            "the decoder CTC is not supported",
        ),
        part(
            "an unknown post-processor",
            r#""post_processor": {"type": "Magic"},"#,
            "the post-processor Magic is not supported",
        ),
        part(
            "a post-processor without tokens",
            r#""post_processor": {"type": "BertProcessing"},"#,
            "without its tokens",
        ),
        part(
            "a template without text",
            r#""post_processor": {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},"#,
            "a template without its text",
        ),
        part(
            "a template of an unknown token",
            r#""post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "special_tokens": {}},"#,
            "a template with the unknown token x",
        ),
        part("a part without a kind", r#""normalizer": {},"#, "missing field `type`"),
        part(
            "a part with an unknown option",
            r#""normalizer": {"type": "NFC", "magic": true},"#,
            "unknown field `magic`",
        ),
        part("sequences in sequences", nested, "tokenizer.json: expected JSON"),
        part("a sequence of 65 parts", &long, "more than 64 items"),
        part("a normalisation that explodes", &grow, "is over the limit of"),
        part(
            "a charsmap that is not base64",
            r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "@"},"#,
            "a charsmap that is",
        ),
        part(
            "a charsmap of no trie",
            r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="},"#,
            "a trie of 0 bytes in 0",
        ),
        part(
            "an added token without content",
            r#""added_tokens": [{"id": 0}],"#,
            "missing field `content`",
        ),
    ]
}

fn models() -> Vec<Bad> {
    let one = piece("a", 0.0, 1);
    let with_map = |map: &[u8]| [spiece(), field(3, &field(2, map))].concat();
    let mut short = charsmap();
    short.truncate(900);
    vec![
        t5("an empty model", b"", "found no pieces"),
        t5(
            "a model that is text",
            b"hello, world\n",
            "spiece.model: expected a SentencePiece model",
        ),
        t5("a model of pieces alone", &one, "no specification of its trainer"),
        t5("a piece cut short", &one[..4], "spiece.model: expected a SentencePiece model"),
        t5(
            "a piece of 2^63 bytes",
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            "where 0 are left",
        ),
        t5("a number of 11 bytes", &[0xff; 11], "a number of more than 64 bits"),
        t5("a group, which is no longer used", &[0x0b], "a field of the wire type 3"),
        t5("a piece without a text", &field(1, &[]), "the piece 0 without a text"),
        t5("a piece in Latin-1", &field(1, &field(1, b"\xe9")), "a piece that is not UTF-8"),
        t5("a score that is no number", &piece("a", f32::NAN, 1), "the score NaN of \"a\""),
        t5(
            "a BPE model",
            &[spiece(), field(2, &[0x18, 2])].concat(),
            "a model of type 2 is not supported",
        ),
        t5("a trie longer than its file", &with_map(&short), "a trie of 1024 bytes in 896"),
        t5("a trie of 4 GB", &with_map(&[0xff; 8]), "a trie of 4294967295 bytes in 4"),
        t5("a trie of three bytes", &with_map(&[3, 0, 0, 0, 1, 2, 3, 4]), "a trie of 3 bytes"),
        t5(
            "replacements in Latin-1",
            &with_map(&[charsmap(), vec![0xe9]].concat()),
            "replacements that are not UTF-8",
        ),
    ]
}

pub fn all() -> Vec<Bad> {
    [clips(), configs(), jsons(), models()].into_iter().flatten().collect()
}
