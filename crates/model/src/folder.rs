//! A model on disk is a diffusers folder.

use crate::{ModelError, SchedulerConfig, fill};
use burn::tensor::Device;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::Read;
use std::path::{Path, PathBuf};
use sumi_formats::{
    NamedTensor, StateDict, TensorMap, atomic, present_name, python_numbers, safetensors,
};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, NamedParameter, Precision, parameters};

/// The version of diffusers whose file layout is written.
pub(crate) const DIFFUSERS_VERSION: &str = "0.42.0";
/// Far past what a network over pixels is trained on.
const MAX_SIDE_PX: usize = 4096;
/// Channels, height and width of a point of the plane, as a picture: one pixel, x and y its channels.
pub const POINT: [usize; 3] = [2, 1, 1];
pub(crate) const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const WEIGHTS_BIN: &str = "diffusion_pytorch_model.bin";

/// `sumi.json`: what diffusers has no place for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    /// The version of Sumi that wrote it.
    pub sumi_version: String,
    /// Training steps behind the weights.
    pub step: u64,
    /// The name of each class, in order.
    pub class_names: Vec<String>,
    /// The class that stands for none, where the network learned to do without (classifier-free
    /// guidance): as many as there are classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_class: Option<u32>,
    /// The configuration of the run, as resolved.
    pub config: serde_json::Value,
}

/// A network, how it was noised, and what is known about it.
#[derive(Debug)]
pub struct Model {
    /// The network.
    pub unet: UNet,
    /// `unet/config.json`.
    pub unet_config: UNetConfig,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerConfig,
    /// `sumi.json`, where Sumi trained it.
    pub card: Option<Card>,
}

impl Model {
    /// Opens a diffusers folder, a checkpoint, a run folder or what is `best` or `latest` in it.
    ///
    /// # Errors
    /// A missing or broken file, a configuration that cannot be served, weights that do not fit.
    pub fn open(path: &Path, device: &Device) -> Result<Self, ModelError> {
        let folder = resolve_component(path, "unet")?;
        let unet_config = unet_config(&folder.join("unet/config.json"))?;
        let scheduler = read_scheduler(&folder)?;
        let card = read_card(&folder)?;
        let unet = open_unet(&folder.join("unet"), &unet_config, device)?;
        Ok(Self { unet, unet_config, scheduler, card })
    }

    /// How many classes it draws, without the one that stands for none; `None` for a model without
    /// classes.
    pub fn classes(&self) -> Option<usize> {
        let null = self.card.as_ref().is_some_and(|card| card.null_class.is_some());
        self.unet.classes().map(|rows| rows - usize::from(null))
    }

    /// The class that stands for none.
    pub fn null_class(&self) -> Option<u32> {
        let null = self.card.as_ref()?.null_class?;
        ((null as usize) < self.unet.classes()?).then_some(null)
    }

    /// Channels, height and width of its pictures.
    ///
    /// # Errors
    /// A model that does not say, or whose levels do not divide its size.
    pub fn picture_dims(&self) -> Result<[usize; 3], ModelError> {
        let invalid =
            |message: String| ModelError::Config { path: "unet/config.json".into(), message };
        let Some(size) = self.unet_config.sample_size else {
            return Err(invalid(
                "sample_size: expected height and width in pixels, found null".into(),
            ));
        };
        let (inputs, outputs) = (self.unet_config.in_channels, self.unet_config.out_channels);
        if outputs != inputs && outputs != 2 * inputs {
            return Err(invalid(format!(
                "out_channels: expected {inputs}, as many as in_channels, or {} with a learned \
                 variance, found {outputs}",
                2 * inputs
            )));
        }
        let [h, w] = size.dims();
        let multiple = self.unet_config.size_multiple_px();
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple) && side <= MAX_SIDE_PX;
        match fits(h) && fits(w) {
            true => Ok([inputs, h, w]),
            false => Err(invalid(format!(
                "sample_size: expected multiples of {multiple} up to {MAX_SIDE_PX}, found {h} x {w}"
            ))),
        }
    }

    /// Writes everything but the weights into `folder`, which exists.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write_configs(
        folder: &Path,
        unet: &UNetConfig,
        scheduler: &SchedulerConfig,
        card: &Card,
    ) -> Result<(), ModelError> {
        create_parts(folder, ["unet", "scheduler"])?;
        let index = serde_json::json!({
            "_class_name": "DDPMPipeline",
            "_diffusers_version": DIFFUSERS_VERSION,
            "scheduler": [library_of(&scheduler.class_name), scheduler.class_name],
            "unet": ["diffusers", "UNet2DModel"],
        });
        let mut unet = to_value(unet);
        if let Some(fields) = unet.as_object_mut() {
            fields.insert("_class_name".into(), "UNet2DModel".into());
            fields.insert("_diffusers_version".into(), DIFFUSERS_VERSION.into());
        }
        write_json(&folder.join("model_index.json"), &index)?;
        write_json(&folder.join("unet/config.json"), &unet)?;
        write_json(&folder.join("scheduler/scheduler_config.json"), &to_value(scheduler))?;
        write_json(&folder.join("sumi.json"), &to_value(card))
    }

    /// Where the network's weights stand in `folder`.
    pub fn weights_path(folder: &Path) -> PathBuf {
        folder.join("unet").join(WEIGHTS)
    }

    /// Writes the whole model into `folder`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let card = self.card.clone().unwrap_or_default();
        Self::write_configs(folder, &self.unet_config, &self.scheduler, &card)?;
        write_tensors(&Self::weights_path(folder), &parameters(&self.unet), &[])
    }
}

