//! Holds `crates/README.md`, the map of the crates, against `cargo metadata`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A crate of the workspace, by what its manifest says.
struct Crate {
    /// Its folder under `crates/`.
    folder: String,
    description: String,
    /// The crates of the workspace that it is built from, without those for tests.
    needs: Vec<String>,
    /// Everything else that it is built from.
    outside: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every crate under `crates/`, by its package's name.
fn crates() -> BTreeMap<String, Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_string();
        let manifest = text("manifest_path").replace('\\', "/");
        let Some((_, folder)) = manifest.trim_end_matches("/Cargo.toml").rsplit_once("/crates/")
        else {
            continue;
        };
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|d| d["kind"].is_null());
        let (needs, outside) = normal.partition(|d| d["path"].is_string());
        let names =
            |of: Vec<&Value>| of.iter().map(|d| d["name"].as_str().unwrap().to_string()).collect();
        let found = Crate {
            folder: folder.to_string(),
            description: text("description"),
            needs: names(needs),
            outside: names(outside),
        };
        crates.insert(text("name"), found);
    }
    crates
}

/// The lines of the map: package, folder, what it is for.
fn map() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(root().join("crates/README.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| [`"));
    rows.map(|row| {
        let (name, rest) = row.split_once("`](").unwrap();
        let (folder, rest) = rest.split_once(") | ").unwrap();
        (name.to_string(), folder.to_string(), rest.trim_end_matches(" |").to_string())
    })
    .collect()
}

#[test]
fn the_map_has_every_crate_as_its_manifest_describes_it() {
    let (crates, map) = (crates(), map());
    for (name, folder, description) in &map {
        let Some(found) = crates.get(name) else { panic!("{name} is on the map only") };
        assert_eq!(&found.folder, folder, "{name}");
        assert_eq!(&found.description, description, "{name}: manifest against map");
    }
    for name in crates.keys() {
        let lines = map.iter().filter(|(on_map, _, _)| on_map == name).count();
        assert_eq!(lines, 1, "{name}: lines on the map");
    }
}

#[test]
fn the_map_is_in_dependency_order() {
    let crates = crates();
    let mut above: Vec<String> = Vec::new();
    for (name, _, _) in map() {
        for needed in &crates[&name].needs {
            assert!(above.contains(needed), "{name} needs {needed}, which is not above it");
        }
        above.push(name);
    }
}

#[test]
fn crates_keep_to_their_rooms() {
    let crates = crates();
    let all_needs = |name: &str| {
        let mut found = vec![name.to_string()];
        let mut next = 0;
        while let Some(name) = found.get(next) {
            let more = crates[name].needs.iter().filter(|n| !found.contains(n));
            let more: Vec<String> = more.cloned().collect();
            found.extend(more);
            next += 1;
        }
        found
    };
    for (name, never) in [
        ("sumi-process", &["sumi-random", "sumi-formats", "sumi-networks"][..]),
        ("sumi-sampler", &["sumi-networks", "sumi-nn", "sumi-kernels", "sumi-formats"]),
        ("sumi-kernels", &["sumi-nn", "sumi-networks"]),
        ("sumi-networks", &["sumi-process", "sumi-sampler", "sumi-formats"]),
    ] {
        let needs = all_needs(name);
        for other in never {
            assert!(!needs.contains(&other.to_string()), "{name} must not know {other}");
        }
    }
    for name in ["sumi-process", "sumi-random", "sumi-sampler"] {
        for needed in all_needs(name) {
            let outside = &crates[&needed].outside;
            assert!(!outside.iter().any(|o| o == "burn"), "{name} must not know Burn");
        }
    }
    for (name, found) in &crates {
        assert!(!found.needs.contains(&"sumi-testkit".into()), "{name}: testkit is for tests only");
    }
}
