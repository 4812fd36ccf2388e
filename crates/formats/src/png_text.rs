//! Texts in PNG files: what a picture was made from.
//!
//! A PNG file is a signature and chunks: a length, a type of four letters, the data and a CRC-32 of
//! type and data (PNG specification, 3rd edition, Sec. 5.3). Three types of chunk hold a keyword and
//! a text: `tEXt` in Latin-1, `zTXt` the same deflated, and `iTXt` in UTF-8, deflated or not
//! (Sec. 11.3.3). Written are `tEXt` where Latin-1 has every character and `iTXt` otherwise, as
//! Pillow and with it the WebUI do.

use crate::{FormatError, Result, atomic, source};
use flate2::{Crc, read::ZlibDecoder};
use std::io::Read;
use std::path::Path;

/// The most bytes of text that a file may hold, all chunks together and after inflating.
pub const MAX_TEXT_BYTES: u64 = 4 << 20;

/// The most texts that a file may hold.
pub const MAX_TEXTS: usize = 1_024;

/// The most bytes of a keyword.
const MAX_KEYWORD: usize = 79;

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// The longest chunk that the specification allows.
const MAX_CHUNK_BYTES: u32 = 0x7fff_ffff;

/// Reads the texts of a PNG file, keyword and text, in the order of the file.
///
/// # Errors
/// A file that cannot be opened, is cut short or has a wrong checksum, or holds more than
/// [`MAX_TEXTS`] texts or [`MAX_TEXT_BYTES`].
pub fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let (mut reader, length) = source::open(path)?;
    texts(path, &mut reader, length)
}

/// Reads the texts of a PNG file in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    texts(Path::new(""), &mut &bytes[..], bytes.len() as u64)
}

/// Puts texts into a PNG file, in place of those with the same keywords; the pixels stay as they are.
///
/// # Errors
/// As [`read`], a keyword that is not 1 to 79 characters of Latin-1, and as [`atomic::write_bytes`].
pub fn write(path: &Path, new: &[(&str, &str)]) -> Result<()> {
    let (mut reader, length) = source::open(path)?;
    let bytes = source::read_exact(path, &mut reader, length)?;
    atomic::write_bytes(path, &within(path, &bytes, new)?)
}

/// A PNG file in memory with these texts, in place of those with the same keywords.
///
/// ```
/// # let png = image_of_one_pixel();
/// let texts = [("parameters", "a cat\nSteps: 20"), ("sumi", "{}")];
/// let with = sumi_formats::png_text::insert(&png, &texts).unwrap();
/// let read = sumi_formats::png_text::from_bytes(&with).unwrap();
/// assert_eq!(read[0], ("parameters".to_string(), "a cat\nSteps: 20".to_string()));
/// # fn image_of_one_pixel() -> Vec<u8> {
/// #     let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
/// #     png.extend(b"\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55");
/// #     png.extend(b"\0\0\0\x0aIDAT\x78\x9c\x63\x60\0\0\0\x02\0\x01\x48\xaf\xa4\x71");
/// #     png.extend(b"\0\0\0\0IEND\xae\x42\x60\x82");
/// #     png
/// # }
/// ```
///
/// # Errors
/// As [`write()`], but for the file system's.
pub fn insert(png: &[u8], new: &[(&str, &str)]) -> Result<Vec<u8>> {
    within(Path::new(""), png, new)
}

fn within(path: &Path, png: &[u8], new: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut chunks = vec![];
    for (keyword, text) in new {
        push_chunk(path, &mut chunks, keyword, text)?;
    }
    let mut out = Vec::with_capacity(png.len() + chunks.len());
    let mut rest = png;
    let mut reader = Chunks::new(path, &mut rest, png.len() as u64)?;
    out.extend(SIGNATURE);
    while let Some(chunk) = reader.next()? {
        let start = chunk.start as usize;
        let end = start + 12 + chunk.length as usize;
        let kind = chunk.kind;
        let data = reader.data(&chunk)?;
        let replaced = is_text(kind)
            && keyword_of(data.as_deref().unwrap_or_default())
                .is_some_and(|(found, _)| new.iter().any(|(keyword, _)| latin1(found) == *keyword));
        if !replaced {
            out.extend(png.get(start..end).unwrap_or_default());
        }
        // Behind the header, so that a reader meets them before the pixels.
        if kind == *b"IHDR" {
            out.append(&mut chunks);
        }
    }
    Ok(out)
}

