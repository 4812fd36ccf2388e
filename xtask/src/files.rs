//! Checks of files as files: their size, and the links between them.

use crate::tools::output;
use crate::{Result, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// No tracked file is larger.
const MAX_BYTES: u64 = 1 << 20;

/// A source file that is longer is probably two.
const MANY_LINES: usize = 500;

/// Checks every file of the repository that git does not ignore.
///
/// # Errors
/// All files that are too large and all links that lead nowhere.
pub fn check() -> Result<()> {
    let list = output(Command::new("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut problems = Vec::new();
    let (mut count, mut links) = (0, 0);
    for name in list.split_terminator('\0') {
        let path = root().join(name);
        // A file that is deleted but not yet committed so is still listed.
        let Ok(metadata) = path.metadata() else { continue };
        count += 1;
        if metadata.len() > MAX_BYTES {
            problems.push(format!("{name}: {} bytes, at most {MAX_BYTES} allowed", metadata.len()));
        }
        let read = || std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"));
        if name.ends_with(".rs") {
            let lines = read()?.lines().count();
            if lines > MANY_LINES {
                println!("warning: {name}: {lines} lines, more than {MANY_LINES}");
            }
        }
        if name.ends_with(".md") {
            let text = read()?;
            let folder = path.parent().unwrap_or(Path::new(""));
            links += relative_links(&text).len();
            problems.extend(dead_links(&text, folder).into_iter().map(|l| format!("{name}: {l}")));
        }
    }
    println!("{count} files, {links} links between them");
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n")),
    }
}

/// The targets of Markdown's `[text](target)` that are files, without their `#part`.
fn relative_links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    });
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

fn dead_links(text: &str, folder: &Path) -> Vec<String> {
    let dead = |target: &&str| !PathBuf::from(folder).join(target).exists();
    let targets = relative_links(text).into_iter().filter(dead);
    targets.map(|target| format!("a link to {target}, which is not there")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "See [a](a.md), [b](sub/b.md#part), [there](https://example.org/x) and\n\
        [here](#part).\n```\n[not](a-link)\n```\n![picture](p.png)";

    #[test]
    fn links_between_files_are_found() {
        assert_eq!(relative_links(TEXT), ["a.md", "sub/b.md", "p.png"]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.md"), "").unwrap();
        let dead = dead_links(TEXT, folder.path());
        assert_eq!(dead.len(), 2);
        assert_eq!(dead[0], "a link to sub/b.md, which is not there");
    }
}
