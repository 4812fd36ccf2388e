//! `sumi demo`: the whole way from real handwriting to a report.

mod measure;
mod pictures;
mod report;

use crate::args::DemoArgs;
use crate::device;
use crate::error::CliError;
use crate::output::{data, talk};
use crate::sample::{Drawn, Outputs, draw};
use crate::signals::Stop;
use crate::train::Watch;
use burn::tensor::Device;
use measure::Measures;
use std::path::Path;
use std::time::Instant;
use sumi_data::Pictures;
use sumi_model::{Classes, Model, Plan, Request, SamplerChoice};
use sumi_process::ReverseVariance;
use sumi_sampler::{Sampler, SamplerKind};
use sumi_train::{Outcome, RunConfig, RunOptions, Start};

const PRESET: &str = include_str!("../../../../presets/digits.toml");
/// Samples of each kind, and how many are drawn at a time.
const DDIM_COUNT: usize = 1000;
const DDPM_COUNT: usize = 100;
const BATCH: usize = 100;
const ANCESTRAL: Sampler = Sampler::Ddpm { variance: ReverseVariance::FixedSmall };

/// Everything that the report is made of.
struct Results {
    config: RunConfig,
    parameters: usize,
    outcome: Outcome,
    ddim: Timed,
    ddpm: Timed,
    measures: Measures,
    ancestral: Measures,
}

/// Samples and how long they took.
struct Timed {
    drawn: Drawn,
    steps: usize,
    secs: f64,
}

pub fn run(args: &DemoArgs) -> Result<(), CliError> {
    let mut changes = vec![format!("train.seed={}", args.seed)];
    changes.extend(args.set.iter().cloned());
    let config = RunConfig::parse(PRESET, "presets/digits.toml", &changes)?;
    let device = device::open(args.device)?;
    let (training, held_out) = sumi_data::load_split(&config.data)?;
    talk(format_args!(
        "{} handwritten digits of {} x {} px to learn from, {} held out; everything goes to {}",
        training.len(),
        training.height_px,
        training.width_px,
        held_out.len(),
        args.out.display()
    ));
    let stop = Stop::listen()?;
    let Some(outcome) = train(&config, &training, &device, &args.out, &stop)? else {
        return Ok(());
    };
    let model = save_model(&outcome, &device, &args.out)?;

    let ddim = sample(&model, Sampler::Ddim { eta: 0.0 }, DDIM_COUNT, &args.out, &stop)?;
    let ddpm = sample(&model, ANCESTRAL, DDPM_COUNT, &args.out, &stop)?;
    let measures = Measures::new(&ddim.drawn, &training, &held_out)?;
    let ancestral = Measures::new(&ddpm.drawn, &training, &held_out)?;
    let parameters = burn::module::Module::num_params(&model.unet);
    let results = Results { config, parameters, outcome, ddim, ddpm, measures, ancestral };
    pictures::write(&results, &training, &args.out)?;
    report::write(&results, &training, &args.out)?;
    conclude(&results, &args.out)
}

/// Trains in `out/run`, going on where an earlier demo stopped; `None` where this one was stopped.
fn train(
    config: &RunConfig,
    training: &Pictures,
    device: &Device,
    out: &Path,
    stop: &Stop,
) -> Result<Option<Outcome>, CliError> {
    let requested = || stop.requested();
    let run = out.join("run");
    let (start, held_out) = (Start::ResumeOrNew, None);
    let options = RunOptions { out: &run, start, held_out, stop: &requested };
    let mut watch = Watch::new(config.train.batch_size, false);
    let outcome = sumi_train::run(config, training, device, &options, &mut |event| {
        watch.see(event);
    });
    watch.done();
    let outcome = outcome?;
    if !outcome.finished {
        talk(format_args!(
            "stopped after step {}; the same command goes on from there",
            outcome.step
        ));
        return Ok(None);
    }
    Ok(Some(outcome))
}

/// Leaves the averaged model, without the trainer's state, in `out/model`.
fn save_model(outcome: &Outcome, device: &Device, out: &Path) -> Result<Model, CliError> {
    let model = Model::open(&outcome.checkpoint, device)?;
    let folder = out.join("model");
    std::fs::create_dir_all(&folder).map_err(|error| {
        CliError::Failed(format!("{}: cannot create the folder: {error}", folder.display()))
    })?;
    model.save(&folder)?;
    Ok(model)
}

/// Draws `count` samples, as many of every class, and leaves their pixels in `out`.
fn sample(
    model: &Model,
    sampler: Sampler,
    count: usize,
    out: &Path,
    stop: &Stop,
) -> Result<Timed, CliError> {
    let kind = SamplerKind::from(sampler);
    let choice = SamplerChoice { kind: Some(kind), ..SamplerChoice::default() };
    let plan = Plan::new(&model.scheduler, choice)?;
    let request = Request { count, batch: BATCH, seed: 0, classes: Classes::All, noise: None };
    let outputs = Outputs {
        npz: Some(out.join(format!("{}.npz", kind.name))),
        gif: (!sampler.adds_noise()).then(|| out.join("film.gif")),
        ..Outputs::default()
    };
    let started = Instant::now();
    let drawn = draw(model, &plan, request, &outputs, stop)?;
    let secs = started.elapsed().as_secs_f64();
    outputs.write(&drawn, model)?;
    Ok(Timed { drawn, steps: plan.grid.len(), secs })
}

fn conclude(results: &Results, out: &Path) -> Result<(), CliError> {
    let measures = &results.measures;
    let out = out.display();
    talk(format_args!(
        "trained {:.0} s, drew {DDIM_COUNT} samples in {:.1} s (DDIM, {} steps) and {DDPM_COUNT} in \
         {:.1} s (ancestral, {} steps)",
        results.outcome.train_secs,
        results.ddim.secs,
        results.ddim.steps,
        results.ddpm.secs,
        results.ddpm.steps
    ));
    talk(format_args!(
        "{:.1} % of the samples read as their class by their nearest real digit (real held-out \
         digits: {:.1} %)\nFrechet distance to held-out digits: {:.2} times that of the training digits",
        100.0 * measures.recognised,
        100.0 * measures.recognised_held_out,
        measures.frechet_ratio()
    ));
    data(format_args!("{out}/report.html"))?;
    talk(format_args!(
        "look at {out}/report.html, {out}/grid.png and {out}/film.gif; then try\n  \
         sumi sample {out}/model --class 7 --grid sevens.png\n  \
         sumi sample {out}/model --sampler ddim --steps 10 --gif film.gif\n  \
         sumi inspect {out}/model"
    ));
    Ok(())
}
