//! The training loop.

use crate::checkpoint::{self, State};
use crate::folder::RunFolder;
use crate::log::Log;
use crate::task::{Classifying, Denoising, Task};
use crate::{NetworkConfig, Record, RunConfig, StepReport, TrainError, Trainer};
use burn::tensor::Device;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use sumi_data::Pictures;
use sumi_formats::atomic;
use sumi_model::{Batch, Classes, Generator, ModelError, POINT, Plan, Request};
use sumi_pictures::{GridOptions, Picture, PictureError, Plane, sheet_layout};
use sumi_sampler::Moment;

/// The side of a sheet of points, and how many points of the data stand behind them.
const POINTS_PX: usize = 480;
const POINTS_BEHIND: usize = 4000;

/// Where a run leaves its files, and how it goes on.
pub struct RunOptions<'a> {
    /// The run folder.
    pub out: &'a Path,
    /// Whether there is a run to go on with.
    pub start: Start,
    /// Asked at every step; `true` ends the run with a checkpoint.
    pub stop: &'a dyn Fn() -> bool,
}

/// Whether there is a run to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// There must not be one.
    New,
    /// There must be one; it goes on from its newest checkpoint.
    Resume,
    /// Go on with the one that is there, or start one.
    ResumeOrNew,
}

/// What happens in a run.
pub enum Event<'a> {
    /// It starts, or goes on from a checkpoint.
    Start {
        /// Steps taken before.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Parameters of the network.
        parameters: usize,
    },
    /// A step was taken.
    Step(StepReport),
    /// A line was logged.
    Record(Record),
    /// A checkpoint was written.
    Checkpoint(&'a Path),
    /// A sheet of samples was drawn.
    Samples(&'a Path),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether all steps were taken.
    pub finished: bool,
    /// Steps taken in all.
    pub step: u64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Time spent training, over all resumptions.
    pub train_secs: f64,
}

/// Trains a network on `pictures` as `config` says, and leaves it in the run folder.
///
/// # Errors
/// A configuration that does not fit; a folder that already holds a run, or another run than the
/// one to resume; a file that cannot be written; a loss that is not finite.
pub fn run(
    config: &RunConfig,
    pictures: &Pictures,
    device: &Device,
    options: &RunOptions,
    observe: &mut dyn FnMut(Event),
) -> Result<Outcome, TrainError> {
    match config.network {
        NetworkConfig::Unet { .. } => {
            run_task::<Denoising>(config, pictures, device, options, observe)
        }
        NetworkConfig::Classifier { .. } => {
            run_task::<Classifying>(config, pictures, device, options, observe)
        }
    }
}

fn run_task<T: Task>(
    config: &RunConfig,
    pictures: &Pictures,
    device: &Device,
    options: &RunOptions,
    observe: &mut dyn FnMut(Event),
) -> Result<Outcome, TrainError> {
    let mut trainer = Trainer::<T>::for_task(config.clone(), pictures, device)?;
    let folder = RunFolder::open(config, options)?;
    let state = checkpoint::resume(&mut trainer, options.out)?.unwrap_or_default();
    folder.write_config(config)?;
    let (steps, parameters) = (config.train.steps, trainer.parameter_count());
    observe(Event::Start { step: trainer.step, steps, parameters });
    let mut clock = Clock::new(state.clone());
    let mut log = Log::open(options.out, &state)?;

    let mut last = None;
    while trainer.step < steps && !(options.stop)() {
        let report = trainer.step()?;
        clock.add(&report);
        observe(Event::Step(report));
        let due =
            |every: u64| every > 0 && (report.step.is_multiple_of(every) || report.step == steps);
        if due(config.train.log_every) {
            let record = clock.record(&report, config.train.batch_size);
            log.write(&record)?;
            observe(Event::Record(record));
        }
        if due(config.train.checkpoint_every) {
            let path = save(&trainer, &clock, options.out, &mut log)?;
            observe(Event::Checkpoint(&path));
            last = Some((trainer.step, path));
        }
        if due(config.sample.every)
            && let Some(path) = draw_samples(&trainer, options, &mut log)?
        {
            observe(Event::Samples(&path));
        }
    }
    let finished = trainer.step >= steps;
    let checkpoint = match last {
        Some((step, path)) if step == trainer.step => path,
        _ => save(&trainer, &clock, options.out, &mut log)?,
    };
    Ok(Outcome { finished, step: trainer.step, checkpoint, train_secs: clock.train_secs() })
}

/// Writes a checkpoint, the log first, so that no checkpoint is ahead of its log.
fn save<T: Task>(
    trainer: &Trainer<T>,
    clock: &Clock,
    out: &Path,
    log: &mut Log,
) -> Result<PathBuf, TrainError> {
    log.sync()?;
    let state = State {
        step: trainer.step,
        position: trainer.position(),
        seed: trainer.config.train.seed,
        data: trainer.pictures.fingerprint(),
        train_secs: clock.train_secs(),
        ..clock.state.clone()
    };
    let keep = trainer.config.train.keep_checkpoints;
    checkpoint::save(trainer, out, &state, keep)
}

/// Draws a sheet of samples with the averaged weights; `None` where the network draws nothing, or
/// the run is to stop first.
fn draw_samples<T: Task>(
    trainer: &Trainer<T>,
    options: &RunOptions,
    log: &mut Log,
) -> Result<Option<PathBuf>, TrainError> {
    let sample = &trainer.config.sample;
    let network = trainer.averaged_network();
    let Some(model) = trainer.task.model(network, trainer.scheduler(), trainer.card()) else {
        return Ok(None);
    };
    let plan = Plan::new(&model.scheduler, sample.choice())?;
    let request = Request {
        count: sample.count,
        batch: trainer.config.train.batch_size,
        seed: sample.seed,
        classes: Classes::All,
        noise: None,
    };
    let mut generator = Generator::new(&model, &plan, request)?;
    let (mut samples, mut classes) = (Vec::new(), Vec::new());
    let mut watch = |_: Moment<'_, Batch>| match (options.stop)() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    loop {
        let batch = match generator.next_batch(&mut watch) {
            Err(ModelError::Cancelled) => return Ok(None),
            other => other?,
        };
        let Some(batch) = batch else { break };
        classes.extend(batch.classes);
        samples.extend(batch.samples);
    }
    let sheet = match generator.dims() {
        POINT => points(&samples, &classes, trainer),
        dims => sheet(&samples, &classes, dims),
    }?;
    let png = sheet.png_bytes();
    let path = options.out.join(format!("samples/step-{:07}.png", trainer.step));
    atomic::write_bytes(&path, &png)?;
    log.image(trainer.step, "samples", &png)?;
    Ok(Some(path))
}

