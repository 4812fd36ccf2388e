//! The training loop.

use crate::checkpoint::{self, Best, State};
use crate::clock::Clock;
use crate::evaluate::{Evaluator, chosen};
use crate::folder::RunFolder;
use crate::log::Log;
use crate::sheet;
use crate::task::{Classifying, Denoising, Task};
use crate::{Evaluation, NetworkConfig, Record, RunConfig, StepReport, TrainError, Trainer};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use sumi_data::Pictures;
use sumi_formats::atomic;

/// Where a run leaves its files, and how it goes on.
pub struct RunOptions<'a> {
    /// The run folder.
    pub out: &'a Path,
    /// Whether there is a run to go on with.
    pub start: Start,
    /// Pictures that are not trained on, to measure against.
    pub held_out: Option<&'a Pictures>,
    /// Asked at every step, of training and of sampling; `true` ends the run with a checkpoint.
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
    /// The averaged weights were measured.
    Evaluation(Evaluation),
    /// Something that the measurements do not show, said once.
    Warning(&'a str),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether all steps were taken and nothing is left to be measured.
    pub finished: bool,
    /// Steps taken in all.
    pub step: u64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The best checkpoint, where any was measured.
    pub best: Option<Best>,
    /// Time spent training, over all resumptions.
    pub train_secs: f64,
}

/// Trains a network on `pictures` as `config` says, and leaves it in the run folder.
///
/// # Errors
/// A configuration that does not fit; a folder that already holds a run, or another run than the
/// one to resume; a file that cannot be written; a loss that is not finite; what `[eval]` asks for and
/// cannot be had, before the first step.
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
    let evaluator = open_evaluator((config, pictures, device), options, observe)?;
    let state = checkpoint::resume(&mut trainer, options.out)?.unwrap_or_default();
    folder.write_config(config)?;
    let (steps, parameters) = (config.train.steps, trainer.parameter_count());
    observe(Event::Start { step: trainer.step, steps, parameters });
    let log = Log::open(options.out, &state)?;
    let mut run = Going { trainer, evaluator, clock: Clock::new(state), log, options, last: None };

    // What a run that was stopped in the middle of it has left.
    if run.evaluate(observe)? {
        run.save()?;
    }
    while run.trainer.step < steps && !(options.stop)() {
        let report = run.trainer.step()?;
        run.clock.add(&report);
        observe(Event::Step(report));
        if run.is_due(config.train.log_every) {
            let record = run.clock.record(&report, config.train.batch_size);
            run.log.write(&record)?;
            observe(Event::Record(record));
        }
        // Before the checkpoint, which remembers the best.
        let is_best = run.evaluate(observe)?;
        if is_best || run.is_due(config.train.checkpoint_every) {
            observe(Event::Checkpoint(&run.save()?));
        }
        if run.is_due(config.sample.every)
            && let Some(path) = run.draw_samples()?
        {
            observe(Event::Samples(&path));
        }
    }
    run.end()
}

/// The evaluator, where there is to be one; says so where it measures what is trained on.
fn open_evaluator(
    (config, pictures, device): (&RunConfig, &Pictures, &Device),
    options: &RunOptions,
    observe: &mut dyn FnMut(Event),
) -> Result<Option<Evaluator>, TrainError> {
    if config.train.eval_every == 0 {
        return Ok(None);
    }
    let (against, warning) = chosen(config, pictures, options.held_out)?;
    if let Some(warning) = &warning {
        observe(Event::Warning(warning));
    }
    Evaluator::open(&config.eval, &against, device, options.stop).map(Some)
}

/// A run on its way.
struct Going<'a, T: Task> {
    trainer: Trainer<'a, T>,
    evaluator: Option<Evaluator>,
    clock: Clock,
    log: Log,
    options: &'a RunOptions<'a>,
    /// The last checkpoint that was written, and its step.
    last: Option<(u64, PathBuf)>,
}

impl<T: Task> Going<'_, T> {
    /// Whether what is done every so many steps and at the end is to be done now.
    fn is_due(&self, every: u64) -> bool {
        let step = self.trainer.step;
        let at_the_end = step == self.trainer.config.train.steps;
        every > 0 && step > 0 && (step.is_multiple_of(every) || at_the_end)
    }

    /// Whether the averaged weights are to be measured and were not yet.
    fn owes_evaluation(&self) -> bool {
        let done = self.clock.state.evaluated_step == self.trainer.step;
        self.evaluator.is_some() && self.is_due(self.trainer.config.train.eval_every) && !done
    }

    /// Measures the averaged weights where that is due, and says whether they are the best so far. A wish to stop
    /// leaves it to the next start.
    fn evaluate(&mut self, observe: &mut dyn FnMut(Event)) -> Result<bool, TrainError> {
        let Some(evaluator) = self.evaluator.as_ref().filter(|_| self.owes_evaluation()) else {
            return Ok(false);
        };
        let (score, eval_secs) =
            self.clock.stopped(|| evaluator.score(&self.trainer, self.options.stop));
        let Some(score) = score? else { return Ok(false) };
        let step = self.trainer.step;
        let best = self.clock.state.evaluated(step, score, evaluator.config());
        let metric = evaluator.config().metric;
        let evaluation = Evaluation { step, metric, score, best, eval_secs };
        self.log.write_evaluation(&evaluation)?;
        observe(Event::Evaluation(evaluation));
        Ok(best)
    }

    /// Writes a checkpoint, the log first, so that no checkpoint is ahead of its log.
    fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.log.sync()?;
        let trainer = &self.trainer;
        let state = State {
            step: trainer.step,
            position: trainer.position(),
            seed: trainer.config.train.seed,
            data: trainer.pictures.fingerprint(),
            train_secs: self.clock.train_secs(),
            ..self.clock.state.clone()
        };
        let keep = trainer.config.train.keep_checkpoints;
        let path = checkpoint::save(trainer, self.options.out, &state, keep)?;
        self.last = Some((trainer.step, path.clone()));
        Ok(path)
    }

    /// Leaves a sheet of samples, where the network draws any.
    fn draw_samples(&mut self) -> Result<Option<PathBuf>, TrainError> {
        let Some(sheet) = sheet::draw(&self.trainer, self.options)? else { return Ok(None) };
        let (step, png) = (self.trainer.step, sheet.png_bytes());
        let path = self.options.out.join(format!("samples/step-{step:07}.png"));
        atomic::write_bytes(&path, &png)?;
        self.log.image(step, "samples", &png)?;
        Ok(Some(path))
    }

    /// Makes sure that everything is in a checkpoint.
    fn end(mut self) -> Result<Outcome, TrainError> {
        let step = self.trainer.step;
        let checkpoint = match self.last.take() {
            Some((saved, path)) if saved == step => path,
            _ => self.save()?,
        };
        Ok(Outcome {
            finished: step >= self.trainer.config.train.steps && !self.owes_evaluation(),
            step,
            checkpoint,
            best: self.clock.state.best.clone(),
            train_secs: self.clock.train_secs(),
        })
    }
}
