//! The sets that are compared: what a path names, and what is seen of it.

use super::super::args::{CompareArgs, DrawnArgs, SeenArgs, Split};
use crate::error::CliError;
use crate::progress;
use crate::signals::Stop;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use sumi_data::{DataConfig, Fit, Image, Pictures, Source as DataSource};
use sumi_features::{
    Collect, Collected, Drawn, Extractor, FeatureError, Images, Npz, Seen, Source, collect,
    read_features, read_npz,
};
use sumi_metrics::{Features, GaussianStatistics};
use sumi_model::{Classes, Generator, Guidance, Model, Plan, Request, SamplerChoice, Weak};
use sumi_train::RunConfig;

/// How many samples of a model are drawn where nothing is said.
const USUAL_COUNT: usize = 1000;
/// How many samples a model draws at a time.
const DRAW_BATCH: usize = 32;
/// Small pictures that a report may show of a set, and their side.
const THUMBNAILS: usize = 4096;
const THUMBNAIL_PX: usize = 48;

/// What a path names.
pub enum Set {
    /// Pictures that are there.
    Images(Images),
    /// A model that draws them.
    Model(Box<Drawing>),
    /// What an extractor saw.
    Features(Features),
    /// What is left of that.
    Statistics(GaussianStatistics),
}

/// A model and how it draws.
pub struct Drawing {
    model: Model,
    plan: Plan,
    guidance: Option<f64>,
    request: Request,
}

/// What is looked at beside the features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether small pictures are kept.
    pub pictures: bool,
    /// Whether it is measured how different pictures look, and the seed of the pairs.
    pub diversity: Option<u64>,
}

/// One side of a comparison, after it was seen.
pub struct Side {
    /// As the user named it.
    pub path: PathBuf,
    /// Such as `a folder of pictures`.
    pub kind: &'static str,
    /// A vector a picture, unless only statistics are left.
    pub features: Option<Features>,
    /// Mean and covariance, where they are all there is.
    pub statistics: Option<GaussianStatistics>,
    /// What was seen beside the vectors, where pictures were.
    pub seen: Option<Seen>,
}

impl Side {
    /// How many pictures it is of; unknown for statistics.
    pub fn count(&self) -> Option<usize> {
        self.features.as_ref().map(Features::rows)
    }

    /// Features a picture.
    pub fn dims(&self) -> usize {
        let of_statistics = || self.statistics.as_ref().map_or(0, |s| s.mean().len());
        self.features.as_ref().map_or_else(of_statistics, Features::columns)
    }
}

/// Opens what `path` names; a model only where `drawn` says how it draws.
///
/// # Errors
/// Nothing there, or nothing that can be measured.
pub fn open(
    path: &Path,
    seen: &SeenArgs,
    drawn: Option<&CompareArgs>,
    device: &Device,
) -> Result<Set, CliError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_model = sumi_model::resolve(path).is_ok();
    match (drawn, ending) {
        (Some(args), _) if is_model => Ok(Set::Model(Box::new(drawing(path, args, device)?))),
        (None, _) if is_model => Err(wrong(path, "a set of pictures", "a model")),
        _ if path.join("model_index.json").is_file() => {
            let expected = "pictures that were drawn from words (`sumi generate`)";
            Err(wrong(path, expected, "the pipeline that draws them"))
        }
        _ if path.is_dir() => Ok(Set::Images(Images::folder(path)?)),
        (_, "npz") => match read_npz(path)? {
            Npz::Pictures(pictures) => Ok(Set::Images(Images::pictures(path, pictures)?)),
            Npz::Statistics(statistics) => Ok(Set::Statistics(statistics)),
        },
        (_, "npy" | "safetensors") => Ok(Set::Features(read_features(path)?)),
        (_, "toml") => {
            let config = RunConfig::read(path, &[])?;
            Ok(Set::Images(Images::pictures(path, part(&config.data, seen.split)?)?))
        }
        _ if path.is_file() && path.to_string_lossy().contains(IDX_IMAGES) => {
            Ok(Set::Images(Images::pictures(path, idx(path)?)?))
        }
        _ if path == Path::new("digits") => {
            Ok(Set::Images(Images::pictures(path, part(&DataConfig::digits(), seen.split)?)?))
        }
        _ => {
            let found = if path.exists() { "a file of another kind" } else { "nothing" };
            let expected = "a folder of images, an .npz, .npy, .safetensors or .toml, an ..images-idx3.. \
                            file, `digits`, or for FAKE a model";
            Err(wrong(path, expected, found))
        }
    }
}

