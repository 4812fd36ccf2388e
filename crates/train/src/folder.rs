//! The run folder: whose it is, and whether it may be written.

use crate::{LearningRate, RunConfig, RunOptions, Start, TrainConfig, TrainError, checkpoint};
use std::fs::File;
use std::path::Path;
use sumi_formats::{FormatError, atomic};

/// A run folder that nobody else writes while this is held.
pub(crate) struct RunFolder<'a> {
    path: &'a Path,
    _lock: File,
}

impl<'a> RunFolder<'a> {
    /// Makes the folder ready, or refuses one that holds another run or is in use.
    pub(crate) fn open(config: &RunConfig, options: &RunOptions<'a>) -> Result<Self, TrainError> {
        let path = options.out;
        let refuse = |expected: &str, found: String| TrainError::Folder {
            path: path.into(),
            expected: expected.into(),
            found,
        };
        let held = what_is_there(path);
        match (options.start, held) {
            (Start::New, Some(file)) => {
                let found = format!(
                    "{file} of a run; add --resume to go on with it, or name another --out"
                );
                return Err(refuse("a new folder", found));
            }
            (Start::Resume, None) => {
                return Err(refuse(
                    "a run to resume",
                    "none; leave out --resume to start one".into(),
                ));
            }
            _ => {}
        }
        checkpoint::create_folder(&path.join("samples"))?;
        let lock = lock(path, refuse)?;
        let before = path.join("config.toml");
        if before.is_file()
            && let Some(part) = different(&RunConfig::read(&before, &[])?, config)
        {
            let found = format!("another {part} in its config.toml");
            return Err(refuse("the same run to resume", found));
        }
        Ok(Self { path, _lock: lock })
    }

    /// Leaves the resolved configuration.
    pub(crate) fn write_config(&self, config: &RunConfig) -> Result<(), TrainError> {
        let path = self.path.join("config.toml");
        Ok(atomic::write_bytes(&path, config.to_toml()?.as_bytes())?)
    }
}

/// The first thing in a folder that only a run leaves there.
fn what_is_there(path: &Path) -> Option<String> {
    let names = ["config.toml", "log.jsonl", "latest"];
    let file = names.into_iter().find(|name| path.join(name).exists()).map(String::from);
    file.or_else(|| {
        let newest = sumi_model::newest_checkpoint(path)?;
        Some(newest.file_name()?.to_string_lossy().into_owned())
    })
}

/// The lock goes with the process, however that ends.
fn lock(path: &Path, refuse: impl Fn(&str, String) -> TrainError) -> Result<File, TrainError> {
    let file = path.join(".lock");
    let io = |source| FormatError::Io { path: file.clone(), action: "open the file", source };
    let lock = File::create(&file).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(refuse("a folder that no other process trains in", "one that does".into()))
        }
        // A file system without locks: go on as before there were any.
        Err(std::fs::TryLockError::Error(_)) => Ok(lock),
    }
}

/// The first part in which two configurations are not the same run. How often a run reports and
/// what it keeps in memory may change, and how long it goes on where its learning rate does not
/// depend on that.
fn different(before: &RunConfig, now: &RunConfig) -> Option<&'static str> {
    let (was, is) = (&before.train, &now.train);
    let same_reporting = TrainConfig {
        steps: is.steps,
        checkpoint_blocks: is.checkpoint_blocks,
        log_every: is.log_every,
        checkpoint_every: is.checkpoint_every,
        keep_checkpoints: is.keep_checkpoints,
        eval_every: is.eval_every,
        ..was.clone()
    };
    let curve = was.steps != is.steps && was.schedule != LearningRate::Constant;
    let parts = [
        ("[data]", before.data != now.data),
        ("[process]", before.process != now.process),
        ("[objective]", before.objective != now.objective),
        ("[network]", before.network != now.network),
        ("train.steps, which shapes its learning rate,", curve),
        ("train.seed", was.seed != is.seed),
        ("train.batch_size", was.batch_size != is.batch_size),
        ("[train]", same_reporting != *is),
    ];
    parts.into_iter().find(|(_, differs)| *differs).map(|(part, _)| part)
}
