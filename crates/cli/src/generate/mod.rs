//! `sumi generate`.

mod pictures;
mod recipe;
mod text;
mod watch;

use crate::args::{GenerateArgs, Rng};
use crate::error::CliError;
use crate::output::{data, talk};
use crate::sample::{check_parents, warn_of_little_noise};
use crate::signals::Stop;
use crate::{device, progress};
use recipe::{Lora, Recipe};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use sumi_formats::checkpoint::Preferences;
use sumi_formats::hash::lora_hash;
use sumi_formats::{NamedTensor, TensorMap, safetensors};
use sumi_pictures::gif;
use sumi_pipelines::{Cut, Decoded, Drawing, Drawn, Generator, Pipeline, Prompts, Request};
use text::{ModelHash, Writer};
use watch::Watch;

pub fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let mut recipe = Recipe::of(args)?;
    let outputs = Outputs::of(args)?;
    let choice = recipe.choice()?;
    let started = Instant::now();
    let device = device::open(args.device)?;
    let precision = recipe.dtype.precision();
    let preferences = Preferences::default();
    let mut pipeline = Pipeline::open(&recipe.model.path, &device, precision, &preferences)?;
    for assumed in &pipeline.checkpoint().assumed {
        talk(format_args!("{}: {assumed}", recipe.model.path.display()));
    }
    if pipeline.vae_widened {
        talk("warning: f16 cannot hold the autoencoder's weights; it is kept in f32");
    }
    let loras = add_loras(&mut pipeline, &mut recipe.loras)?;
    let hash = ModelHash::of(pipeline.weights_file());
    let init = pictures::read(&mut recipe, pipeline.pixels_per_latent())?;
    let dims = match (recipe.height, recipe.width) {
        (None, None) => None,
        (height, width) => {
            let own = init.as_ref().map(|init| init.dims);
            let [h, w] = own.unwrap_or_else(|| pipeline.native_dims());
            Some([height.unwrap_or(h), width.unwrap_or(w)])
        }
    };
    let request = Request {
        prompts: Prompts {
            prompt: recipe.prompt.clone(),
            negative: recipe.negative.clone(),
            plain: recipe.plain_prompt,
            clip_skip: recipe.clip_skip,
        },
        seed: recipe.seed,
        generator: match recipe.rng {
            Rng::TorchCpu => Generator::TorchCpu,
            Rng::TorchCuda => Generator::TorchCuda,
        },
        choice,
        guidance: recipe.guidance,
        dims,
        init,
        tiled: recipe.vae_tiling,
    };
    let drawing = Drawing::new(&pipeline, &request)?;
    for Cut { which, text } in drawing.cut() {
        talk(format_args!(
            "warning: the {which} is longer than the text encoder takes, and this part of it is cut off: {text}"
        ));
    }
    if request.init.is_none() {
        warn_of_little_noise(drawing.plan());
    }
    let [height, width] = drawing.dims();
    (recipe.height, recipe.width) = (Some(height), Some(width));
    if args.seed.is_none() && args.from.is_none() {
        talk(format_args!("seed {}", recipe.seed));
    }
    let loaded = started.elapsed().as_secs_f64();
    let stop = Stop::listen()?;
    let writer = Writer { recipe: &recipe, hash, plan: drawing.plan() };
    let drawn = draw_all(&pipeline, &drawing, args, (&outputs, &writer, &stop))?;
    report(args, &recipe, (&drawn, &drawing), (loaded, loras))
}

/// Attaches every LoRA, and says what of each the model has no place for.
fn add_loras(pipeline: &mut Pipeline, loras: &mut [Lora]) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for lora in loras {
        let path = &lora.file.path;
        let added = pipeline.add_lora(path, lora.weight)?;
        let hash = lora_hash(&added.file)?;
        talk(format_args!("{}: {} modules matched", path.display(), added.matched));
        if !added.unmatched.is_empty() {
            talk(format_args!(
                "warning: {}: {} keys have no place in this model and are left out: {}",
                path.display(),
                added.unmatched.len(),
                added.unmatched.join(", ")
            ));
        }
        all.push(json!({
            "path": path,
            "weight": lora.weight,
            "matched": added.matched,
            "unmatched": added.unmatched,
        }));
        lora.file.pin(hash, "lora")?;
    }
    Ok(all)
}

/// Where everything goes.
struct Outputs {
    image: Option<PathBuf>,
    gif: Option<PathBuf>,
    tensors: Option<PathBuf>,
    preview: Option<PathBuf>,
}

impl Outputs {
    fn of(args: &GenerateArgs) -> Result<Self, CliError> {
        let usual = args.out.is_none() && args.gif.is_none() && args.tensors.is_none();
        let image = args.out.clone().or_else(|| usual.then(|| "sumi.png".into()));
        for (option, path, ending) in [
            ("--out", &image, "png"),
            ("--preview", &args.preview, "png"),
            ("--gif", &args.gif, "gif"),
            ("--tensors", &args.tensors, "safetensors"),
        ] {
            if let Some(path) = path.as_ref().filter(|p| p.extension().is_none_or(|e| e != ending))
            {
                return Err(CliError::Usage(format!(
                    "{option}: expected a file that ends in .{ending}, found {}",
                    path.display()
                )));
            }
        }
        check_parents([&image, &args.gif, &args.tensors, &args.preview])?;
        Ok(Self {
            image,
            gif: args.gif.clone(),
            tensors: args.tensors.clone(),
            preview: args.preview.clone(),
        })
    }