fn wrong(path: &Path, expected: &str, found: &str) -> CliError {
    CliError::Failed(format!("{}: expected {expected}, found {found}", path.display()))
}

/// What the names of MNIST's files of pictures contain, and in its place those of their classes.
const IDX_IMAGES: &str = "images-idx3";
const IDX_LABELS: &str = "labels-idx1";

/// The pictures of an IDX file, with the classes of the file beside it, where there is one.
fn idx(path: &Path) -> Result<Pictures, CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let labels = path.with_file_name(name.replace(IDX_IMAGES, IDX_LABELS));
    let source = DataSource::Idx {
        images: path.into(),
        labels: labels.is_file().then_some(labels),
        image_size_px: None,
        fit: Fit::Pad,
    };
    Ok(sumi_data::load(&DataConfig { source, flip: false, held_out_fraction: 0.0 })?)
}

fn part(config: &DataConfig, split: Split) -> Result<Pictures, CliError> {
    if matches!(config.source, DataSource::Points { .. }) {
        return Err(CliError::Failed(
            "expected pictures, found points of the plane, which no picture metric can see".into(),
        ));
    }
    if split == Split::All {
        return Ok(sumi_data::load(config)?);
    }
    let (train, held_out) = sumi_data::load_split(config)?;
    match split {
        Split::HeldOut if held_out.is_empty() => Err(CliError::Usage(
            "--split held-out: expected a data set with held_out_fraction above 0, found 0".into(),
        )),
        Split::HeldOut => Ok(held_out),
        _ => Ok(train),
    }
}

fn drawing(path: &Path, args: &CompareArgs, device: &Device) -> Result<Drawing, CliError> {
    let DrawnArgs { sampler, steps, guidance } = args.drawn;
    let model = Model::open(path, device)?;
    let choice = SamplerChoice { kind: sampler, steps, ..SamplerChoice::default() };
    let plan = Plan::new(&model.scheduler, choice)?;
    let request = Request {
        count: args.count.unwrap_or(USUAL_COUNT),
        batch: DRAW_BATCH,
        seed: args.seed,
        classes: Classes::All,
        noise: None,
    };
    let drawing = Drawing { model, plan, guidance, request };
    // What cannot be drawn is said before anything is measured.
    drawing.generator()?;
    Ok(drawing)
}

impl Drawing {
    fn generator(&self) -> Result<Generator<'_>, CliError> {
        let generator = Generator::new(&self.model, &self.plan, self.request.clone())?;
        let Some(scale) = self.guidance else { return Ok(generator) };
        let (weak, rescale, interval) = (Weak::NoClass, 0.0, None);
        Ok(generator.guided(Guidance { weak, scale, rescale, interval })?)
    }

    /// Channels, height and width of what is drawn.
    pub fn picture_dims(&self) -> Option<[usize; 3]> {
        self.model.picture_dims().ok()
    }

    fn class_names(&self) -> Vec<String> {
        let classes = self.model.classes().filter(|&classes| classes > 1).unwrap_or(0);
        let named = self.model.card.as_ref().map(|card| card.class_names.clone());
        let named = named.filter(|names| names.len() == classes);
        named.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect())
    }

    /// Sampler, steps, guidance and seed, in words.
    pub fn describe(&self) -> String {
        let guidance = self.guidance.map(|scale| format!(", guidance {scale}")).unwrap_or_default();
        let Plan { sampler, grid, .. } = &self.plan;
        format!(
            "{}, {} steps{guidance}, seed {}",
            sampler.entry().name,
            grid.len(),
            self.request.seed
        )
    }
}