/// Samples as pictures, a row a class.
fn sheet(samples: &[f32], classes: &[u32], [c, h, w]: [usize; 3]) -> Result<Picture, PictureError> {
    let each = c * h * w;
    let (order, columns) = sheet_layout(classes, samples.len() / each);
    let picture = |i: usize| Picture::from_unit_range(&samples[i * each..(i + 1) * each], c, h, w);
    let pictures = order.into_iter().map(picture).collect::<Result<Vec<_>, _>>()?;
    let scale = (64 / h.max(1)).clamp(1, 4);
    GridOptions { columns, scale, ..GridOptions::default() }.draw(&pictures)
}

/// Samples as points of the plane, in front of some of the data.
fn points<T: Task>(
    samples: &[f32],
    classes: &[u32],
    trainer: &Trainer<T>,
) -> Result<Picture, PictureError> {
    let shown = trainer.pictures.len().min(POINTS_BEHIND);
    let data: Vec<f32> = (0..shown).flat_map(|i| trainer.pictures.scaled(i)).collect();
    let title = format!("step {}: {} points, data grey", trainer.step, samples.len() / 2);
    let plane = Plane::of_samples(samples, classes).in_front_of(&data);
    Plane { title, ..plane }.draw(POINTS_PX)
}

/// Keeps the time and the losses since the last record.
struct Clock {
    state: State,
    started: Instant,
    window_started: Instant,
    /// Steps since then: fewer than the window's where a run goes on in the middle of one.
    steps_here: u64,
}

impl Clock {
    fn new(state: State) -> Self {
        let now = Instant::now();
        Self { state, started: now, window_started: now, steps_here: 0 }
    }

    fn train_secs(&self) -> f64 {
        self.state.train_secs + self.started.elapsed().as_secs_f64()
    }

    fn add(&mut self, report: &StepReport) {
        self.state.window_loss += report.loss;
        self.state.window_steps += 1;
        self.steps_here += 1;
    }

    fn record(&mut self, report: &StepReport, batch_size: usize) -> Record {
        let steps = self.state.window_steps.max(1) as f64;
        let loss = self.state.window_loss / steps;
        let secs = self.window_started.elapsed().as_secs_f64();
        self.window_started = Instant::now();
        let images = (self.steps_here * batch_size as u64) as f64;
        (self.state.window_loss, self.state.window_steps, self.steps_here) = (0.0, 0, 0);
        Record {
            step: report.step,
            loss,
            gradient_norm: report.gradient_norm,
            learning_rate: report.learning_rate,
            accuracy: report.accuracy,
            images_per_sec: images / secs.max(1e-9),
            train_secs: self.train_secs(),
        }
    }
}
