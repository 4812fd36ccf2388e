//! Files appear whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::PictureError;

/// Writes `bytes` to a temporary name in the same folder, then renames it to `path`.
///
/// # Errors
/// [`PictureError::Io`]; an older file at `path` is then still whole, and no temporary file is left.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PictureError> {
    let temporary = temporary_name(path);
    let written = File::create_new(&temporary)
        .map_err(PictureError::io("create", path))
        .and_then(|mut file| {
            file.write_all(bytes)
                .and_then(|()| file.sync_all())
                .map_err(PictureError::io("write", path))
        })
        .and_then(|()| fs::rename(&temporary, path).map_err(PictureError::io("rename", path)));
    if written.is_err() {
        // The first error is the one worth telling; a temporary file that stays is harmless.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// `.NAME.PID-COUNT.tmp` beside `path`: two writers never share one.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    name.push(format!(".{process}-{count}.tmp"));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_the_path_that_it_could_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a.png");
        let message = write_whole(&path, b"one").unwrap_err().to_string();
        assert!(message.contains("missing/a.png"), "{message}");
        // A folder stands where the file should go: the rename fails and the temporary file goes.
        fs::create_dir_all(folder.path().join("b.png/c")).unwrap();
        assert!(write_whole(&folder.path().join("b.png"), b"one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
