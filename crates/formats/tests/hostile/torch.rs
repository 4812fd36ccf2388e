//! Bad checkpoints.

use crate::Bad;
use crate::build::{archive, stored, torch_archive};
use crate::files::Format;
use zip::CompressionMethod;

const PROTOCOL: &[u8] = b"\x80\x02";

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A LONG1 of eight bytes, which holds any size.
fn number(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

fn tuple(items: &[i64]) -> Vec<u8> {
    [b"(", &items.iter().flat_map(|&item| number(item)).collect::<Vec<u8>>()[..], b"t"].concat()
}

/// The opcodes that rebuild a tensor over an F32 storage `0` of `numel` elements.
fn tensor(numel: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        number(numel),
        b"tQ".to_vec(),
        number(offset),
        tuple(shape),
        tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

/// A pickle of `{"w": value}`.
fn pickle(value: &[u8]) -> Vec<u8> {
    [PROTOCOL, b"}(", &text("w"), value, b"u."].concat()
}

/// A pickle of `{"w": tensor}` of shape [2, 2], over a storage of 16 bytes.
pub fn valid_pickle() -> Vec<u8> {
    pickle(&tensor(4, 0, &[2, 2], &[2, 1]))
}

/// A dictionary whose first entry is a dictionary like it, one level less deep, and whose other
/// entries are that same dictionary again.
fn nested(level: u8) -> Vec<u8> {
    if level == 0 {
        return b"}".to_vec();
    }
    let mut program = b"}(".to_vec();
    program.extend(text("first"));
    program.extend(nested(level - 1));
    program.extend_from_slice(&[b'q', level]);
    for index in 0..9 {
        program.extend(text(&format!("{index}")));
        program.extend_from_slice(&[b'h', level]);
    }
    program.push(b'u');
    program
}

fn deep_tuples() -> Vec<u8> {
    pickle(&[b")".to_vec(), vec![0x85; 1_000_000]].concat())
}

pub fn corpus() -> Vec<Bad> {
    let bad = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Torch, bytes, says);
    let program =
        |name, program: &[u8], says| bad(name, torch_archive(program, &[("0", &[0; 16])]), says);
    let value = |name, value: &[u8], says| program(name, &pickle(value), says);
    let global = |name: &str| [b"c", name.replace('.', "\n").as_bytes(), b"\n"].concat();
    let storage = |name, storages: &[(&str, &[u8])], says| {
        bad(name, torch_archive(&valid_pickle(), storages), says)
    };
    let good = valid_pickle();
    vec![
        program(
            "os.system",
            &[PROTOCOL, &global("posix.system"), &text("id"), b"\x85R."].concat(),
            "the pickle at byte 2: the opcode 0x63 with the global `posix.system` is not supported",
        ),
        value(
            "eval by name on the stack",
            &[text("builtins"), text("eval"), b"\x93".to_vec()].concat(),
            "`builtins.eval`",
        ),
        value("torch.load itself", &global("torch.load"), "`torch.load`"),
        value(
            "a storage type that is no storage",
            &global("torch.EvilStorage"),
            "`torch.EvilStorage`",
        ),
        value("a name with a dot", b"\x8c\x05torch\x8c\x0ehub.os.Storage\x93", "is not supported"),
        value(
            "a rebuild of the third version",
            &global("torch._utils._rebuild_tensor_v3"),
            "the global",
        ),
        value(
            "an object made without its constructor",
            b"ccollections\nOrderedDict\n)\x81",
            "the opcode 0x81",
        ),
        value("an instance by INST", b"(icollections\nOrderedDict\n", "the opcode 0x69"),
        value("an extension code", b"\x82\x01", "the opcode 0x82"),
        value("a text persistent id", b"Pstorage\n", "the opcode 0x50"),
        value(
            "attributes of a tensor",
            &[&tensor(4, 0, &[4], &[1])[..], b"}b"].concat(),
            "attributes of a tensor",
        ),
        value(
            "a call of a dictionary with a number",
            b"ccollections\nOrderedDict\nK\x01\x85R",
            "expected a list of pairs",
        ),
        value("a call of a string", b"U\x01aU\x01b\x85R", "expected a global and its arguments"),
        value("a memo that is empty", b"h\x07", "expected a value in the memo, found none at 7"),
        value(
            "a string of 2^63 bytes",
            b"\x8d\0\0\0\0\0\0\0\x80",
            "found a run of 9223372036854775808",
        ),
        value("a string of 4 GB", b"X\xff\xff\xff\xff", "found a run of 4294967295"),
        value("a string not in UTF-8", b"U\x01\xff", "expected a string in UTF-8"),
        value(
            "an integer of 255 bytes",
            &[&b"\x8a\xff"[..], &[1; 255]].concat(),
            "one of 255 bytes",
        ),
        value(
            "a name without an end",
            &[b"c".to_vec(), vec![b'a'; 1_000]].concat(),
            "a name of at most 256",
        ),
        value(
            "append to a number",
            b"K\x01K\x02a",
            "expected a list to append to, found an integer",
        ),
        value("a key without a value", b"}(K\x01u", "expected a value for every key"),
        program("a stack that is empty", b"\x80\x02.", "expected 1 values on the stack"),
        program("a mark that is missing", b"\x80\x02t.", "expected a mark on the stack"),
        program("values that are left over", b"\x80\x02NN.", "expected one value at the end"),
        program(
            "bytes after the end",
            &[&good[..], b"N"].concat(),
            "expected the end of the pickle",
        ),
        program("no end", &good[..good.len() - 1], "expected more of the pickle, found the end"),
        program("pickle protocol 0", b"(dp0\n.", "the opcode 0x64"),
        program("pickle protocol 9", b"\x80\x09}.", "protocol 9 is not supported"),
        value(
            "a tensor one element past its storage",
            &tensor(4, 1, &[2, 2], &[2, 1]),
            "tensor `w`: expected elements within the 4",
        ),
        value(
            "a dimension of 2^42+1 that wraps",
            &tensor(4, 0, &[(1 << 42) + 1, 1 << 22], &[0, 0]),
            "tensor `w`",
        ),
        value("a stride that wraps", &tensor(4, 0, &[3], &[i64::MAX]), "tensor `w`"),
        value(
            "a negative stride",
            &tensor(4, 3, &[2], &[-1]),
            "expected a count from 0 up, found -1",
        ),
        value("a negative offset", &tensor(4, -1, &[2], &[1]), "found -1"),
        value("fewer strides than dimensions", &tensor(4, 0, &[2, 2], &[1]), "tensor `w`"),
        value("seventeen dimensions", &tensor(4, 0, &[1; 17], &[1; 17]), "at most 16 dimensions"),
        value(
            "a terabyte by a stride of 0",
            &tensor(4, 0, &[1 << 38], &[0]),
            "the tensors' total size",
        ),
        value(
            "a storage of 2^62 elements",
            &tensor(1 << 62, 0, &[4], &[1]),
            "expected 4611686018427387904 elements",
        ),
        value("a storage of -1 elements", &tensor(-1, 0, &[4], &[1]), "found -1 elements"),
        value(
            "a tensor of a number",
            b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01))tR",
            "expected a storage to view",
        ),
        value(
            "a parameter of a number",
            b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R",
            "expected a call that makes",
        ),
        value("a persistent id of a number", b"K\x01Q", "('storage', type, key, device, elements)"),
        value(
            "ten thousand million dictionaries",
            &nested(10),
            "the memory that the pickle asks for",
        ),
        program(
            "a dictionary in itself",
            b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
            "the depth of dictionaries",
        ),
        value(
            "a million lists",
            &[b"(".to_vec(), vec![b']'; 1_000_000], b"t".to_vec()].concat(),
            "the memory that the pickle asks for",
        ),
        value("a million marks", &vec![b'('; 1_000_000], "the memory that the pickle asks for"),
        program("a tuple a million deep", &deep_tuples(), "the memory that the pickle asks for"),
        program(
            "two tensors of one name",
            &[
                PROTOCOL,
                b"}(",
                &text("w"),
                &tensor(4, 0, &[4], &[1]),
                &text("w"),
                &tensor(4, 0, &[4], &[1]),
                b"u.",
            ]
            .concat(),
            "tensor `w`: expected one tensor, found two",
        ),
        program(
            "two sizes of one storage",
            &[
                PROTOCOL,
                b"}(",
                &text("v"),
                &tensor(4, 0, &[4], &[1]),
                &text("w"),
                &tensor(3, 0, &[3], &[1]),
                b"u.",
            ]
            .concat(),
            "tensor `w`: expected storage `0` of 4 F32",
        ),
        storage(
            "no storage",
            &[],
            "storage `a/data/0`: expected 4 elements of F32, found no such entry",
        ),
        storage("a storage that is too short", &[("0", &[0; 15])], "found 15 bytes"),
        storage("a storage that is too long", &[("0", &[0; 17])], "found 17 bytes"),
        bad("no pickle", stored(&[("a/data/0", &[0; 16])]), "expected one entry data.pkl"),
        bad(
            "two pickles",
            stored(&[("a/data.pkl", &good), ("b/data.pkl", &good)]),
            "none or several",
        ),
        bad(
            "big-endian storages",
            stored(&[("a/data.pkl", &good), ("a/byteorder", b"big")]),
            "the byte order \"big\" is not supported",
        ),
        bad(
            "a storage that is a bomb",
            archive(
                CompressionMethod::Deflated,
                &[("a/data.pkl", &good), ("a/data/0", &vec![0; 64_000_000])],
            ),
            "the compression method Deflated is not supported, expected stored data",
        ),
        bad("neither form", b"just some text".to_vec(), "expected a file that torch.save wrote"),
        bad(
            "legacy form of another magic",
            b"\x80\x02K\x01.".to_vec(),
            "expected torch's magic number",
        ),
    ]
}
