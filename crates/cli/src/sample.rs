//! `sumi sample`.

use crate::args::{ClassArg, GuidanceArgs, SampleArgs};
use crate::error::CliError;
use crate::output::{data, talk};
use crate::signals::Stop;
use crate::{device, edit, progress};
use burn::tensor::Device;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use sumi_formats::{NamedTensor, TensorMap, npz, safetensors};
use sumi_model::{
    Batch, ByClassifier, Classes, Classifier, Generated, Generator, Guidance, Model, ModelError,
    Plan, Request, SamplerChoice, Weak,
};
use sumi_pictures::{GridOptions, Picture, gif, grid, sheet_layout};
use sumi_sampler::{GuidanceInterval, Moment};

/// How many pictures of a film, and how many samples in each.
const FILM_FRAMES: usize = 60;
const FILM_SAMPLES: usize = 100;

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
    let noise = match &args.noise {
        Some(path) => Some(read_noise(path, [args.count, c, h, w])?),
        None => None,
    };
    let request = Request {
        count: args.count,
        batch: args.batch,
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
    let outputs = Outputs::of(args);
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
    /// Where nothing is named, one PNG a sample goes to `samples`.
    fn of(args: &SampleArgs) -> Self {
        let outputs = Self {
            folder: args.out.clone(),
            grid: args.grid.clone(),
            gif: args.gif.clone(),
            npz: args.npz.clone(),
            tensors: args.tensors.clone(),
        };
        let named = [&outputs.folder, &outputs.grid, &outputs.gif, &outputs.npz, &outputs.tensors];
        match named.iter().any(|path| path.is_some()) {
            true => outputs,
            false => Self { folder: Some("samples".into()), ..outputs },
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
        if let Some(path) = &self.grid {
            drawn.sheet(1 + 47 / h)?.write_png(path)?;
            written.push(path.clone());
        }
        if let Some(path) = &self.gif {
            gif(&drawn.film, 60, 2000, path)?;
            written.push(path.clone());
        }
        if let Some(path) = &self.npz {
            let pixels: Vec<u8> =
                drawn.pictures.iter().flat_map(|p| p.pixels.iter().copied()).collect();
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
    /// As pixels, for a sheet or an npz.
    pub pictures: Vec<Picture>,
    /// The class of each, or none.
    pub classes: Vec<u32>,
    /// The noise they started from, for tensors.
    pub noise: Vec<f32>,
    /// The samples as numbers, for tensors.
    pub samples: Vec<f32>,
    /// The film of the first batch.
    pub film: Vec<Picture>,
}

impl Drawn {
    /// All of them on one sheet, a row a class.
    ///
    /// # Errors
    /// Too large a sheet.
    pub fn sheet(&self, scale: usize) -> Result<Picture, CliError> {
        let (order, columns) = sheet_layout(&self.classes, self.pictures.len());
        let pictures: Vec<Picture> = order.into_iter().map(|i| self.pictures[i].clone()).collect();
        Ok(GridOptions { columns, scale, ..GridOptions::default() }.draw(&pictures)?)
    }
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
    let [c, h, w] = generator.dims();
    let steps = generator.steps();
    let bar = progress::bar("sampling", generator.batches().saturating_mul(steps) as u64);
    let every = steps.div_ceil(FILM_FRAMES).max(1);
    let mut drawn = Drawn::default();
    loop {
        let filming = outputs.gif.is_some() && drawn.count == 0;
        let mut frames: Vec<Vec<f32>> = Vec::new();
        let batch = generator.next_batch(&mut |moment: Moment<'_, Batch>| {
            bar.inc(1);
            if filming
                && ((moment.step + 1).is_multiple_of(every) || moment.step + 1 == moment.steps)
            {
                let n = moment.x.0.dims()[0].min(FILM_SAMPLES);
                frames.push(Batch(moment.x.0.clone().narrow(0, 0, n)).to_vec());
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
            let n = (FILM_SAMPLES * c * h * w).min(batch.start.len());
            frames.insert(0, batch.start[..n].to_vec());
            drawn.film = film(&frames, &batch.classes, [c, h, w])?;
        }
        keep(&mut drawn, batch, outputs, [c, h, w])?;
    }
    bar.finish_and_clear();
    Ok(drawn)
}

fn keep(
    drawn: &mut Drawn,
    batch: Generated,
    outputs: &Outputs,
    [c, h, w]: [usize; 3],
) -> Result<(), CliError> {
    let keep_pictures = outputs.grid.is_some() || outputs.npz.is_some();
    for (i, values) in batch.samples.chunks(c * h * w).enumerate() {
        let picture = Picture::from_unit_range(values, c, h, w)?;
        if let Some(folder) = &outputs.folder {
            picture.write_png(folder.join(format!("{:05}.png", batch.first + i)))?;
        }
        if keep_pictures {
            drawn.pictures.push(picture);
        }
        drawn.count += 1;
    }
    drawn.classes.extend(batch.classes);
    if outputs.tensors.is_some() {
        drawn.noise.extend(batch.noise);
        drawn.samples.extend(batch.samples);
    }
    Ok(())
}

/// One sheet for each moment.
fn film(
    frames: &[Vec<f32>],
    classes: &[u32],
    [c, h, w]: [usize; 3],
) -> Result<Vec<Picture>, CliError> {
    let each = c * h * w;
    let count = frames.first().map_or(0, |frame| frame.len() / each).min(FILM_SAMPLES);
    let classes = classes.get(..count).unwrap_or_default();
    let (order, columns) = sheet_layout(classes, count);
    frames
        .iter()
        .map(|frame| {
            let pictures = order
                .iter()
                .map(|&i| Picture::from_unit_range(&frame[i * each..(i + 1) * each], c, h, w))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(grid(&pictures, columns, 1 + 15 / h, 1)?)
        })
        .collect()
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