/// Where Python finds a scheduler; one is not among diffusers' own names.
fn library_of(class_name: &str) -> &'static str {
    match class_name {
        "ScoreSdeVpScheduler" => "diffusers.schedulers",
        _ => "diffusers",
    }
}

/// The folder inside a model folder that its network stands in; `None` where that is no model
/// folder.
pub fn component(folder: &Path) -> Option<&'static str> {
    let holds = |name: &&str| folder.join(name).join("config.json").is_file();
    ["unet", "classifier"].into_iter().find(holds)
}

/// The folder that a path means, whose network is a `wanted`.
pub(crate) fn resolve_component(path: &Path, wanted: &str) -> Result<PathBuf, ModelError> {
    let folder = resolve(path)?;
    match component(&folder) {
        Some(found) if found != wanted => Err(ModelError::Folder {
            path: folder,
            expected: format!("a network in {wanted}/"),
            found: match found {
                "classifier" => "one in classifier/, which guides a model and draws nothing".into(),
                other => format!("one in {other}/, which is no classifier"),
            },
        }),
        _ => Ok(folder),
    }
}

/// The checkpoint of a run folder with the most steps. A checkpoint gets its name only when it is
/// whole, so the newest one is sound even where a run died before it could say so in `latest`.
pub fn newest_checkpoint(run: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(run).ok()?.flatten();
    let newest = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let step = checkpoint_step(&name)?;
            component(&entry.path()).map(|_| (step, entry.path()))
        })
        .max()?;
    Some(newest.1)
}

/// The files of a run folder that name one of its checkpoints.
const CHECKPOINT_NAMES: [&str; 2] = ["best", "latest"];
/// More than the name of a checkpoint has, in bytes.
const MAX_NAME_BYTES: u64 = 256;

/// Whether a path is a file that says which checkpoint of its run folder is meant.
pub fn names_a_checkpoint(path: &Path) -> bool {
    CHECKPOINT_NAMES.iter().any(|&name| path.file_name() == Some(name.as_ref())) && path.is_file()
}

/// The checkpoint that such a file names, which stands beside it.
fn named_checkpoint(path: &Path) -> Result<PathBuf, ModelError> {
    let io = |source| sumi_formats::FormatError::Io {
        path: path.to_path_buf(),
        action: "read the file as text",
        source,
    };
    let mut name = String::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAX_NAME_BYTES).read_to_string(&mut name).map_err(io)?;
    let name = name.trim();
    let checkpoint = checkpoint_step(name).map(|_| path.with_file_name(name));
    checkpoint.filter(|folder| component(folder).is_some()).ok_or_else(|| ModelError::Folder {
        path: path.to_path_buf(),
        expected: "the name of a checkpoint beside it".into(),
        found: format!("{name:?}"),
    })
}

/// The steps behind a checkpoint of this name.
fn checkpoint_step(name: &str) -> Option<u64> {
    name.strip_prefix("checkpoint-")?.parse().ok()
}

/// The model folder that a path means: itself, a run folder's newest checkpoint, or the one that its `best` or
/// `latest` names.
///
/// # Errors
/// Nothing there, or something that is no model.
pub fn resolve(path: &Path) -> Result<PathBuf, ModelError> {
    if names_a_checkpoint(path) {
        return named_checkpoint(path);
    }
    if component(path).is_some() {
        return Ok(path.to_path_buf());
    }
    if let Some(checkpoint) = newest_checkpoint(path) {
        return Ok(checkpoint);
    }
    let found = match path {
        p if p.is_dir() => "a folder without unet/config.json and without checkpoints",
        p if p.exists() => "a file",
        _ => "nothing",
    };
    Err(ModelError::Folder {
        path: path.to_path_buf(),
        expected: "a diffusers folder, a checkpoint or a run folder".into(),
        found: found.into(),
    })
}

/// Reads and checks a network's `config.json`.
///
/// # Errors
/// A missing or broken file, a field that is not known, a network that cannot be built.
pub fn unet_config(path: &Path) -> Result<UNetConfig, ModelError> {
    let invalid = |message: String| ModelError::Config { path: path.to_path_buf(), message };
    let json: serde_json::Value = read_json(path)?;
    let config: UNetConfig = config_of(json, "UNet2DModel").map_err(invalid)?;
    config.check().map_err(|error| invalid(error.to_string()))?;
    Ok(config)
}

