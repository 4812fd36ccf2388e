//! `sumi sample`.

mod look;

use crate::args::{ClassArg, GuidanceArgs, SampleArgs};
use crate::error::CliError;
use crate::output::{data, talk};
use crate::signals::Stop;
use crate::{device, edit, progress};
use burn::tensor::Device;
use look::{Frame, Look};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use sumi_formats::{NamedTensor, TensorMap, npz, safetensors};
use sumi_model::{
    Batch, ByClassifier, Classes, Classifier, Generated, Generator, Guidance, Model, ModelError,
    Plan, Request, SamplerChoice, Weak,
};
use sumi_pictures::{Picture, gif};
use sumi_sampler::{GuidanceInterval, Moment};

/// How many pictures of a film.
const FILM_FRAMES: usize = 60;

pub fn run(args: &SampleArgs) -> Result<(), CliError> {
    check_sheet(args.grid.as_deref())?;
    let device = device::open(args.device)?;
    let mut model = Model::open(&args.model, &device)?;
    model.unet = sumi_nn::to_precision(model.unet, args.dtype.precision());
    let choice = SamplerChoice {
        kind: args.sampler,
        steps: args.steps,
        eta: args.eta,
        churn: args.churn,
        tolerance: args.tolerance,
        grid: args.grid_kind,
        rho: args.grid_rho,
    };
    let plan = Plan::new(&model.scheduler, choice)?;
    let [c, h, w] = model.picture_dims()?;
    let look = Look::of([c, h, w]);
    let outputs = Outputs::of(args, look)?;
    let count = args.count.unwrap_or(look.usual_count());
    let noise = match &args.noise {
        Some(path) => Some(read_noise(path, [count, c, h, w])?),
        None => None,
    };
    let request = Request {
        count,
        batch: args.batch.unwrap_or(look.usual_batch()),
        seed: args.seed,
        classes: match args.class {
            ClassArg::All => Classes::All,
            ClassArg::One(class) => Classes::One(class),
        },
        noise,
    };
    let guides = Guides::open(&args.guidance, &device)?;
    let mut generator = guides.generator(&model, &plan, request)?;
    if let Some(edit) = edit::read(&args.edit, [c, h, w], plan.grid.len())? {
        generator = generator.edited(edit)?;
    }
    let steps = generator.steps();
    outputs.check()?;
    if args.edit.strength.is_none() {
        warn_of_little_noise(&plan);
    }
    if let Some(folder) = &outputs.folder {
        create_folder(folder)?;
    }
    let started = Instant::now();
    let stop = Stop::listen()?;
    let drawn = draw_all(generator, &outputs, &stop)?;
    let secs = started.elapsed().as_secs_f64();
    let written = outputs.write(&drawn, &model)?;
    if args.json {
        data(format_args!(
            "{}",
            json!({
                "count": drawn.count,
                "steps": steps,
                "seed": args.seed,
                "secs": secs,
                "samples_per_sec": drawn.count as f64 / secs,
                "written": written,
            })
        ))?;
    } else {
        for path in written {
            data(format_args!("{}", path.display()))?;
        }
    }
    Ok(())
}

/// A sheet is a PNG, whatever its name says.
fn check_sheet(path: Option<&Path>) -> Result<(), CliError> {
    match path {
        Some(path) if path.extension().is_none_or(|ending| ending != "png") => {
            Err(CliError::Usage(format!(
                "--grid: expected a file that ends in .png (a sheet), found {}",
                path.display()
            )))
        }
        _ => Ok(()),
    }
}

/// Below this share of the noisiest level's `sigma / alpha`, there is next to no noise to take away.
const LITTLE_NOISE: f64 = 0.01;
/// Levels of more noise than this count as this, since those without signal have no ratio.
const MUCH_NOISE: f64 = 100.0;

/// Says so where the first step finds next to no noise: one step of a leading or linspace grid starts at
/// timestep 0, as in diffusers, and gives noise back.
pub fn warn_of_little_noise(plan: &Plan) {
    let Some(first) = plan.grid.intervals.first() else { return };
    let noisiest = plan.parameterisation.process.noisiest().ratio();
    if first.from.ratio() < LITTLE_NOISE * noisiest.min(MUCH_NOISE) {
        talk(format_args!(
            "warning: the first step starts at sigma / alpha = {:.2e}, next to no noise, and gives \
             its start back almost as it is; --grid-kind trailing starts at the last timestep",
            first.from.ratio()
        ));
    }
}

/// The models that guide another one.
struct Guides<'a> {
    args: &'a GuidanceArgs,
    classifier: Option<Classifier>,
    weaker: Option<Model>,
}

impl<'a> Guides<'a> {
    fn open(args: &'a GuidanceArgs, device: &Device) -> Result<Self, CliError> {
        let classifier = args.classifier.as_ref().map(|path| Classifier::open(path, device));
        let weaker = args.autoguidance.as_ref().map(|path| Model::open(path, device));
        Ok(Self { args, classifier: classifier.transpose()?, weaker: weaker.transpose()? })
    }

