//! DDPM's ablation (Table 2) on the digits: prediction, loss and variance. Writes its section of
//! `docs/results.md` and sheets of samples to `target`; `-- 1000` trains for 1000 steps.

use burn::tensor::Device;
use std::{error::Error, fs, ops::ControlFlow::Continue, time::Instant};
use sumi_data::Pictures;
use sumi_metrics::{Features, Mean, frechet_distance};
use sumi_model::{Classes, Generator, Known, Likelihood, Model, Plan, Request, SamplerChoice};
use sumi_pictures::{Picture, grid};
use sumi_train::{RunConfig, Trainer};

#[global_allocator] // the command's, so that times are its
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Digits = (Pictures, Pictures); // for training, and held out
type Outcome<T> = Result<T, Box<dyn Error>>;
const PRESET: &str = "presets/digits.toml";
const MARKER: &str = "<!-- crates/cli/examples/ablation.rs -->\n";
const DRAWN: usize = 300;
const STEPS: usize = 250;
const MEASURED: usize = 100;

fn main() -> Outcome<()> {
    let steps = std::env::args().nth(1).unwrap_or("500".into());
    let results = fs::read_to_string("docs/results.md")?;
    let parts: Vec<&str> = results.split(MARKER).collect();
    let [before, _, after] = parts[..] else { return Err("docs/results.md: no markers".into()) };
    let data = sumi_data::load_split(&RunConfig::read(PRESET.as_ref(), &[])?.data)?;
    let evenly: Vec<usize> = (0..DRAWN).map(|i| i * data.0.len() / DRAWN).collect();
    let few = distance(&data.0.subset(&evenly).pixels, data.0.max_value, &data)?;
    let mut table = format!(
        "\n{steps} training steps, {DRAWN} samples of {STEPS} steps, {MEASURED} held-out digits.\n\n\
         | prediction | loss | variance | Frechet distance (ratio) | bits/dim | training |\n\
         |---|---|---|---|---|---|\n| *{DRAWN} training digits* | | | {few} | | |\n"
    );
    for prediction in ["epsilon", "mean", "x0", "v"] {
        let (fixed, learned) = ("fixed_large", "learned_range");
        let losses = [("simple", fixed), ("hybrid", learned), ("vlb", fixed), ("vlb", learned)];
        for (loss, variance) in losses {
            let changes = format!(
                "process.prediction={prediction} process.variance={variance} sample.every=0 \
                 objective.loss={loss} train.steps={steps}"
            );
            let changes: Vec<String> = changes.split(' ').map(String::from).collect();
            let config = RunConfig::read(PRESET.as_ref(), &changes)?;
            let sheet = format!("target/ablation-{prediction}-{loss}-{variance}.png");
            let found = measure(config, &data, &sheet).or_else(not_finite)?;
            eprintln!("{prediction} {loss} {variance}: {found}");
            table += &format!("| {prediction} | {loss} | {variance} | {found}\n");
        }
    }
    Ok(fs::write("docs/results.md", [before, &table, after].join(MARKER))?)
}

/// The rest of a run's row.
fn measure(config: RunConfig, data: &Digits, sheet: &str) -> Outcome<String> {
    let (steps, started) = (config.train.steps, Instant::now());
    let mut trainer = Trainer::new(config, &data.0, &Device::flex())?;
    while trainer.step()?.step < steps {}
    let (model, secs) = (trainer.averaged_model(), started.elapsed().as_secs_f64());
    let choice = SamplerChoice { steps: Some(STEPS), ..SamplerChoice::default() };
    let plan = Plan::new(&model.scheduler, choice)?;
    let drawn = draw(&model, &plan, sheet, data).or_else(not_finite)?;
    let bound = bound(&model, &plan, &data.1).or_else(not_finite)?;
    Ok(format!("{drawn} | {bound} | {secs:.0} s |"))
}

/// Ancestral samples, and a sheet of a hundred, a class in each column.
fn draw(model: &Model, plan: &Plan, sheet: &str, data: &Digits) -> Outcome<String> {
    let asked = Request { count: DRAWN, batch: DRAWN, seed: 0, classes: Classes::All, noise: None };
    let drawn = Generator::new(model, plan, asked)?.next_batch(&mut ())?.ok_or("no samples")?;
    let pictures = drawn.samples.chunks(64).map(|x| Picture::from_unit_range(x, 1, 8, 8));
    let pictures = pictures.collect::<Result<Vec<_>, _>>()?;
    grid(&pictures[..100], 10, 5, 4)?.write_png(sheet)?;
    let pixels: Vec<u8> = pictures.into_iter().flat_map(|picture| picture.pixels).collect();
    distance(&pixels, u8::MAX, data)
}

/// The distance to the held-out digits, and how many times that of the training digits it is.
fn distance(pixels: &[u8], white: u8, (training, held_out): &Digits) -> Outcome<String> {
    let held_out = Features::from_pixels(64, &held_out.pixels, held_out.max_value)?;
    let from = |x, white| frechet_distance(&Features::from_pixels(64, x, white)?, &held_out);
    let (found, real) = (from(pixels, white)?, from(&training.pixels, training.max_value)?);
    Ok(format!("{found:.3} ({:.2})", found / real))
}

/// The variational bound, and its standard error over the digits.
fn bound(model: &Model, plan: &Plan, held_out: &Pictures) -> Outcome<String> {
    let (values, classes) = (&held_out.planes(0..MEASURED), &held_out.labels[..MEASURED]);
    let known = Known { values, classes, levels: usize::from(held_out.max_value) + 1, seed: 0 };
    let terms = Likelihood::new(model)?.bound(known, plan.limit, &mut |_| Continue(()))?;
    let Mean { mean, error } = Mean::of(&terms.totals());
    Ok(format!("{mean:.2} ± {error:.2}"))
}

/// A result like any other; all other errors stay errors.
fn not_finite(error: Box<dyn Error>) -> Outcome<String> {
    if error.to_string().contains("not finite") { Ok("not finite".into()) } else { Err(error) }
}
