//! DDPM's ablation (Table 2) on the digits: prediction, loss and variance. Writes its section of
//! `docs/results.md`, and sheets of samples to `target/ablation`; `-- --steps N` trains longer.
//!
//! ```text
//! cargo run --release --example ablation
//! ```

use burn::tensor::Device;
use std::{error::Error, fs, ops::ControlFlow, time::Instant};
use sumi_data::Pictures;
use sumi_metrics::{Features, Mean, frechet_distance};
use sumi_model::{Classes, Generator, Known, Likelihood, Model, Plan, Request};
use sumi_pictures::{Picture, grid};
use sumi_train::{RunConfig, Trainer};

/// The command's: the system's would take a quarter of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PRESET: &str = include_str!("../../../presets/digits.toml");
const MARKERS: [&str; 2] =
    ["<!-- ablation: written by its example -->\n", "<!-- ablation: end -->"];
const SAMPLES: usize = 400;
const MEASURED: usize = 120;

fn main() -> Outcome<()> {
    let steps = std::env::args().skip_while(|arg| arg != "--steps").nth(1);
    let steps: u64 = steps.map_or(Ok(500), |steps| steps.parse())?;
    let results = fs::read_to_string("docs/results.md")?;
    let (before, old) = results.split_once(MARKERS[0]).ok_or("docs/results.md: no marker")?;
    let (_, after) = old.split_once(MARKERS[1]).ok_or("docs/results.md: no second marker")?;
    fs::create_dir_all("target/ablation")?;
    let data = sumi_data::load_split(&RunConfig::parse(PRESET, "digits.toml", &[])?.data)?;
    let few = Features::from_pixels(64, &data.0.pixels[..64 * SAMPLES], data.0.max_value)?;
    let mut table = format!(
        "\n{steps} steps each, {SAMPLES} ancestral samples, the bound on {MEASURED} digits.\n\n\
         | prediction | loss | variance | Frechet distance (ratio) | bits/dim | training |\n\
         |---|---|---|---|---|---|\n| *{SAMPLES} training digits* | | | {} | | |\n",
        distance(&few, &data)?
    );
    for prediction in ["epsilon", "mean", "x0", "v"] {
        // The simple loss cannot teach a variance; the hybrid adds as little as does.
        let (fixed, learned) = ("fixed_large", "learned_range");
        let losses = [("simple", fixed), ("hybrid", learned), ("vlb", fixed), ("vlb", learned)];
        for (loss, variance) in losses {
            let changes = format!(
                "process.prediction={prediction} process.variance={variance} sample.every=0 \
                 objective.loss={loss} train.steps={steps}"
            );
            let changes: Vec<String> = changes.split(' ').map(String::from).collect();
            let config = RunConfig::parse(PRESET, "digits.toml", &changes)?;
            let sheet = format!("target/ablation/{prediction}-{loss}-{variance}.png");
            let found = finite(measure(config, &data, &sheet))?;
            let row = format!("| {prediction} | {loss} | {variance} | {found}");
            eprintln!("{row}");
            table += &(row + "\n");
        }
    }
    Ok(fs::write("docs/results.md", [before, MARKERS[0], &table, MARKERS[1], after].concat())?)
}

/// The rest of a run's row.
fn measure(config: RunConfig, data: &(Pictures, Pictures), sheet: &str) -> Outcome<String> {
    let (steps, started) = (config.train.steps, Instant::now());
    let mut trainer = Trainer::new(config, &data.0, &Device::flex())?;
    while trainer.steps_taken() < steps {
        trainer.step()?;
    }
    let (model, secs) = (trainer.averaged_model(), started.elapsed().as_secs_f64());
    let plan = Plan::new(&model.scheduler, Default::default())?;
    let drawn = draw(&model, &plan, sheet).and_then(|samples| distance(&samples, data));
    let (drawn, bound) = (finite(drawn)?, finite(bound(&model, &plan, &data.1))?);
    Ok(format!("{drawn} | {bound} | {secs:.0} s |"))
}

/// What is not finite is told, not fatal.
fn finite(outcome: Outcome<String>) -> Outcome<String> {
    outcome.or_else(|error| match error.to_string() {
        message if message.contains("not finite") => Ok("not finite".into()),
        _ => Err(error),
    })
}

/// Samples through all timesteps, and a sheet of a hundred, a class in each column.
fn draw(model: &Model, plan: &Plan, sheet: &str) -> Outcome<Features> {
    let (count, classes) = (SAMPLES, Classes::All);
    let request = Request { count, batch: count, seed: 0, classes, noise: None };
    let drawn = Generator::new(model, plan, request)?.next_batch(&mut ())?.ok_or("no samples")?;
    let pictures = drawn.samples.chunks(64).map(|x| Picture::from_unit_range(x, 1, 8, 8));
    let pictures = pictures.collect::<Result<Vec<_>, _>>()?;
    grid(&pictures[..100], 10, 5, 4)?.write_png(sheet)?;
    let pixels: Vec<u8> = pictures.into_iter().flat_map(|picture| picture.pixels).collect();
    Ok(Features::from_pixels(64, &pixels, u8::MAX)?)
}

/// The distance to the held-out digits, and how many times that of the training digits it is.
fn distance(samples: &Features, data: &(Pictures, Pictures)) -> Outcome<String> {
    let real = |p: &Pictures| Features::from_pixels(64, &p.pixels, p.max_value);
    let (training, held_out) = (real(&data.0)?, real(&data.1)?);
    let found = frechet_distance(samples, &held_out)?;
    Ok(format!("{found:.3} ({:.2})", found / frechet_distance(&training, &held_out)?))
}

/// The variational bound, and its standard error over the digits.
fn bound(model: &Model, plan: &Plan, held_out: &Pictures) -> Outcome<String> {
    let (values, classes) = (&held_out.planes(0..MEASURED), &held_out.labels[..MEASURED]);
    let known = Known { values, classes, levels: usize::from(held_out.max_value) + 1, seed: 0 };
    let mut go_on = |_| ControlFlow::Continue(());
    let bound = Likelihood::new(model)?.bound(known, plan.limit, &mut go_on)?;
    let Mean { mean, error } = Mean::of(&bound.totals());
    Ok(format!("{mean:.2} ± {error:.2}"))
}