    fn generator<'g>(
        &'g self,
        model: &'g Model,
        plan: &'g Plan,
        request: Request,
    ) -> Result<Generator<'g>, CliError> {
        let generator = match &self.classifier {
            Some(classifier) => {
                let guide = ByClassifier { classifier, scale: self.args.classifier_scale };
                Generator::by_classifier(model, plan, request, guide)?
            }
            None => Generator::new(model, plan, request)?,
        };
        let Some(scale) = self.args.guidance else { return Ok(generator) };
        let interval = self.args.guidance_interval;
        Ok(generator.guided(Guidance {
            weak: self.weaker.as_ref().map_or(Weak::NoClass, Weak::Model),
            scale,
            rescale: self.args.guidance_rescale.unwrap_or(0.0),
            interval: interval.map(|arg| GuidanceInterval { low: arg.low, high: arg.high }),
        })?)
    }
}

/// What to keep of every sample, and where it goes.
#[derive(Default)]
pub struct Outputs {
    /// One PNG a sample.
    pub folder: Option<PathBuf>,
    /// One sheet.
    pub grid: Option<PathBuf>,
    /// A film.
    pub gif: Option<PathBuf>,
    /// Pixels and classes.
    pub npz: Option<PathBuf>,
    /// Noise and samples.
    pub tensors: Option<PathBuf>,
}

impl Outputs {
    /// Where nothing is named, one PNG a sample goes to `samples`, and points to `samples.png`.
    fn of(args: &SampleArgs, look: Look) -> Result<Self, CliError> {
        let outputs = Self {
            folder: args.out.clone(),
            grid: args.grid.clone(),
            gif: args.gif.clone(),
            npz: args.npz.clone(),
            tensors: args.tensors.clone(),
        };
        let named = [&outputs.folder, &outputs.grid, &outputs.gif, &outputs.npz, &outputs.tensors];
        match look {
            Look::Points if outputs.folder.is_some() => Err(CliError::Usage(
                "--out: expected nothing (the model draws points of the plane, which --grid puts on \
                 one sheet)"
                    .into(),
            )),
            _ if named.iter().any(|path| path.is_some()) => Ok(outputs),
            Look::Points => Ok(Self { grid: Some("samples.png".into()), ..outputs }),
            Look::Pictures(_) => Ok(Self { folder: Some("samples".into()), ..outputs }),
        }
    }

    /// Finds a file that could not be written before hours of sampling, not after.
    ///
    /// # Errors
    /// A file without a folder to stand in.
    pub fn check(&self) -> Result<(), CliError> {
        check_parents([&self.grid, &self.gif, &self.npz, &self.tensors])
    }

    /// Writes what was drawn and returns every path.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, drawn: &Drawn, model: &Model) -> Result<Vec<PathBuf>, CliError> {
        let mut written: Vec<PathBuf> = self.folder.iter().cloned().collect();
        let [c, h, w] = model.picture_dims()?;
        let look = Look::of([c, h, w]);
        if let Some(path) = &self.grid {
            look.sheet(drawn)?.write_png(path)?;
            written.push(path.clone());
        }
        if let Some(path) = &self.gif {
            gif(&drawn.film, 60, 2000, path)?;
            written.push(path.clone());
        }
        if let Some(path) = &self.npz {
            let pixels = look.pixels(drawn);
            let labels: Vec<i64> = match drawn.classes.is_empty() {
                true => vec![0; drawn.count],
                false => drawn.classes.iter().map(|&class| i64::from(class)).collect(),
            };
            let arrays = [
                NamedTensor::from_u8("arr_0", &[drawn.count, h, w, c], &pixels),
                NamedTensor::from_i64("arr_1", &[drawn.count], &labels),
            ];
            npz::write(path, &arrays)?;
            written.push(path.clone());
        }
        if let Some(path) = &self.tensors {
            let shape = [drawn.count, c, h, w];
            let map = TensorMap::new(vec![
                NamedTensor::from_f32("noise", &shape, &drawn.noise),
                NamedTensor::from_f32("samples", &shape, &drawn.samples),
            ]);
            safetensors::write(path, &map)?;
            written.push(path.clone());
        }
        Ok(written)
    }
}

/// Creates a folder for outputs.
pub fn create_folder(folder: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        CliError::Failed(format!("{}: cannot create the folder: {error}", folder.display()))
    })
}

/// Whether there are folders to write these files to.
pub fn check_parents<const N: usize>(paths: [&Option<PathBuf>; N]) -> Result<(), CliError> {
    for path in paths.into_iter().flatten() {
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(CliError::Failed(format!(
                "{}: expected a folder {} to write it to, found none",
                path.display(),
                folder.display()
            )));
        }
    }
    Ok(())
}

