//! Texts in PNG files, against Pillow's.

use sumi_formats::{infotext::Infotext, png_text};

const PILLOWS: &[u8] = include_bytes!("../testdata/texts.png");

fn texts() -> Vec<(String, String)> {
    let workflow = "{\"nodes\": []}".repeat(9);
    [
        ("parameters", "a café\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1"),
        ("sumi", "{\"prompt\": \"粉色的蝴蝶\"}"),
        ("workflow", &workflow),
        ("Title", "小精灵"),
    ]
    .map(|(keyword, text)| (keyword.to_owned(), text.to_owned()))
    .to_vec()
}

#[test]
fn all_kinds_of_text_are_read() {
    assert_eq!(png_text::from_bytes(PILLOWS).unwrap(), texts());
}

#[test]
fn texts_are_replaced_by_keyword_and_the_rest_stays() {
    let new = [("parameters", "ein Käse"), ("sumi", "蝶"), ("more", "")];
    let with = png_text::insert(PILLOWS, &new).unwrap();
    let mut expected: Vec<_> =
        new.iter().map(|(k, t)| ((*k).to_owned(), (*t).to_owned())).collect();
    expected.extend_from_slice(&texts()[2..]);
    assert_eq!(png_text::from_bytes(&with).unwrap(), expected);
    // As Pillow writes it: Latin-1 where it has all characters.
    assert!(with.windows(4).filter(|w| *w == b"tEXt").count() == 2);
    // The pixels are untouched.
    let pixels = |png: &[u8]| {
        let at = png.windows(4).position(|w| w == b"IDAT").unwrap();
        png[at..].to_vec()
    };
    assert_eq!(pixels(&with), pixels(PILLOWS));
    let none = png_text::insert(&with, &[]).unwrap();
    assert_eq!(none, with);
}

#[test]
fn files_are_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, PILLOWS).unwrap();
    png_text::write(&path, &[("sumi", "{}")]).unwrap();
    let read = png_text::read(&path).unwrap();
    assert_eq!(read[0], ("sumi".to_owned(), "{}".to_owned()));
    assert_eq!(read.len(), 4);
    for keyword in ["", " a", "a\0", "日本", &"a".repeat(80)] {
        let error = png_text::write(&path, &[(keyword, "x")]).unwrap_err();
        assert!(error.to_string().contains("1 to 79 printing characters"), "{error}");
    }
    let long = "x".repeat((4 << 20) + 1);
    let error = png_text::write(&path, &[("a", &long)]).unwrap_err();
    assert!(error.to_string().contains("is over the limit of 4194304"), "{error}");
    assert_eq!(png_text::read(&path).unwrap(), read);
}

/// Lines with their fields, and values as they are quoted.
#[derive(serde::Deserialize)]
struct Webui {
    lines: Vec<(String, Vec<(String, String)>)>,
    values: Vec<(String, String)>,
}

#[test]
fn fields_are_read_and_written_as_the_webui_does() {
    let webui: Webui = serde_json::from_str(include_str!("../testdata/infotext.json")).unwrap();
    assert_eq!(webui.lines.len(), 150);
    for (line, fields) in webui.lines {
        assert_eq!(Infotext::parse(&line).fields, fields, "{line:?}");
    }
    for (value, quoted) in webui.values {
        let text = Infotext::new("", "", [("Name", &*value)]).to_string();
        assert_eq!(text, format!("Name: {quoted}").trim(), "{value:?}");
    }
}
