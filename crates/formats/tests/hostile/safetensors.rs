//! Bad safetensors files.

use crate::Bad;
use crate::build::safetensors;
use crate::files::Format;
use std::fmt::Write;

/// A header of one F32 tensor `x` with this shape and these offsets.
fn one(shape: &str, offsets: &str) -> String {
    format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

fn many_tensors(count: usize) -> String {
    let mut header = "{".to_owned();
    for index in 0..count {
        write!(header, r#""{index}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#).unwrap();
    }
    header.pop();
    header + "}"
}

fn many_strings(count: usize) -> String {
    let strings: Vec<String> = (0..count).map(|index| format!(r#""{index}":"""#)).collect();
    format!(r#"{{"__metadata__":{{{}}}}}"#, strings.join(","))
}

fn two(first: &str, second: &str) -> String {
    format!(
        r#"{{{first}:{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"y":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
    )
}

pub fn corpus() -> Vec<Bad> {
    let bad = |name, bytes: Vec<u8>, says| Bad::new(name, Format::Safetensors, bytes, says);
    let text = |name, header: &str, data, says| bad(name, safetensors(header, data), says);
    let claims = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let rank_17 = format!("[{}1]", "1,".repeat(16));
    let huge_name = format!(
        r#"{{"{}":{{"dtype":"?","shape":[],"data_offsets":[0,0]}}}}"#,
        "n".repeat(24 << 20)
    );
    vec![
        bad("empty file", vec![], "the header length at byte 0: expected 8 bytes"),
        bad("seven bytes", vec![0; 7], "found a file of 7 bytes"),
        bad(
            "header one byte over the cap",
            claims(100_000_001),
            "100000001 is over the limit of 100000000",
        ),
        bad("header of 2^64-1 bytes", claims(u64::MAX), "18446744073709551615 is over the limit"),
        bad(
            "header of 100 MB in 10 bytes",
            claims(100_000_000),
            "expected at most the 2 bytes that follow",
        ),
        bad("no header", claims(0), "the header at byte 8: expected `{`"),
        text("header that is a list", "[]", 0, "expected `{`"),
        text("header after spaces", " {}", 0, "expected `{`"),
        text("header cut", r#"{"x":{"dtype""#, 0, "the header at byte 20"),
        bad(
            "header not UTF-8",
            [&3_u64.to_le_bytes()[..], b"{\"\xff"].concat(),
            "the header at byte",
        ),
        text(
            "header deeply nested",
            &format!(r#"{{"x":{}"#, "[".repeat(100_000)),
            0,
            "expected a JSON header",
        ),
        text("two headers", "{}{}", 0, "trailing characters"),
        text(
            "tensor twice",
            &two("\"y\"", "[4,8]"),
            8,
            "tensor `y`: expected one entry, found two",
        ),
        text(
            "tensors that overlap",
            &two("\"x\"", "[3,7]"),
            7,
            "tensor `y`: expected data that begins",
        ),
        text("tensors with a gap", &two("\"x\"", "[5,9]"), 9, "data_offsets [5, 9]"),
        text(
            "data of no tensor",
            &one("[1]", "[0,4]"),
            5,
            "found 1 bytes that belong to no tensor",
        ),
        text("data without tensors", "{}", 1, "the data at byte 10"),
        text("data cut", &one("[2]", "[0,8]"), 7, "tensor `x`: expected data within the 7 bytes"),
        text(
            "a dimension of 2^42+1 that wraps",
            &one("[4398046511105,4194304]", "[0,16777216]"),
            0,
            "tensor `x`: expected a size that fits 64 bits",
        ),
        text(
            "a size in bytes that wraps",
            &one("[4611686018427387905]", "[0,4]"),
            4,
            "a size that fits 64 bits",
        ),
        text(
            "a dimension of 2^64",
            &one("[18446744073709551616]", "[0,0]"),
            0,
            "the header at byte",
        ),
        text("a negative dimension", &one("[-1]", "[0,0]"), 0, "`x`: invalid value: integer `-1`"),
        text(
            "a dimension with a fraction",
            &one("[1.5]", "[0,4]"),
            4,
            "`x`: invalid type: floating point",
        ),
        text("seventeen dimensions", &one(&rank_17, "[0,4]"), 4, "`x`: invalid length 17"),
        text(
            "a shape that its range does not hold",
            &one("[2]", "[0,4]"),
            4,
            "tensor `x`: expected 8 bytes for F32 [2]",
        ),
        text("a range that ends before it begins", &one("[1]", "[4,0]"), 4, "data_offsets [4, 0]"),
        text(
            "a range of 2^64-1 bytes",
            &one("[1]", "[0,18446744073709551615]"),
            4,
            "tensor `x`: expected 4 bytes",
        ),
        text(
            "an unknown type",
            r#"{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#,
            1,
            "tensor `x`: the type \"F8_E4M3\" is not supported",
        ),
        text(
            "an unknown field",
            r#"{"x":{"dtype":"U8","shape":[],"data_offsets":[0,1],"z":1}}"#,
            1,
            "`x`: unknown field `z`",
        ),
        text(
            "a missing field",
            r#"{"x":{"dtype":"U8","shape":[]}}"#,
            0,
            "`x`: missing field `data_offsets`",
        ),
        text(
            "a field twice",
            r#"{"x":{"dtype":"U8","dtype":"U8"}}"#,
            0,
            "`x`: duplicate field `dtype`",
        ),
        text("a name of 24 megabytes", &huge_name, 0, "the type \"?\" is not supported"),
        text(
            "metadata that is not strings",
            r#"{"__metadata__":{"a":1}}"#,
            0,
            "`__metadata__`: invalid type",
        ),
        text(
            "metadata with a key twice",
            r#"{"__metadata__":{"a":"","a":""}}"#,
            0,
            "the key `a` twice",
        ),
        text(
            "metadata twice",
            r#"{"__metadata__":{},"__metadata__":{}}"#,
            0,
            "duplicate field `__metadata__`",
        ),
        text("too many tensors", &many_tensors(65_537), 0, "invalid length 65537"),
        text(
            "as many tensors as may be, and a byte more",
            &many_tensors(65_536),
            1,
            "belong to no tensor",
        ),
        text("too many metadata strings", &many_strings(65_537), 0, "invalid length 65537"),
    ]
}
