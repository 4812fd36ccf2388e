//! TensorBoard event files: `events.out.tfevents.*`, readable while they grow.
//!
//! A file is a chain of TFRecords: length (u64), its masked CRC-32C (u32), data, the data's masked CRC-32C
//! (u32), all little-endian. The data of each is one `Event` message of TensorFlow's `event.proto`; of its many fields
//! only the few below are written, by hand: a protobuf compiler would weigh more than this module.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use image::{ColorType, ImageDecoder, codecs::png::PngDecoder};

use crate::PictureError;

/// Writes scalars and pictures for TensorBoard.
///
/// ```
/// use sumi_pictures::tensorboard::EventWriter;
///
/// # let folder = tempfile::tempdir()?;
/// let mut events = EventWriter::create(folder.path())?;
/// events.scalar(1, 1.7e9, "train/loss", 0.25)?;
/// events.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl EventWriter {
    /// Starts an event file in `dir`, which is created if it is missing.
    ///
    /// # Errors
    /// [`PictureError::Io`].
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, PictureError> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(PictureError::io("create", dir))?;
        let now = seconds_now();
        let first_free = newest_start(dir)?.map_or(0, |start| start + 1);
        // TensorBoard reads a folder's files in the order of their names, so a later file gets a later second.
        let start = (now as u64).max(first_free);
        let name = format!("events.out.tfevents.{start:010}.sumi.{}", std::process::id());
        let path = dir.join(name);
        let file = File::create_new(&path).map_err(PictureError::io("create", &path))?;
        let mut writer = Self { file: BufWriter::new(file), path };
        let mut version = Message::default();
        version.double(1, now).bytes(3, b"brain.Event:2");
        writer.record(&version.0)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Goes on after an interruption, in a new file beside the old ones: TensorBoard is told to forget what they
    /// hold at `step` and later, so steps that are run again do not show twice.
    ///
    /// A new file, since a reader never gets past a record that a crash has cut.
    ///
    /// # Errors
    /// [`PictureError::Io`].
    pub fn append(dir: impl AsRef<Path>, step: u64) -> Result<Self, PictureError> {
        let mut writer = Self::create(dir)?;
        // Event.session_log = 7 { status = 1: START }.
        let mut session = Message::default();
        session.integer(1, 1);
        let mut event = Message::default();
        event.double(1, seconds_now()).integer(2, step);
        event.bytes(7, &session.0);
        writer.record(&event.0)?;
        writer.flush()?;
        Ok(writer)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one number; `wall_time_secs` counts from the Unix epoch.
    ///
    /// # Errors
    /// [`PictureError::Io`].
    pub fn scalar(
        &mut self,
        step: u64,
        wall_time_secs: f64,
        tag: &str,
        value: f32,
    ) -> Result<(), PictureError> {
        self.record(&scalar_event(step, wall_time_secs, tag, value))
    }

    /// Adds one picture, at the present time.
    ///
    /// # Errors
    /// [`PictureError::NotAnImage`] when the bytes are not a PNG's; [`PictureError::Io`].
    pub fn image(&mut self, step: u64, tag: &str, png: &[u8]) -> Result<(), PictureError> {
        let decoder = PngDecoder::new(std::io::Cursor::new(png)).map_err(|refusal| {
            PictureError::NotAnImage { expected: "PNG", found: refusal.to_string() }
        })?;
        let (width, height) = decoder.dimensions();
        let colours = match decoder.color_type() {
            ColorType::L8 | ColorType::L16 => 1,
            ColorType::La8 | ColorType::La16 => 2,
            ColorType::Rgba8 | ColorType::Rgba16 => 4,
            _ => 3,
        };
        let mut image = Message::default();
        image.integer(1, height.into()).integer(2, width.into()).integer(3, colours).bytes(4, png);
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes()).bytes(4, &image.0);
        self.record(&summary_event(step, seconds_now(), &value))
    }

    /// Hands everything to the file system, where TensorBoard sees it.
    ///
    /// # Errors
    /// [`PictureError::Io`].
    pub fn flush(&mut self) -> Result<(), PictureError> {
        self.file.flush().map_err(PictureError::io("write", &self.path))
    }

    fn record(&mut self, event: &[u8]) -> Result<(), PictureError> {
        self.file.write_all(&framed(event)).map_err(PictureError::io("write", &self.path))
    }
}