impl Set {
    /// Whether something has to be seen yet.
    pub fn has_pictures(&self) -> bool {
        matches!(self, Self::Images(_) | Self::Model(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Images(_) => "pictures",
            Self::Model(_) => "a model",
            Self::Features(_) => "features",
            Self::Statistics(_) => "statistics",
        }
    }

    /// How a model draws.
    pub fn describe(&self) -> Option<String> {
        match self {
            Self::Model(drawing) => Some(drawing.describe()),
            _ => None,
        }
    }

    /// The first picture that can be read, of those that are there.
    pub fn first_picture(&mut self) -> Option<Image> {
        let Self::Images(images) = self else { return None };
        let first = images.next(8).ok()?.into_iter().find_map(|item| item.image.ok());
        images.rewind();
        first
    }

    /// The first `count` pictures only.
    pub fn first(self, count: Option<usize>) -> Self {
        match (self, count) {
            (Self::Images(images), Some(count)) => Self::Images(images.first(count)),
            (Self::Features(features), Some(count)) => {
                Self::Features(features.filter(|i| i < count))
            }
            (other, _) => other,
        }
    }

    /// Sees every picture, with a progress bar called `name`.
    ///
    /// # Errors
    /// Pictures that cannot be measured, or the user's wish to stop.
    pub fn see(
        &mut self,
        extractor: Option<&Extractor>,
        (name, batch, look): (&'static str, usize, Look),
        stop: &Stop,
    ) -> Result<Option<Collected>, CliError> {
        let Some(extractor) = extractor else { return Ok(None) };
        let thumbnails = if look.pictures { THUMBNAILS } else { 0 };
        let diversity = look.diversity;
        let options = Collect { batch, thumbnails, thumbnail_px: THUMBNAIL_PX, diversity };
        let requested = || stop.requested();
        let gone_through = |source: &mut dyn Source| -> Result<Collected, CliError> {
            let bar = progress::bar(name, source.count() as u64);
            let collected = collect(source, extractor, &options, &mut |more| {
                bar.inc(more as u64);
                if stop.requested() { Err(FeatureError::Stopped) } else { Ok(()) }
            });
            bar.finish_and_clear();
            Ok(collected?)
        };
        match self {
            Self::Images(images) => {
                images.rewind();
                gone_through(images).map(Some)
            }
            Self::Model(drawing) => {
                let (count, names) = (drawing.request.count, drawing.class_names());
                let mut drawn = Drawn::new(drawing.generator()?, count, names, &requested);
                gone_through(&mut drawn).map(Some)
            }
            Self::Features(_) | Self::Statistics(_) => Ok(None),
        }
    }

    /// What it became, having been seen or not.
    pub fn side(self, path: &Path, collected: Option<Collected>) -> Side {
        self.parted(path, collected).1
    }

    /// The same, and the pictures, where they are there to be seen again.
    pub fn parted(self, path: &Path, collected: Option<Collected>) -> (Option<Self>, Side) {
        let (path, kind) = (path.to_path_buf(), self.kind());
        let mut side = Side { path, kind, features: None, statistics: None, seen: None };
        if let Some(Collected { features, seen }) = collected {
            (side.features, side.seen) = (Some(features), Some(seen));
        }
        match self {
            Self::Features(features) => side.features = Some(features),
            Self::Statistics(statistics) => side.statistics = Some(statistics),
            Self::Images(images) => return (Some(Self::Images(images)), side),
            Self::Model(_) => {}
        }
        (None, side)
    }
}
