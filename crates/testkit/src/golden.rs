//! Golden files: numbers that another program computed.

use std::path::PathBuf;

use serde_json::Value;

/// Reads the JSON file `path`, relative to the folder of the crate under test.
///
/// # Panics
/// If the file cannot be read or is not JSON.
#[track_caller]
pub fn load(path: &str) -> Value {
    let path = resolve(path);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()))
}

/// The numbers in `value`, a number or nested arrays of numbers, in order.
///
/// # Panics
/// If anything else is met.
#[track_caller]
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) if number.as_f64().is_some() => number.as_f64().into_iter().collect(),
        other => panic!("a golden file has {other} where a number was expected"),
    }
}

/// `path` in the folder of the crate under test, which cargo names in the environment of its tests.
fn resolve(path: &str) -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_arrays_are_flattened() {
        let value = serde_json::json!([[1, 2.5], [], -3]);
        assert_eq!(numbers(&value), [1.0, 2.5, -3.0]);
    }

    #[test]
    #[should_panic(expected = "a golden file has null where a number was expected")]
    fn a_hole_is_refused() {
        numbers(&serde_json::json!([1, null]));
    }

    #[test]
    #[should_panic(expected = "testdata/absent.json")]
    fn a_missing_file_is_named() {
        load("testdata/absent.json");
    }
}