/// The latest second that an event file in `dir` carries in its name.
fn newest_start(dir: &Path) -> Result<Option<u64>, PictureError> {
    let mut newest = None;
    for entry in fs::read_dir(dir).map_err(PictureError::io("read", dir))? {
        let name = entry.map_err(PictureError::io("read", dir))?.file_name();
        let start = name
            .to_str()
            .and_then(|name| name.strip_prefix("events.out.tfevents."))
            .and_then(|rest| rest.split('.').next()?.parse().ok());
        newest = newest.max(start);
    }
    Ok(newest)
}

fn seconds_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |duration| duration.as_secs_f64())
}

fn scalar_event(step: u64, wall_time_secs: f64, tag: &str, value: f32) -> Vec<u8> {
    let mut summary_value = Message::default();
    summary_value.bytes(1, tag.as_bytes()).float(2, value);
    summary_event(step, wall_time_secs, &summary_value)
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 } }`.
fn summary_event(step: u64, wall_time_secs: f64, value: &Message) -> Vec<u8> {
    let mut summary = Message::default();
    summary.bytes(1, &value.0);
    let mut event = Message::default();
    event.double(1, wall_time_secs).integer(2, step).bytes(5, &summary.0);
    event.0
}

/// One TFRecord.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc(data).to_le_bytes());
    record
}

/// CRC-32C, turned and shifted as TensorFlow's `tsl/lib/hash/crc32c.h` does, so that a file may hold its own sums.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn double(&mut self, field: u64, value: f64) -> &mut Self {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A string, bytes or a message.
    fn bytes(&mut self, field: u64, value: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picture;

    /// Made with tensorboard's own RecordWriter: testdata/event.py.
    #[test]
    fn a_scalar_is_byte_for_byte_what_tensorboard_writes() {
        let golden = include_bytes!("../testdata/event.bin");
        let event = scalar_event(300, 1_700_000_000.25, "train/loss", 0.125);
        assert_eq!(framed(&event), golden);
    }

    /// `crc32c("123456789") = 0xe3069283` is the check value of RFC 3720; masking as TensorFlow defines it.
    #[test]
    fn the_mask_turns_and_adds() {
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn every_record_of_a_file_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventWriter::create(folder.path().join("new/logs")).unwrap();
        events.scalar(1, 2.0, "a", f32::NAN).unwrap();
        let png = Picture::new(2, 3, 3, vec![9; 18]).unwrap().png_bytes();
        events.image(2, "b", &png).unwrap();
        events.flush().unwrap();
        let bytes = fs::read(events.path()).unwrap();
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(&framed(&rest[12..12 + length]), &rest[..length + 16]);
            rest = &rest[length + 16..];
            count += 1;
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn a_later_file_sorts_after_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = EventWriter::create(folder.path()).unwrap();
        let second = EventWriter::append(folder.path(), 100).unwrap();
        let third = EventWriter::append(folder.path(), 200).unwrap();
        assert!(first.path() < second.path() && second.path() < third.path());
    }

    /// TensorBoard's EventAccumulator drops the steps from 300 on when it meets this.
    #[test]
    fn an_appended_file_says_at_which_step_the_session_starts() {
        let folder = tempfile::tempdir().unwrap();
        let events = EventWriter::append(folder.path(), 300).unwrap();
        let bytes = fs::read(events.path()).unwrap();
        let start = [0x10, 0xac, 0x02, 0x3a, 0x02, 0x08, 0x01];
        assert!(bytes.windows(start.len()).any(|part| part == start));
    }

    #[test]
    fn what_is_not_a_png_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventWriter::create(folder.path()).unwrap();
        let message = events.image(1, "a", b"GIF89a").unwrap_err().to_string();
        assert!(message.starts_with("expected the bytes of a PNG"), "{message}");
        assert!(EventWriter::create(events.path()).is_err());
    }
}
