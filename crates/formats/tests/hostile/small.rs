//! Bad IDX and CIFAR-10 files.

use crate::Bad;
use crate::build::{gzip, idx};
use crate::files::Format;

pub fn corpus() -> Vec<Bad> {
    let bad = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Idx, bytes, says);
    let cifar = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Cifar, bytes, says);
    let good = idx(&[2, 3], &[0; 6]);
    let bomb = gzip(&idx(&[64_000_000], &vec![0; 64_000_000]));
    let label_10 = [vec![1; 3_073], vec![10; 3_073]].concat();
    vec![
        bad("empty IDX file", vec![], "the file is cut short"),
        bad("IDX without magic", b"text".to_vec(), "the IDX magic at byte 0"),
        bad("IDX of floats", vec![0, 0, 0x0d, 1, 0, 0, 0, 0], "the type 0x0d is not supported"),
        bad("IDX without dimensions", vec![0, 0, 8, 0], "the IDX rank at byte 3"),
        bad("IDX with 255 dimensions", vec![0, 0, 8, 255], "expected 1 to 8 dimensions"),
        bad("IDX that wraps", idx(&[1 << 31, 1 << 31, 4], &[]), "the IDX dimensions at byte 4"),
        bad("IDX of 4 GB in 8 bytes", idx(&[u32::MAX], &[]), "the IDX dimensions at byte 4"),
        bad("IDX with a byte too few", good[..good.len() - 1].to_vec(), "the IDX dimensions"),
        bad("IDX with a byte too many", [&good[..], &[0]].concat(), "found more bytes"),
        bad("gzipped IDX that is a bomb", bomb, "the IDX dimensions"),
        bad(
            "gzipped IDX with more behind",
            [gzip(&good), gzip(&good)].concat(),
            "found more bytes",
        ),
        bad("gzipped IDX whose data was changed", changed(gzip(&good)), "cannot read the file"),
        cifar(
            "empty CIFAR batch",
            vec![],
            "expected records of 3073 bytes, found a file of 0 bytes",
        ),
        cifar("CIFAR batch with half a record", vec![0; 4_000], "found a file of 4000 bytes"),
        cifar(
            "CIFAR label of 10",
            label_10,
            "the label of record 1 at byte 3073: expected a label below 10",
        ),
    ]
}

/// Changes the checksum in the last eight bytes.
fn changed(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    bytes
}