fn push_chunk(path: &Path, out: &mut Vec<u8>, keyword: &str, text: &str) -> Result<()> {
    let field = format!("the text `{keyword}`");
    let is_keyword = !keyword.is_empty()
        && keyword.trim() == keyword
        && keyword.chars().all(|c| matches!(c, ' '..='~' | '\u{a1}'..='\u{ff}'));
    let bytes: Vec<u8> = keyword.chars().map(|c| c as u8).collect();
    if !is_keyword || bytes.len() > MAX_KEYWORD {
        let expected = "a keyword of 1 to 79 printing characters of Latin-1";
        return Err(FormatError::malformed(path, &field, None, expected, keyword));
    }
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(FormatError::too_large(path, &field, MAX_TEXT_BYTES, text.len() as u64));
    }
    let is_latin1 = text.chars().all(|c| (c as u32) < 256 && c != '\0');
    let (kind, data) = match is_latin1 {
        true => (*b"tEXt", text.chars().map(|c| c as u8).collect()),
        // Not deflated, no language, no translated keyword.
        false => (*b"iTXt", [b"\0\0\0\0", text.as_bytes()].concat()),
    };
    let data: Vec<u8> = [&bytes[..], &[0], &data].concat();
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(kind);
    out.extend(&data);
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(&data);
    out.extend(crc.sum().to_be_bytes());
    Ok(())
}

fn is_text(kind: [u8; 4]) -> bool {
    [*b"tEXt", *b"zTXt", *b"iTXt"].contains(&kind)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The keyword and what follows its NUL.
fn keyword_of(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().take(MAX_KEYWORD + 1).position(|&byte| byte == 0)?;
    (end > 0).then(|| (&data[..end], &data[end + 1..]))
}

/// Where a chunk is, what it is and how long its data is.
struct Chunk {
    start: u64,
    kind: [u8; 4],
    length: u32,
}

/// The chunks of a file, one after the other.
struct Chunks<'a, R> {
    path: &'a Path,
    reader: &'a mut R,
    at: u64,
    length: u64,
    ended: bool,
}

