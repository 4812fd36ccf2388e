//! Files that appear whole or not at all.
//!
//! A file is written under a temporary name in its own folder, synced, renamed over the old one,
//! and the folder is synced: at every moment the name holds the whole old file or the whole new
//! one, also after a power cut.

use crate::{FormatError, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path`, whole or not at all.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("config.json");
/// sumi_formats::atomic::write_bytes(&path, b"{}").unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"{}");
/// ```
///
/// # Errors
/// [`FormatError::Io`] for a missing or read-only folder or a full disk; the old file, if there was
/// one, is untouched.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file(path, |file| file.write_all(bytes))
}

/// Writes what `fill` puts into the file to `path`, whole or not at all.
///
/// # Errors
/// [`FormatError::Io`] for a missing or read-only folder, a full disk or whatever `fill` fails
/// with; the old file, if there was one, is untouched.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let Some(name) = path.file_name() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        return Err(FormatError::io(path, "write the file", error));
    };
    let temporary = temporary_beside(path, name.to_owned());
    let written = create(&temporary, fill)
        .map_err(|e| FormatError::io(path, "write the file", e))
        .and_then(|()| {
            fs::rename(&temporary, path)
                .map_err(|e| FormatError::io(path, "move the new file into place", e))
        });
    if written.is_err() {
        // The first error is the one to report; a temporary file that stays is only litter.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    sync_folder(folder_of(path))
}

/// Makes the folder `path`, which is not there yet, with what `fill` puts into it, whole or not at
/// all.
///
/// # Errors
/// [`FormatError::Io`] for a missing or read-only folder or a full disk, and whatever `fill` fails
/// with; nothing is left behind then.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let Some(name) = path.file_name() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the path names no folder");
        return Err(FormatError::io(path, "write the folder", error));
    };
    let temporary = temporary_beside(path, name.to_owned());
    let written = fs::create_dir(&temporary)
        .map_err(|error| FormatError::io(path, "create the folder", error))
        .and_then(|()| fill(&temporary))
        .and_then(|()| sync_folder(&temporary))
        .and_then(|()| {
            fs::rename(&temporary, path)
                .map_err(|error| FormatError::io(path, "move the new folder into place", error))
        });
    if written.is_err() {
        // The first error is the one to report; a temporary folder that stays is only litter.
        let _ = fs::remove_dir_all(&temporary);
        return written;
    }
    sync_folder(folder_of(path))
}

/// Makes the names in a folder last through a power cut, after files in it were renamed or removed.
///
/// # Errors
/// [`FormatError::Io`] where the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    // Only Unix opens folders as files; elsewhere the rename itself is durable.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(|e| FormatError::io(folder, "sync the folder", e))?;
    }
    Ok(())
}

fn create(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    fill(&mut file)?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A name that no other writer uses: this process's id and a count.
fn temporary_beside(path: &Path, name: OsString) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{count}.tmp", process::id()));
    folder_of(path).join(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write_bytes(&path, b"old").unwrap();
        let error = write_file(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["weights"]);
        write_bytes(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["weights"]);
    }

    #[test]
    fn a_missing_folder_and_a_path_without_a_name_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_bytes(&folder.path().join("absent/file"), b"x").unwrap_err();
        assert!(error.to_string().contains("absent/file: cannot write the file"), "{error}");
        assert!(write_bytes(Path::new("/"), b"x").is_err());
        // A folder in the way: the rename fails and the temporary file goes.
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_bytes(&folder.path().join("taken"), b"x").is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
