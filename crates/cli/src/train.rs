//! `sumi train`.

use crate::args::TrainArgs;
use crate::error::CliError;
use crate::output::{data, talk};
use crate::signals::Stop;
use crate::{device, progress};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use sumi_train::checkpoint::Best;
use sumi_train::{Evaluation, Event, NetworkConfig, Outcome, RunConfig, RunOptions, Start};

pub fn run(args: &TrainArgs) -> Result<(), CliError> {
    let config = RunConfig::read(&args.config, &args.set)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("runs").join(args.config.file_stem().unwrap_or_default()),
    };
    let device = device::open(args.device)?;
    let (pictures, held_out) = sumi_data::load_split(&config.data)?;
    if !args.json {
        talk(format_args!(
            "{} pictures of {} x {} px, channels: {}, classes: {}, held out: {}",
            pictures.len(),
            pictures.height_px,
            pictures.width_px,
            pictures.channels,
            pictures.class_names.len(),
            held_out.len()
        ));
    }
    let stop = Stop::listen()?;
    let requested = || stop.requested();
    let start = if args.resume { Start::Resume } else { Start::New };
    let options = RunOptions { out: &out, start, held_out: Some(&held_out), stop: &requested };
    let mut watch = Watch::new(config.train.batch_size, args.json);
    let outcome = sumi_train::run(&config, &pictures, &device, &options, &mut |event| {
        watch.see(event);
    });
    watch.done();
    let classifies = matches!(config.network, NetworkConfig::Classifier { .. });
    report(&outcome?, &out, args.json, classifies)
}

fn report(outcome: &Outcome, out: &Path, as_json: bool, classifies: bool) -> Result<(), CliError> {
    let checkpoint = outcome.checkpoint.display();
    if as_json {
        let mut line = json!({
            "event": "end",
            "finished": outcome.finished,
            "step": outcome.step,
            "checkpoint": outcome.checkpoint,
            "train_secs": outcome.train_secs,
        });
        if let Some(Best { step, score, .. }) = &outcome.best {
            line["best"] = json!({"path": out.join("best"), "step": step, "score": score});
        }
        data(line)?;
    } else {
        data(format_args!("{checkpoint}"))?;
    }
    if !as_json && let Some(Best { step, score, eval }) = &outcome.best {
        let (metric, path) = (eval.metric.name(), out.join("best"));
        talk(format_args!("best: {}, step {step}, {metric} {score:.5}", path.display()));
    }
    if !outcome.finished {
        talk(format_args!("stopped after step {}; go on with --resume", outcome.step));
    } else if !as_json && classifies {
        talk(format_args!("guide a model: sumi sample MODEL --classifier {}", out.display()));
    } else if !as_json {
        talk(format_args!("draw pictures: sumi sample {} --grid grid.png", out.display()));
    }
    Ok(())
}

/// Turns a run's events into a progress bar, or into lines of JSON.
pub struct Watch {
    bar: Option<indicatif::ProgressBar>,
    batch_size: usize,
    json: bool,
    loss: f64,
}

impl Watch {
    pub fn new(batch_size: usize, json: bool) -> Self {
        Self { bar: None, batch_size, json, loss: f64::NAN }
    }

    pub fn see(&mut self, event: Event) {
        if self.json {
            // A log that nobody can be shown does not stop the training.
            if let Err(error) = print_event(&event) {
                talk(format_args!("warning: {error}"));
            }
            return;
        }
        match event {
            Event::Start { step, steps, parameters } => {
                talk(format_args!("{parameters} parameters, steps {} to {steps}", step + 1));
                let bar = progress::bar("training", steps);
                bar.set_position(step);
                bar.reset_eta();
                self.bar = Some(bar);
            }
            Event::Step(report) => {
                // A single step's loss jumps about: show a short average.
                self.loss = match self.loss.is_nan() {
                    true => report.loss,
                    false => self.loss + 0.05 * (report.loss - self.loss),
                };
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                    let images_per_sec = bar.per_sec() * self.batch_size as f64;
                    bar.set_message(format!("loss {:.4}, {images_per_sec:.0} images/s", self.loss));
                }
            }
            Event::Evaluation(Evaluation { step, metric, score, best, eval_secs }) => {
                let best = if best { ", the best so far" } else { "" };
                let metric = metric.name();
                self.say(&format!("step {step}: {metric} {score:.5}{best} ({eval_secs:.1} s)"));
            }
            Event::Warning(warning) => self.say(&format!("warning: {warning}")),
            Event::Record(_) | Event::Checkpoint(_) | Event::Samples(_) => {}
        }
    }

    /// A line above the bar, where there is one.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| talk(line)),
            None => talk(line),
        }
    }

    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn print_event(event: &Event) -> Result<(), CliError> {
    let line = match event {
        Event::Start { step, steps, parameters } => {
            json!({"event": "start", "step": step, "steps": steps, "parameters": parameters})
        }
        Event::Step(_) => return Ok(()),
        Event::Record(record) => named("record", record),
        Event::Evaluation(evaluation) => named("evaluation", evaluation),
        Event::Warning(message) => json!({"event": "warning", "message": message}),
        Event::Checkpoint(path) => json!({"event": "checkpoint", "path": path}),
        Event::Samples(path) => json!({"event": "samples", "path": path}),
    };
    data(line)
}

fn named(event: &str, line: &impl Serialize) -> Value {
    let mut line = serde_json::to_value(line).unwrap_or_default();
    line["event"] = event.into();
    line
}