/// What was drawn, as far as an output needs it.
#[derive(Default)]
pub struct Drawn {
    /// How many samples.
    pub count: usize,
    /// As pixels, for a sheet or an npz of pictures.
    pub pictures: Vec<Picture>,
    /// The class of each, or none.
    pub classes: Vec<u32>,
    /// The noise they started from, for tensors.
    pub noise: Vec<f32>,
    /// The samples as numbers, for tensors and for points.
    pub samples: Vec<f32>,
    /// The film of the first batch.
    pub film: Vec<Picture>,
}

/// Draws everything, batch after batch, with a progress bar; keeps only what an output needs.
///
/// # Errors
/// A sample that is not finite, a file that cannot be written, or the user's wish to stop.
pub fn draw(
    model: &Model,
    plan: &Plan,
    request: Request,
    outputs: &Outputs,
    stop: &Stop,
) -> Result<Drawn, CliError> {
    draw_all(Generator::new(model, plan, request)?, outputs, stop)
}

/// The same, of a generator that was made otherwise.
///
/// # Errors
/// As [`draw`].
pub fn draw_all(
    mut generator: Generator<'_>,
    outputs: &Outputs,
    stop: &Stop,
) -> Result<Drawn, CliError> {
    let look = Look::of(generator.dims());
    let each = generator.dims().iter().product::<usize>();
    let steps = generator.steps();
    let bar = progress::bar("sampling", generator.batches().saturating_mul(steps) as u64);
    let every = steps.div_ceil(FILM_FRAMES).max(1);
    let mut drawn = Drawn::default();
    loop {
        let filming = outputs.gif.is_some() && drawn.count == 0;
        let mut frames: Vec<Frame> = Vec::new();
        let batch = generator.next_batch(&mut |moment: Moment<'_, Batch>| {
            bar.inc(1);
            if filming
                && ((moment.step + 1).is_multiple_of(every) || moment.step + 1 == moment.steps)
            {
                let n = moment.x.0.dims()[0].min(look.filmed());
                let samples = Batch(moment.x.0.clone().narrow(0, 0, n)).to_vec();
                frames.push(Frame { level: moment.level, samples });
            }
            match stop.requested() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let Some(batch) = (match batch {
            Err(ModelError::Cancelled) => {
                bar.finish_and_clear();
                return Err(CliError::Failed(format!(
                    "stopped after {} samples; nothing was written but the PNGs of --out",
                    drawn.count
                )));
            }
            other => other?,
        }) else {
            break;
        };
        if filming {
            let n = (look.filmed() * each).min(batch.start.len());
            let (level, samples) = (generator.first_level(), batch.start[..n].to_vec());
            frames.insert(0, Frame { level, samples });
            drawn.film = look.film(&frames, &batch.classes)?;
        }
        keep(&mut drawn, batch, outputs, look)?;
    }
    bar.finish_and_clear();
    Ok(drawn)
}

fn keep(
    drawn: &mut Drawn,
    batch: Generated,
    outputs: &Outputs,
    look: Look,
) -> Result<(), CliError> {
    let shown = outputs.grid.is_some() || outputs.npz.is_some();
    match look {
        Look::Points => drawn.count += batch.samples.len() / 2,
        Look::Pictures([c, h, w]) => {
            for (i, values) in batch.samples.chunks(c * h * w).enumerate() {
                let picture = Picture::from_unit_range(values, c, h, w)?;
                if let Some(folder) = &outputs.folder {
                    picture.write_png(folder.join(format!("{:05}.png", batch.first + i)))?;
                }
                if shown {
                    drawn.pictures.push(picture);
                }
                drawn.count += 1;
            }
        }
    }
    drawn.classes.extend(batch.classes);
    if outputs.tensors.is_some() {
        drawn.noise.extend(batch.noise);
    }
    if outputs.tensors.is_some() || (shown && look == Look::Points) {
        drawn.samples.extend(batch.samples);
    }
    Ok(())
}

fn read_noise(path: &Path, expected: [usize; 4]) -> Result<Vec<f32>, CliError> {
    let map = safetensors::read(path)?;
    let Some(noise) = map.get("noise") else {
        let names: Vec<&str> = map.names().take(3).collect();
        let others = map.tensors.len() - names.len();
        return Err(CliError::Failed(format!(
            "{}: expected a tensor \"noise\", found {names:?} and {others} more",
            path.display()
        )));
    };
    if noise.shape != expected {
        return Err(CliError::Failed(format!(
            "{}: noise: expected shape {expected:?} (--count, then the model's pictures), found {:?}",
            path.display(),
            noise.shape
        )));
    }
    let values = noise.to_f32()?;
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(values),
        Some(at) => Err(CliError::Failed(format!(
            "{}: noise: expected finite numbers, found {} at index {at}",
            path.display(),
            values[at]
        ))),
    }
}
