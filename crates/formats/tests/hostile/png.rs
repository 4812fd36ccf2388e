//! Bad PNG texts.

use crate::Bad;
use crate::files::Format;
use flate2::{Compression, Crc, write::ZlibEncoder};
use std::io::Write;

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A picture of one pixel whose chunks before the pixels are these.
pub fn png(chunks: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(*b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]));
    chunks.iter().for_each(|(kind, data)| bytes.extend(chunk(*kind, data)));
    bytes.extend(chunk(*b"IDAT", &zlib(&[0, 0])));
    bytes.extend(chunk(*b"IEND", &[]));
    bytes
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![], Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn plain() -> Vec<u8> {
    b"parameters\0a cat\nNegative prompt: \"dog\nSteps: 20, Seed: 1, Size: 8x8, Aa: \"b\"".to_vec()
}

pub fn deflated() -> Vec<u8> {
    [b"workflow\0\0".to_vec(), zlib(&b"{\"nodes\": []}".repeat(20))].concat()
}

pub fn unicode() -> Vec<u8> {
    [b"sumi\0\x01\0en\0\0".to_vec(), zlib("{\"prompt\": \"粉色的蝴蝶\"}".as_bytes())].concat()
}

pub fn corpus() -> Vec<Bad> {
    let bad = |name, bytes: Vec<u8>, says| Bad::new(name, Format::PngText, bytes, says);
    let good = png(&[(*b"tEXt", &plain())]);
    let text = |kind, data: &[u8]| png(&[(kind, data)]);
    let set = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let bomb = [b"a\0\0".to_vec(), zlib(&vec![b'a'; 64 << 20])].concat();
    let half = [b"a\0\0".to_vec(), zlib(&vec![b'a'; 3 << 20])].concat();
    let many = vec![(*b"tEXt", &b"a\0"[..]); 1_025];
    vec![
        bad("empty PNG", vec![], "the signature at byte 0"),
        bad("JPEG called PNG", b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec(), "expected a PNG file"),
        bad("PNG of a signature", good[..8].to_vec(), "a chunk at byte 8"),
        bad("PNG without IEND", good[..good.len() - 12].to_vec(), "expected a chunk, up to IEND"),
        bad("PNG that starts with a text", set(12, b"tEXt"), "expected IHDR of 13 bytes first"),
        bad("PNG chunk of 4 GB", set(33, &[0xff; 4]), "a length within the file"),
        bad("PNG chunk a byte too long", set(8, &[0, 0, 0x01, 0]), "a length within the file"),
        bad("PNG chunk without a type", set(37, &[0; 4]), "expected a type of four letters"),
        bad(
            "PNG text that was changed",
            set(45, b"?"),
            "the chunk tEXt at byte 33: expected the checksum",
        ),
        bad("PNG text without keyword", text(*b"tEXt", b"\0text"), "found no keyword"),
        bad("PNG keyword without end", text(*b"tEXt", &[b'a'; 200]), "found no keyword"),
        bad(
            "PNG keyword of 80 bytes",
            text(*b"tEXt", &[&[b'a'; 80][..], &[0]].concat()),
            "found no keyword",
        ),
        bad(
            "PNG text by an unknown method",
            text(*b"zTXt", b"a\0\x01abc"),
            "an unknown compression",
        ),
        bad("PNG text that is not deflated", text(*b"zTXt", b"a\0\0abcdef"), "cannot be inflated"),
        bad("PNG text that is a bomb", text(*b"zTXt", &bomb), "is over the limit of 4194304"),
        bad(
            "PNG texts that are too much together",
            png(&[(*b"zTXt", &half), (*b"zTXt", &half)]),
            "is over the limit of 4194304",
        ),
        bad(
            "PNG of a text of 5 MB",
            text(*b"tEXt", &[b"a\0".to_vec(), vec![b'b'; 5 << 20]].concat()),
            "is over the limit of 4194304",
        ),
        bad("PNG of 1,025 texts", png(&many), "1025 is over the limit of 1024"),
        bad(
            "PNG international text of a flag",
            text(*b"iTXt", b"a\0\x02\0\0\0text"),
            "an unknown compression",
        ),
        bad("PNG international text cut short", text(*b"iTXt", b"a\0\0"), "no compression flag"),
        bad("PNG international text without language", text(*b"iTXt", b"a\0\0\0en"), "no language"),
        bad(
            "PNG international text without translation",
            text(*b"iTXt", b"a\0\0\0\0abc"),
            "no translated keyword",
        ),
        bad(
            "PNG international text in Latin-1",
            text(*b"iTXt", b"a\0\0\0\0\0caf\xe9"),
            "not UTF-8",
        ),
    ]
}