impl<'a, R: Read> Chunks<'a, R> {
    fn new(path: &'a Path, reader: &'a mut R, length: u64) -> Result<Self> {
        let mut chunks = Self { path, reader, at: 0, length, ended: false };
        let mut signature = [0; 8];
        let whole = length >= 8;
        if whole {
            chunks.fill(&mut signature)?;
        }
        if !whole || signature != SIGNATURE {
            let found = "another file";
            return Err(FormatError::malformed(path, "the signature", 0, "a PNG file", found));
        }
        Ok(chunks)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        let read = self.reader.read_exact(bytes);
        read.map_err(|error| FormatError::io(self.path, "read the file", error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The next chunk; none behind `IEND`, where the file may go on with what is not PNG.
    fn next(&mut self) -> Result<Option<Chunk>> {
        if self.ended {
            return Ok(None);
        }
        let start = self.at;
        let left = self.length - start;
        if left < 12 {
            let found = format!("{left} bytes");
            let expected = "a chunk, up to IEND";
            return Err(FormatError::malformed(self.path, "a chunk", start, expected, found));
        }
        let mut head = [0; 8];
        self.fill(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let name = latin1(&kind);
        let wrong = |expected: &str, found: String| {
            Err(FormatError::malformed(self.path, "a chunk", start, expected, found))
        };
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            return wrong("a type of four letters", format!("{kind:?}"));
        }
        if length > MAX_CHUNK_BYTES || u64::from(length) > left - 12 {
            return wrong("a length within the file", format!("{name} of {length} bytes"));
        }
        if start == 8 && (kind != *b"IHDR" || length != 13) {
            return wrong("IHDR of 13 bytes first", format!("{name} of {length} bytes"));
        }
        self.ended = kind == *b"IEND";
        Ok(Some(Chunk { start, kind, length }))
    }

    /// Reads the data of the chunk that was met last and holds it against its checksum; what is not
    /// text is not kept.
    fn data(&mut self, chunk: &Chunk) -> Result<Option<Vec<u8>>> {
        let mut crc = Crc::new();
        crc.update(&chunk.kind);
        let kept = match is_text(chunk.kind) {
            true => {
                if u64::from(chunk.length) > MAX_TEXT_BYTES {
                    return Err(self.too_much(u64::from(chunk.length)));
                }
                let mut data = vec![0; chunk.length as usize];
                self.fill(&mut data)?;
                crc.update(&data);
                Some(data)
            }
            false => {
                let mut left = chunk.length as usize;
                let mut buffer = [0; 8192];
                while left > 0 {
                    let part = left.min(buffer.len());
                    self.fill(&mut buffer[..part])?;
                    crc.update(&buffer[..part]);
                    left -= part;
                }
                None
            }
        };
        let mut sum = [0; 4];
        self.fill(&mut sum)?;
        let sum = u32::from_be_bytes(sum);
        if sum != crc.sum() {
            let field = format!("the chunk {}", latin1(&chunk.kind));
            let expected = format!("the checksum {:08x}", crc.sum());
            let found = format!("{sum:08x}");
            return Err(FormatError::malformed(self.path, &field, chunk.start, expected, found));
        }
        Ok(kept)
    }

    fn too_much(&self, found: u64) -> FormatError {
        FormatError::too_large(self.path, "the texts", MAX_TEXT_BYTES, found)
    }
}

fn texts(path: &Path, reader: &mut impl Read, length: u64) -> Result<Vec<(String, String)>> {
    let mut chunks = Chunks::new(path, reader, length)?;
    let mut found = vec![];
    let mut room = MAX_TEXT_BYTES;
    while let Some(chunk) = chunks.next()? {
        let Some(data) = chunks.data(&chunk)? else { continue };
        if found.len() == MAX_TEXTS {
            let (limit, more) = (MAX_TEXTS as u64, MAX_TEXTS as u64 + 1);
            return Err(FormatError::too_large(path, "the number of texts", limit, more));
        }
        let wrong = |what: Wrong| match what {
            Wrong::Long => chunks.too_much(MAX_TEXT_BYTES + 1),
            Wrong::Found(found) => {
                let field = format!("the chunk {}", latin1(&chunk.kind));
                FormatError::malformed(path, &field, chunk.start, "a keyword and a text", found)
            }
        };
        let (keyword, text) = decode(chunk.kind, &data, room).map_err(wrong)?;
        room = room.saturating_sub((keyword.len() + text.len()) as u64);
        found.push((keyword, text));
    }
    Ok(found)
}

/// Why a text is refused.
enum Wrong {
    Long,
    Found(&'static str),
}

/// The keyword and the text of a chunk, which may have as many bytes as there is room for.
fn decode(kind: [u8; 4], data: &[u8], room: u64) -> std::result::Result<(String, String), Wrong> {
    let (keyword, rest) = keyword_of(data).ok_or(Wrong::Found("no keyword"))?;
    let cut = |bytes: &'_ [u8]| bytes.iter().position(|&byte| byte == 0);
    let text = match &kind {
        b"tEXt" => latin1(rest),
        b"zTXt" => match rest.split_first() {
            Some((0, deflated)) => latin1(&inflate(deflated, room)?),
            _ => return Err(Wrong::Found("an unknown compression")),
        },
        _ => {
            let [deflated, method, rest @ ..] = rest else {
                return Err(Wrong::Found("no compression flag"));
            };
            let language = cut(rest).ok_or(Wrong::Found("no language"))?;
            let rest = &rest[language + 1..];
            let translated = cut(rest).ok_or(Wrong::Found("no translated keyword"))?;
            let text = &rest[translated + 1..];
            let bytes = match (deflated, method) {
                (0, _) => text.to_vec(),
                (1, 0) => inflate(text, room)?,
                _ => return Err(Wrong::Found("an unknown compression")),
            };
            String::from_utf8(bytes).map_err(|_| Wrong::Found("a text that is not UTF-8"))?
        }
    };
    match text.len() as u64 > room {
        true => Err(Wrong::Long),
        false => Ok((latin1(keyword), text)),
    }
}

fn inflate(deflated: &[u8], room: u64) -> std::result::Result<Vec<u8>, Wrong> {
    let mut bytes = vec![];
    let read = ZlibDecoder::new(deflated).take(room + 1).read_to_end(&mut bytes);
    read.map_err(|_| Wrong::Found("a text that cannot be inflated"))?;
    if bytes.len() as u64 > room { Err(Wrong::Long) } else { Ok(bytes) }
}