    /// The file of image `index` of `count`.
    fn image(&self, index: u64, count: u64) -> Option<PathBuf> {
        let path = self.image.as_ref()?;
        if count == 1 {
            return Some(path.clone());
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let digits = (count - 1).to_string().len();
        Some(path.with_file_name(format!("{stem}-{index:0digits$}.png")))
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    images: Vec<(u64, PathBuf)>,
    others: Vec<PathBuf>,
    secs: f64,
}

/// Draws image after image; each is written as soon as it is there.
fn draw_all(
    pipeline: &Pipeline,
    drawing: &Drawing<'_>,
    args: &GenerateArgs,
    (outputs, writer, stop): (&Outputs, &Writer<'_>, &Stop),
) -> Result<Done, CliError> {
    let started = Instant::now();
    let bar = progress::bar("drawing", args.count.saturating_mul(drawing.steps() as u64));
    let mut done = Done::default();
    let mut tensors = Tensors::default();
    for index in 0..args.count {
        let film = outputs.gif.is_some() && index == 0;
        let preview = outputs.preview.as_deref().map(|path| (path, args.preview_every));
        let mut watch = Watch::new(pipeline, drawing.tiled(), (&bar, stop), (film, preview));
        let drawn = drawing.draw(index, &mut watch.observer());
        let drawn = match drawn {
            Err(error) if error.is_cancelled() => {
                bar.finish_and_clear();
                // A frame that could not be shown stops the drawing, too.
                watch.finish()?;
                return Err(stopped(index, &tensors, outputs));
            }
            other => other?,
        };
        let frames = watch.finish()?;
        if drawing.tiled() {
            crate::memory::give_back_at_once();
        }
        let decoded = pipeline.decode(drawn.latents.clone(), drawing.tiled())?;
        if decoded.again {
            talk(
                "warning: the autoencoder gave no numbers in half precision; decoded again in f32",
            );
        }
        let picture = pictures::of(&decoded)?;
        if let (Some(path), Some(mut frames)) = (&outputs.gif, frames) {
            frames.push(picture.clone());
            gif(&frames, 120, 2000, path)?;
            done.others.push(path.clone());
        }
        if let Some(path) = outputs.image(index, args.count) {
            writer.write(&picture, drawn.seed, &path)?;
            if index == 0 && writer.model_changed() {
                talk(
                    "warning: the checkpoint is not what it was when the image of --from was drawn; this is another \
                     image",
                );
            }
            done.images.push((drawn.seed, path));
        }
        if outputs.tensors.is_some() {
            tensors.push(drawing, &drawn, &decoded)?;
        }
    }
    bar.finish_and_clear();
    done.secs = started.elapsed().as_secs_f64();
    if let Some(path) = &outputs.tensors {
        tensors.write(path)?;
        done.others.push(path.clone());
    }
    Ok(done)
}

/// Keeps the tensors of the images that are there when the user stops.
fn stopped(index: u64, tensors: &Tensors, outputs: &Outputs) -> CliError {
    let kept = match outputs.tensors.as_deref().filter(|_| index > 0) {
        Some(path) => tensors.write(path),
        None => Ok(()),
    };
    let written = if index > 0 { ", which are written" } else { "" };
    kept.err().unwrap_or_else(|| CliError::Failed(format!("stopped after {index} images{written}")))
}

/// Tensors of all images, one after the other in each.
#[derive(Default)]
struct Tensors(Vec<(&'static str, Vec<usize>, Vec<f32>)>);

impl Tensors {
    fn push(
        &mut self,
        drawing: &Drawing<'_>,
        drawn: &Drawn,
        decoded: &Decoded,
    ) -> Result<(), CliError> {
        if self.0.is_empty() {
            self.add("prompt_embeds", &drawing.prompt().embeds)?;
            if let Some(negative) = drawing.negative() {
                self.add("negative_prompt_embeds", &negative.embeds)?;
            }
        }
        self.add("initial_latents", &drawn.noise)?;
        self.add("latents", &drawn.latents)?;
        self.add("image", &decoded.image)
    }

    fn add<const D: usize>(
        &mut self,
        name: &'static str,
        tensor: &burn::tensor::Tensor<D>,
    ) -> Result<(), CliError> {
        let values = tensor.try_to_vec_as::<f32>();
        let values = values.map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, shape, all)) => {
                shape[0] += tensor.dims()[0];
                all.extend(values);
            }
            None => self.0.push((name, tensor.dims().to_vec(), values)),
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<(), CliError> {
        let of = |(name, shape, values): &(&'static str, Vec<usize>, Vec<f32>)| {
            NamedTensor::from_f32(*name, shape, values)
        };
        Ok(safetensors::write(path, &TensorMap::new(self.0.iter().map(of).collect()))?)
    }
}

fn report(
    args: &GenerateArgs,
    recipe: &Recipe,
    (done, drawing): (&Done, &Drawing<'_>),
    (loaded, loras): (f64, Vec<Value>),
) -> Result<(), CliError> {
    if !args.json {
        let images = done.images.iter().map(|(_, path)| path);
        for path in images.chain(&done.others) {
            data(format_args!("{}", path.display()))?;
        }
        return Ok(());
    }
    let images = done.images.iter().map(|(seed, path)| json!({ "seed": seed, "path": path }));
    let [height, width] = drawing.dims();
    data(format_args!(
        "{}",
        json!({
            "seed": recipe.seed,
            "count": args.count,
            "sampler": drawing.plan().sampler.entry().name,
            "steps": drawing.steps(),
            "width": width,
            "height": height,
            "images": images.collect::<Vec<_>>(),
            "written": done.others,
            "load_secs": loaded,
            "secs": done.secs,
            "cut": drawing.cut().iter().map(|cut| &cut.text).collect::<Vec<_>>(),
            "loras": loras,
        })
    ))
}
