//! Bad `.npy` and `.npz` files.

use crate::Bad;
use crate::build::{archive, npy, patch, stored};
use crate::files::Format;
use zip::CompressionMethod;

const GOOD: &str = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }";

fn shaped(shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    npy(&header, &[0; 16])
}

fn many_entries(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|index| format!("{index}.npy")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
    stored(&entries)
}

/// A deflated entry of 64 MB of zeros, 64 kB long.
fn bomb() -> Vec<u8> {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (64000000,), }";
    archive(CompressionMethod::Deflated, &[("a.npy", &npy(header, &vec![0; 64_000_000]))])
}

pub fn corpus() -> Vec<Bad> {
    let bad = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Npy, bytes, says);
    let zipped = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Npz, bytes, says);
    let good = npy(GOOD, b"abc");
    let rank_17 = format!("({})", "1, ".repeat(17));
    vec![
        bad("empty array file", vec![], "array `bad` at byte 0: expected an .npy header"),
        bad("array without magic", vec![b'x'; 64], "expected the magic"),
        bad(
            "array of version 9",
            patch(good.clone(), b"\x01\x00", b"\x09\x00"),
            "version 9 is not supported",
        ),
        bad(
            "array header cut",
            good[..40].to_vec(),
            "expected the header that its length promises",
        ),
        bad(
            "array header of 4 GB",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(),
            "4294967295 is over the limit",
        ),
        bad("array header that is empty", npy("", b""), "expected `{`"),
        bad("array header with a key twice", npy("{'shape': (), 'shape': ()}", b""), "once each"),
        bad("array header without a key", npy("{'shape': ()}", b""), "the keys descr"),
        bad(
            "array header with more after it",
            npy(&format!("{GOOD} x"), b"abc"),
            "nothing after the dictionary",
        ),
        bad(
            "array header with a call",
            npy("{'descr': f()}", b""),
            "a structured type is not supported",
        ),
        bad(
            "array of objects",
            npy(&GOOD.replace("|u1", "|O"), b"abc"),
            "the type \"|O\" is not supported",
        ),
        bad("array in big-endian order", npy(&GOOD.replace("|u1", ">f4"), b"abc"), "\">f4\""),
        bad("array of structures", npy("{'descr': [('a', '<f4')]}", b""), "a structured type"),
        bad(
            "array whose shape wraps at 2^42+1",
            shaped("(4398046511105, 4194304)"),
            "expected the data of F32",
        ),
        bad(
            "array whose shape wraps in bytes",
            shaped("(4611686018427387905,)"),
            "expected the data of F32",
        ),
        bad(
            "array with a dimension of 2^64",
            shaped("(18446744073709551616,)"),
            "a dimension that fits 64 bits",
        ),
        bad("array with a negative dimension", shaped("(-4,)"), "a dimension that fits 64 bits"),
        bad("array with seventeen dimensions", shaped(&rank_17), "at most 16 dimensions"),
        bad(
            "array longer than its data",
            shaped("(5,)"),
            "expected the data of F32 [5], found 16 bytes",
        ),
        bad("array shorter than its data", shaped("(3,)"), "found 16 bytes"),
        zipped(
            "not an archive",
            b"no archive at all, only text".to_vec(),
            "the zip directory: expected a zip archive",
        ),
        zipped("archive with a foreign entry", stored(&[("a.txt", b"")]), "a name in .npy"),
        zipped("archive with a bad array", stored(&[("a.npy", b"x")]), "array `a` at byte 0"),
        zipped(
            "archive with an entry twice",
            patch(stored(&[("a.npy", &good), ("b.npy", &good)]), b"b.npy", b"a.npy"),
            "zip entry `a.npy`: expected one entry, found two",
        ),
        zipped(
            "archive with too many entries",
            many_entries(16_385),
            "16385 is over the limit of 16384",
        ),
        zipped(
            "archive whose data was changed",
            patch(stored(&[("a.npy", &good)]), b"abc", b"abd"),
            "checksum",
        ),
        zipped("archive that is a bomb", bomb(), "is over the limit"),
        zipped("archive whose size is a lie", size_lie(), "the file is cut short"),
        zipped(
            "archive with as many entries as may be",
            many_entries(16_384),
            "array `0` at byte 0",
        ),
    ]
}

/// A stored entry that claims one byte more than it has, in both of its headers.
fn size_lie() -> Vec<u8> {
    let data = npy(GOOD, b"abc");
    let real = (data.len() as u32).to_le_bytes();
    let claimed = (data.len() as u32 + 1).to_le_bytes();
    // Only the size after expansion: it follows the compressed size in both headers.
    patch(stored(&[("a.npy", &data)]), &[real, real].concat(), &[real, claimed].concat())
}
