//! Prompts against the WebUI's own reading of them, by `testdata/make_prompts.py`.

use std::io::Read;

use flate2::read::GzDecoder;
use sumi_text::{Chunk, ClipPad, Tokenizer, chunks, pad_chunks, prompt::parse};

/// A prompt, its texts and weights, and the ids and weights of its chunks.
type Case = (String, Vec<(String, f64)>, Vec<(Vec<u32>, Vec<f64>)>);

fn cases() -> Vec<Case> {
    let packed = include_bytes!("../testdata/prompts.json.gz");
    let mut json = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

#[test]
fn prompts_are_read_as_the_webui_reads_them() {
    let cases = cases();
    assert!(cases.len() >= 900, "{}", cases.len());
    for (prompt, expected, _) in cases {
        let expected: Vec<_> = expected.into_iter().map(|(text, w)| (text, w as f32)).collect();
        assert_eq!(parse(&prompt), expected, "{prompt:?}");
    }
}

#[test]
fn prompts_are_cut_where_the_webui_cuts_them() {
    let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
    let mut several = 0;
    for (prompt, _, expected) in cases() {
        let found = chunks(&tokenizer, &prompt, 77).unwrap();
        let chunk = |(ids, weights): (Vec<u32>, Vec<f64>)| {
            let weights = weights.into_iter().map(|weight| weight as f32).collect();
            Chunk { ids, weights }
        };
        several += usize::from(expected.len() > 1);
        let expected: Vec<Chunk> = expected.into_iter().map(chunk).collect();
        assert_eq!(found, expected, "{prompt:?}");
    }
    assert!(several >= 200, "{several}");
}

#[test]
fn the_shorter_prompt_is_filled_up_with_empty_chunks() {
    let tokenizer = Tokenizer::clip(ClipPad::Bang).unwrap();
    let mut long = chunks(&tokenizer, &"cat ".repeat(200), 77).unwrap();
    let mut short = chunks(&tokenizer, "", 77).unwrap();
    assert_eq!((long.len(), short.len()), (3, 1));
    let empty = short[0].clone();
    assert_eq!(empty.ids[..4], [49_406, 49_407, 0, 0]);
    assert_eq!(empty.weights, [1.0; 77]);
    pad_chunks(&tokenizer, &mut short, &mut long, 77).unwrap();
    assert_eq!((long.len(), short.len()), (3, 3));
    assert_eq!(short, [empty.clone(), empty.clone(), empty]);
}

#[test]
fn a_length_without_room_is_refused() {
    let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
    for length in 0..3 {
        let error = chunks(&tokenizer, "cat", length).unwrap_err();
        assert!(error.to_string().contains("more than the 2 special tokens"), "{error}");
    }
    let error = tokenizer.encode("cat", 1).unwrap_err();
    assert!(error.to_string().contains("at least 2 for the special tokens"), "{error}");
    assert_eq!(tokenizer.encode("cat", 2).unwrap().ids, [49_406, 49_407]);
}

#[test]
fn a_prompt_of_too_many_chunks_is_refused() {
    let tokenizer = Tokenizer::clip(ClipPad::EndOfText).unwrap();
    assert_eq!(chunks(&tokenizer, &"BREAK ".repeat(127), 77).unwrap().len(), 127);
    let error = chunks(&tokenizer, &"BREAK ".repeat(129), 77).unwrap_err();
    assert!(error.to_string().contains("129 is over the limit of 128"), "{error}");
}
