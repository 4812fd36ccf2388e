//! `log.jsonl` and the TensorBoard events beside it.

use crate::checkpoint::State;
use crate::{Metric, TrainError};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use sumi_formats::{FormatError, atomic};
use sumi_pictures::tensorboard::EventWriter;

/// One line of the log, of the training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps taken.
    pub step: u64,
    /// The mean loss since the record before.
    pub loss: f64,
    /// The norm of the gradients at this step, before clipping.
    pub gradient_norm: f64,
    /// The learning rate at this step.
    pub learning_rate: f64,
    /// The share of this step's batch whose class was told rightly, where a classifier is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Pictures trained on a second, since the record before.
    pub images_per_sec: f64,
    /// Time spent training since the first step, over all resumptions.
    pub train_secs: f64,
}

/// What the averaged weights were found to be worth: the other kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps taken.
    pub step: u64,
    /// What was measured.
    pub metric: Metric,
    /// Its value: the lower the better.
    pub score: f64,
    /// Whether none before it was as low.
    pub best: bool,
    /// Time that it took, which does not count as training.
    pub eval_secs: f64,
}

/// A line of the log.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Record(Record),
    Evaluation(Evaluation),
}

impl Line {
    /// Whether a run that stands at `state` has written it.
    fn is_behind(&self, state: &State) -> bool {
        match self {
            Self::Record(record) => record.step <= state.step,
            Self::Evaluation(evaluation) => evaluation.step <= state.evaluated_step,
        }
    }
}

/// Appends to both logs.
pub(crate) struct Log {
    path: PathBuf,
    lines: File,
    events: EventWriter,
}

impl Log {
    /// Opens the logs of the run folder `out`. What lies after `state`, written by a run that died, is cut off and will be written again.
    pub(crate) fn open(out: &Path, state: &State) -> Result<Self, TrainError> {
        let path = out.join("log.jsonl");
        if path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|e| io(&path, "read", e))?;
            let kept: String = text
                .lines()
                .filter(|line| {
                    serde_json::from_str::<Line>(line).is_ok_and(|line| line.is_behind(state))
                })
                .flat_map(|line| [line, "\n"])
                .collect();
            if kept != text {
                atomic::write_bytes(&path, kept.as_bytes())?;
            }
        }
        let lines = OpenOptions::new().create(true).append(true).open(&path);
        let lines = lines.map_err(|e| io(&path, "open", e))?;
        let events = match state.step {
            0 => EventWriter::create(out)?,
            step => EventWriter::append(out, step + 1)?,
        };
        Ok(Self { lines, path, events })
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        self.line(record)?;
        let scalars = [
            ("train/loss", record.loss),
            ("train/gradient_norm", record.gradient_norm),
            ("train/learning_rate", record.learning_rate),
            ("train/images_per_sec", record.images_per_sec),
        ];
        let accuracy = record.accuracy.map(|accuracy| ("train/accuracy", accuracy));
        for (tag, value) in scalars.into_iter().chain(accuracy) {
            self.events.scalar(record.step, now_secs(), tag, value as f32)?;
        }
        Ok(self.events.flush()?)
    }

    pub(crate) fn write_evaluation(&mut self, evaluation: &Evaluation) -> Result<(), TrainError> {
        self.line(evaluation)?;
        let Evaluation { step, metric, score, .. } = *evaluation;
        self.events.scalar(step, now_secs(), &format!("eval/{}", metric.name()), score as f32)?;
        Ok(self.events.flush()?)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), TrainError> {
        // Finite numbers only, which always serialise.
        let line = serde_json::to_string(line).unwrap_or_default();
        writeln!(self.lines, "{line}").map_err(|e| io(&self.path, "write", e))
    }

    pub(crate) fn image(&mut self, step: u64, tag: &str, png: &[u8]) -> Result<(), TrainError> {
        Ok(self.events.image(step, tag, png)?)
    }

    /// Makes sure that what was written survives a power cut.
    pub(crate) fn sync(&mut self) -> Result<(), TrainError> {
        self.lines.sync_data().map_err(|e| io(&self.path, "write", e))
    }
}

fn now_secs() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn io(path: &Path, action: &'static str, source: std::io::Error) -> TrainError {
    FormatError::Io { path: path.into(), action, source }.into()
}
