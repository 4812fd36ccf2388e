//! Zip archives, as `.npz` and torch's files are, with every size checked before it is believed.

use crate::limits::{MAX_ARCHIVE_ENTRIES, expansion_limit};
use crate::{FormatError, Result, source};
use std::collections::HashMap;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use zip::CompressionMethod;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

/// What stands before an entry's name, from the zip format.
const LOCAL_HEADER_BYTES: u64 = 30;

/// What an archive's entries may be compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Nothing: the entries' sizes cannot exceed the archive's.
    Stored,
    /// Deflate, within [`expansion_limit`].
    Deflated,
}

pub(crate) struct Archive<R> {
    path: PathBuf,
    length: u64,
    directory: ZipIterable<R>,
    names: Vec<String>,
    entries: HashMap<String, ZipFileEntry<'static>>,
}

impl<R: BufRead + Seek> Archive<R> {
    /// Opens an archive and reads its directory, but no entry's data.
    pub fn open(path: &Path, reader: R, length: u64, allowed: Compression) -> Result<Self> {
        let failed = |error| zip_error(path, "the zip directory", error);
        let mut directory = ZipIterable::try_new(reader, Config::default())
            .map_err(failed)?
            .enforce_header_consistency(true);
        if directory.len() > MAX_ARCHIVE_ENTRIES {
            let (limit, found) = (MAX_ARCHIVE_ENTRIES as u64, directory.len() as u64);
            return Err(FormatError::too_large(path, "the number of zip entries", limit, found));
        }
        let mut names = Vec::new();
        let mut entries = HashMap::new();
        for entry in directory.files().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.name().map_err(failed)?.into_owned();
            names.push(name.clone());
            if entries.insert(name, entry).is_some() {
                let field = format!("zip entry `{}`", names[names.len() - 1]);
                return Err(FormatError::malformed(path, &field, None, "one entry", "two"));
            }
        }
        let archive = Self { path: path.to_owned(), length, directory, names, entries };
        archive.check_sizes(allowed)?;
        Ok(archive)
    }

    /// The entries' names, in the directory's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The size that an entry declares, where there is such an entry that was not taken yet.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(ZipFileEntry::size)
    }

    /// The archive file's own length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where a stored entry's bytes begin, how many there are, and their checksum.
    pub fn locate(&mut self, name: &str) -> Result<Option<(u64, u64, u32)>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let (header, bytes, checksum) = (entry.header_start(), entry.size(), entry.crc32());
        let field = format!("zip entry `{name}`");
        let failed = |error| zip_error(&self.path, &field, error);
        let mut local = [0; LOCAL_HEADER_BYTES as usize];
        let reader = self.directory.files().map_err(failed)?.reader_mut();
        reader
            .seek(SeekFrom::Start(header))
            .and_then(|_| reader.read_exact(&mut local))
            .map_err(|error| failed(ZipError::Io(error)))?;
        if !local.starts_with(b"PK\x03\x04") {
            let (expected, found) = ("a zip entry's header", "something else");
            return Err(FormatError::malformed(&self.path, &field, header, expected, found));
        }
        let length = |at: usize| u64::from(u16::from_le_bytes([local[at], local[at + 1]]));
        // The name and the extra fields may be longer than the directory's copies of them.
        let start = header.saturating_add(LOCAL_HEADER_BYTES + length(26) + length(28));
        Ok(Some((start, bytes, checksum)))
    }

    /// Reads a whole entry, once, and checks its checksum.
    pub fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        let field = format!("zip entry `{name}`");
        let Some(entry) = self.entries.remove(name) else {
            return Err(FormatError::malformed(&self.path, &field, None, "an entry", "none"));
        };
        let size = entry.size();
        let failed = |error| zip_error(&self.path, &field, error);
        let reader = self.directory.files().map_err(failed)?.reader_mut();
        let mut stream = entry.with_reader(reader, Default::default()).map_err(failed)?;
        let mut data = source::read_exact(&self.path, &mut stream, size)?;
        // Reading on to the end is what makes the checksum be checked; one byte too many is enough
        // to know that the declared size is a lie.
        let rest =
            stream.take(1).read_to_end(&mut data).map_err(|error| failed(ZipError::Io(error)))?;
        if rest != 0 {
            let (expected, found) = (format!("{size} bytes"), format!("{} bytes", data.len()));
            return Err(FormatError::malformed(&self.path, &field, None, expected, found));
        }
        Ok(data)
    }

    /// Holds every declared size against what the archive's bytes can back.
    fn check_sizes(&self, allowed: Compression) -> Result<()> {
        let mut total: u64 = 0;
        for name in &self.names {
            let entry = &self.entries[name];
            let field = format!("zip entry `{name}`");
            let limit = match entry.compression() {
                CompressionMethod::Stored => self.length,
                CompressionMethod::Deflated if allowed == Compression::Deflated => {
                    expansion_limit(entry.compressed_size().min(self.length))
                }
                other => {
                    let found = format!("the compression method {other:?}");
                    let expected = match allowed {
                        Compression::Stored => "stored data",
                        Compression::Deflated => "stored or deflated data",
                    };
                    return Err(FormatError::unsupported(
                        &self.path, &field, None, expected, found,
                    ));
                }
            };
            if entry.size() > limit {
                return Err(FormatError::too_large(&self.path, &field, limit, entry.size()));
            }
            total = total.saturating_add(entry.size());
        }
        // Entries that share bytes could each be within their limit and still be a bomb together.
        let limit = match allowed {
            Compression::Stored => self.length,
            Compression::Deflated => expansion_limit(self.length),
        };
        if total > limit {
            return Err(FormatError::too_large(
                &self.path,
                "the zip entries' total size",
                limit,
                total,
            ));
        }
        Ok(())
    }
}

fn zip_error(path: &Path, field: &str, error: ZipError) -> FormatError {
    match error {
        ZipError::UnsupportedArchive(found) => {
            FormatError::unsupported(path, field, None, "a plain zip archive", found)
        }
        error => FormatError::malformed(path, field, None, "a zip archive", error.to_string()),
    }
}