/// What shapes a network of `class` in the `config.json` of a diffusers folder, which also keeps books on
/// versions and averages.
///
/// # Errors
/// Another class, a field that is not known or of another type; the sentence says which.
pub fn config_of<T: DeserializeOwned>(
    mut json: serde_json::Value,
    class: &str,
) -> Result<T, String> {
    if let Some(found) = json.get("_class_name").and_then(|v| v.as_str())
        && found != class
    {
        return Err(format!("_class_name: expected \"{class}\", found \"{found}\""));
    }
    if let Some(fields) = json.as_object_mut() {
        const BOOKKEEPING: [&str; 7] = [
            "decay",
            "inv_gamma",
            "min_decay",
            "optimization_step",
            "power",
            "update_after_step",
            "use_ema_warmup",
        ];
        fields.retain(|key, _| !key.starts_with('_') && !BOOKKEEPING.contains(&key.as_str()));
    }
    serde_json::from_value(json).map_err(|error| error.to_string())
}

pub(crate) fn create_parts(folder: &Path, parts: [&str; 2]) -> Result<(), ModelError> {
    for part in parts {
        let path = folder.join(part);
        std::fs::create_dir_all(&path).map_err(|source| sumi_formats::FormatError::Io {
            path,
            action: "create the folder",
            source,
        })?;
    }
    Ok(())
}

pub(crate) fn read_scheduler(folder: &Path) -> Result<SchedulerConfig, ModelError> {
    let path = folder.join("scheduler/scheduler_config.json");
    SchedulerConfig::read(read_json(&path)?).map_err(|message| ModelError::Config { path, message })
}

pub(crate) fn read_card(folder: &Path) -> Result<Option<Card>, ModelError> {
    let path = folder.join("sumi.json");
    path.is_file().then(|| read_json(&path)).transpose()
}

fn open_unet(folder: &Path, config: &UNetConfig, device: &Device) -> Result<UNet, ModelError> {
    match (folder.join(WEIGHTS), folder.join(WEIGHTS_BIN)) {
        (path, _) if path.is_file() => read_unet(&path, config, device),
        (_, path) if path.is_file() => read_unet(&path, config, device),
        (path, _) => Err(ModelError::Folder {
            path,
            expected: format!("the network's weights, here or in {WEIGHTS_BIN}"),
            found: "neither file".into(),
        }),
    }
}

/// The tensors of a safetensors or torch file, under their present names.
///
/// # Errors
/// A missing or broken file.
pub(crate) fn open_tensors(path: &Path) -> Result<StateDict, ModelError> {
    Ok(StateDict::open(path)?.renamed(|name| Some(present_name(name)))?)
}

/// The network of a configuration with the weights of a safetensors or torch file.
///
/// # Errors
/// A missing or broken file, weights that do not fit, a network that cannot be built.
pub fn read_unet(path: &Path, config: &UNetConfig, device: &Device) -> Result<UNet, ModelError> {
    let tensors = open_tensors(path)?;
    let config_error = |error: sumi_networks::unet::UNetConfigError| ModelError::Config {
        path: path.with_file_name("config.json"),
        message: error.to_string(),
    };
    let unet = UNet::new(config, &mut Init::new(device, 0)).map_err(config_error)?;
    fill(unet, tensors, path, Precision::F32)
}

/// Writes parameters as a safetensors file, in an atomic way.
///
/// # Errors
/// A file that cannot be written.
pub fn write_tensors(
    path: &Path,
    parameters: &[NamedParameter],
    metadata: &[(&str, &str)],
) -> Result<(), ModelError> {
    let mut map = TensorMap::default();
    for NamedParameter { name, shape, values } in parameters {
        let values = values.try_to_vec_as::<f32>().map_err(|error| {
            ModelError::request("weights", format!("to read \"{name}\" from the device"), error)
        })?;
        map.tensors.push(NamedTensor::from_f32(name, shape, &values));
    }
    map.metadata.insert("format".into(), "pt".into());
    map.metadata.extend(metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())));
    Ok(safetensors::write(path, &map)?)
}

pub(crate) fn to_value<T: Serialize>(value: &T) -> serde_json::Value {
    // These types hold numbers, strings and lists only, which always serialise.
    serde_json::to_value(value).unwrap_or_default()
}

pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    Ok(atomic::write_bytes(path, format!("{value:#}\n").as_bytes())?)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| sumi_formats::FormatError::Io {
        path: path.to_path_buf(),
        action: "open the file",
        source,
    })?;
    serde_json::from_slice(&python_numbers(&bytes)).map_err(|error| ModelError::Config {
        path: path.to_path_buf(),
        message: error.to_string(),
    })
}
