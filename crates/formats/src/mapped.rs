//! Files seen as memory: the one place in this crate with `unsafe`.
#![allow(unsafe_code, reason = "mapping a file cannot be written without it")]

use bytes::Bytes;
use memmap2::Mmap;
use std::fs::File;
use std::io;

/// The bytes of a file, brought in by the kernel as they are looked at; the map lives as long as
/// the last slice of it.
///
/// A file that another process shortens while it is mapped ends this process with a bus error, as
/// it does every program that maps files; one that is rewritten in place changes under the
/// reader's eyes. Nothing here depends on a byte's staying the same between two looks: headers are
/// parsed from a copy, and of the mapped bytes only numbers are made.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the map is read-only and private to this process, and is handed out only as bytes, of
    // which every pattern is valid.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
