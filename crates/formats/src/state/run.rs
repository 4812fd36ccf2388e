//! Where bytes lie in a file.

use crate::{FormatError, Result, mapped, source};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes that are read at a time where they are not mapped: small enough for the cache.
pub(crate) const CHUNK_BYTES: usize = 1 << 18;

/// A regular file that was opened once and measured; mapped when its bytes are first borrowed.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    /// None where the bytes came from memory.
    file: Option<Mutex<File>>,
    length: u64,
    map: OnceLock<Bytes>,
}

impl OpenFile {
    pub fn open(path: &Path) -> Result<Self> {
        let (reader, length) = source::open(path)?;
        let file = Some(Mutex::new(reader.into_inner()));
        Ok(Self { path: path.to_owned(), file, length, map: OnceLock::new() })
    }

    /// A file that is held in memory.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { path: PathBuf::new(), file: None, length, map: OnceLock::from(bytes) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// The whole file as memory.
    pub fn map(&self) -> Result<&Bytes> {
        if let (None, Some(file)) = (self.map.get(), &self.file) {
            let file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = |error| FormatError::io(&self.path, "map the file", error);
            let map = mapped::map(&file).map_err(failed)?;
            // A file that shrank since its header was checked no longer backs that header.
            if map.len() as u64 != self.length {
                let (expected, found) =
                    (format!("{} bytes", self.length), format!("{} bytes", map.len()));
                let field = "the file's length";
                return Err(FormatError::malformed(&self.path, field, None, expected, found));
            }
            // Another thread may have been first; its map is as good.
            let _ = self.map.set(map);
        }
        self.map.get().ok_or_else(|| {
            let error = io::Error::other("the file is neither open nor in memory");
            FormatError::io(&self.path, "map the file", error)
        })
    }

    /// Copies the bytes from `start` on. They do not count as this process's memory afterwards, as
    /// those of a map do.
    pub fn read_at(&self, start: u64, bytes: &mut [u8]) -> Result<()> {
        let failed = |error| FormatError::io(&self.path, "read the file", error);
        match &self.file {
            Some(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| file.read_exact(bytes))
                    .map_err(failed)
            }
            None => {
                let held = usize::try_from(start)
                    .ok()
                    .and_then(|start| self.map.get()?.get(start..start.checked_add(bytes.len())?));
                let cut = || failed(io::ErrorKind::UnexpectedEof.into());
                bytes.copy_from_slice(held.ok_or_else(cut)?);
                Ok(())
            }
        }
    }
}

/// An open file read from its beginning on.
#[derive(Debug)]
pub(crate) struct FileReader<'a> {
    file: &'a OpenFile,
    position: u64,
}

impl OpenFile {
    /// Reads from the beginning on, whatever else is read in between.
    pub fn reader(&self) -> BufReader<FileReader<'_>> {
        BufReader::new(FileReader { file: self, position: 0 })
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.length.saturating_sub(self.position);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.file.read_at(self.position, &mut buffer[..count]);
        read.map_err(|error| io::Error::other(error.to_string()))?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for FileReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The checksum of a stretch, compared once.
#[derive(Debug)]
struct Checksum {
    expected: u32,
    compared: OnceLock<()>,
}

/// A stretch of a file that was held against the file's length.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    file: Arc<OpenFile>,
    start: u64,
    bytes: usize,
    checksum: Option<Arc<Checksum>>,
    made: Option<Made>,
}

/// What makes the bytes that are in no file.
#[derive(Clone)]
struct Made(Arc<dyn Fn() -> Result<Vec<u8>> + Send + Sync>);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

impl Run {
    /// The `bytes` from `start` on, or nothing where the file ends before they do.
    pub fn new(file: &Arc<OpenFile>, start: u64, bytes: u64) -> Option<Self> {
        let end = start.checked_add(bytes)?;
        let bytes = usize::try_from(bytes).ok()?;
        (end <= file.length()).then(|| Self {
            file: file.clone(),
            start,
            bytes,
            checksum: None,
            made: None,
        })
    }

    /// The same with a CRC-32 that is compared before the bytes are first used.
    pub fn with_checksum(self, expected: u32) -> Self {
        let checksum = Checksum { expected, compared: OnceLock::new() };
        Self { checksum: Some(Arc::new(checksum)), ..self }
    }

    /// So many bytes that `make` makes anew each time that they are asked for, from those of this
    /// run's file.
    pub fn made(
        &self,
        bytes: usize,
        make: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let made = Some(Made(Arc::new(make)));
        Self { file: self.file.clone(), start: 0, bytes, checksum: None, made }
    }

    pub fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// The bytes that are made and in no file.
    pub fn make(&self) -> Option<Result<Vec<u8>>> {
        let Made(make) = self.made.as_ref()?;
        Some(make().and_then(|bytes| match bytes.len() == self.bytes {
            true => Ok(bytes),
            false => {
                let (expected, found) = (self.bytes, bytes.len());
                let error = io::Error::other(format!("{found} bytes were made of {expected}"));
                Err(FormatError::io(self.path(), "change a tensor", error))
            }
        }))
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of the bytes, from the map.
    pub fn mapped(&self, start: usize, bytes: usize) -> Result<Bytes> {
        self.compare_checksum()?;
        let first = usize::try_from(self.start).unwrap_or(usize::MAX).saturating_add(start);
        Ok(self.file.map()?.slice(first..first.saturating_add(bytes)))
    }

    /// Copies a part of the bytes.
    pub fn read(&self, start: usize, bytes: &mut [u8]) -> Result<()> {
        self.compare_checksum()?;
        self.file.read_at(self.start + start as u64, bytes)
    }

    fn compare_checksum(&self) -> Result<()> {
        let Some(checksum) = &self.checksum else { return Ok(()) };
        if checksum.compared.get().is_some() {
            return Ok(());
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHUNK_BYTES.min(self.bytes)];
        let mut done = 0;
        while done < self.bytes {
            let chunk = &mut buffer[..CHUNK_BYTES.min(self.bytes - done)];
            self.file.read_at(self.start + done as u64, chunk)?;
            hasher.update(chunk);
            done += chunk.len();
        }
        let found = hasher.finalize();
        if found != checksum.expected {
            return Err(FormatError::malformed(
                self.path(),
                "the checksum of a storage",
                self.start,
                format!("{:#010x}", checksum.expected),
                format!("{found:#010x}"),
            ));
        }
        let _ = checksum.compared.set(());
        Ok(())
    }
}
