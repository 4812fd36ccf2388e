//! Checkpoints: a diffusers folder with the averaged weights, and the trainer's state beside it.
//!
//! ```text
//! OUT/latest                          the name of the newest checkpoint
//! OUT/best                            that of the one with the lowest score, where any was measured
//! OUT/best.json                       its step, its score and how that was measured
//! OUT/checkpoint-0001000/             opens in diffusers
//!     trainer/weights.safetensors     the weights that are being trained
//!     trainer/optimizer.safetensors   exp_avg.NAME and exp_avg_sq.NAME
//!     trainer/state.json              step, loader position, log window, the best so far
//!     trainer/losses.safetensors      the last losses of each timestep, where times are drawn by them
//! ```
//!
//! A checkpoint is written under a temporary name, synced and renamed, the run folder is synced,
//! `latest` and `best` are replaced, and only then do older checkpoints go: whenever the process dies,
//! those that they name are whole. What `best` says is also in the newest state, which decides.

use crate::task::Task;
use crate::times::{LossHistory, TimeSampler};
use crate::{AdamW, Ema, EvalConfig, Moments, TrainError, Trainer};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sumi_data::Position;
use sumi_formats::{FormatError, NamedTensor, TensorMap, atomic, safetensors};
use sumi_model::{ModelError, write_tensors};
use sumi_nn::{LoadError, NamedParameter, parameters, with_values};

const PREFIX: &str = "checkpoint-";
const TEMPORARY: &str = ".tmp-checkpoint-";

/// `trainer/state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// Where the next batch starts.
    pub position: Position,
    /// The seed that every random stream is derived from, together with the step.
    pub seed: u64,
    /// The fingerprint of the training pictures, whose order the position counts in.
    pub data: u64,
    /// The sum of the losses since the last record of the log.
    pub window_loss: f64,
    /// How many losses that are.
    pub window_steps: u64,
    /// Time spent training so far.
    pub train_secs: f64,
    /// The step at which the averaged weights were last measured; 0 before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evaluated_step: u64,
    /// The best so far, where any was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
}

fn is_zero(step: &u64) -> bool {
    *step == 0
}

/// `best.json`: the checkpoint that was found to be the best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its step.
    pub step: u64,
    /// What was measured: the lower the better.
    pub score: f64,
    /// How.
    pub eval: EvalConfig,
}

impl Best {
    /// The name of its folder in the run folder.
    pub fn checkpoint(&self) -> String {
        name_of(self.step)
    }
}

impl State {
    /// Takes in what was measured, and says whether it is the best so far. Scores that were measured in another way are no
    /// rivals.
    pub(crate) fn evaluated(&mut self, step: u64, score: f64, eval: &EvalConfig) -> bool {
        self.evaluated_step = step;
        let rival = self.best.as_ref().filter(|best| best.eval == *eval);
        let is_best = rival.is_none_or(|rival| score < rival.score);
        if is_best {
            self.best = Some(Best { step, score, eval: eval.clone() });
        }
        is_best
    }
}

fn name_of(step: u64) -> String {
    format!("{PREFIX}{step:07}")
}

/// Writes a checkpoint of `trainer` into the run folder `out` and returns its folder. Of one that is
/// there already only the state is written anew.
///
/// # Errors
/// A folder that cannot be written; the older checkpoints are then still there.
pub fn save<T: Task>(
    trainer: &Trainer<T>,
    out: &Path,
    state: &State,
    keep: usize,
) -> Result<PathBuf, TrainError> {
    let name = name_of(trainer.step);
    let folder = out.join(&name);
    if folder.is_dir() {
        write_state(&folder, state)?;
    } else {
        let temporary = out.join(format!("{TEMPORARY}{:07}", trainer.step));
        remove_folder(&temporary)?;
        let written = write_files(trainer, &temporary, state).and_then(|()| {
            std::fs::rename(&temporary, &folder)
                .map_err(|source| io(&folder, "rename the checkpoint to", source))
        });
        if let Err(error) = written {
            // Room for the next attempt; the first error is the one to report.
            let _ = std::fs::remove_dir_all(&temporary);
            return Err(error);
        }
        atomic::sync_folder(out)?;
    }
    let point = |file: &str, name: &str| {
        atomic::write_bytes(&out.join(file), format!("{name}\n").as_bytes())
    };
    point("latest", &name)?;
    let mut spared = vec![name];
    if let Some(best) = &state.best {
        // Strings and finite numbers only, which always serialise.
        let json = serde_json::to_vec_pretty(best).unwrap_or_default();
        atomic::write_bytes(&out.join("best.json"), &json)?;
        point("best", &best.checkpoint())?;
        spared.push(best.checkpoint());
    }
    prune(out, &spared, keep)?;
    Ok(folder)
}

fn write_state(folder: &Path, state: &State) -> Result<(), TrainError> {
    // Strings and finite numbers only, which always serialise.
    let state = serde_json::to_vec_pretty(state).unwrap_or_default();
    Ok(atomic::write_bytes(&folder.join("trainer/state.json"), &state)?)
}

fn write_files<T: Task>(
    trainer: &Trainer<T>,
    folder: &Path,
    state: &State,
) -> Result<(), TrainError> {
    create_folder(&folder.join("trainer"))?;
    trainer.task.write_configs(folder, &trainer.scheduler(), &trainer.card())?;
    let raw = parameters(&trainer.network);
    let renamed = |prefix: &str, values: Vec<&Tensor<1>>| -> Vec<NamedParameter> {
        raw.iter()
            .zip(values)
            .map(|(p, values)| NamedParameter {
                name: format!("{prefix}{}", p.name),
                shape: p.shape.clone(),
                values: values.clone(),
            })
            .collect()
    };
    let averages = renamed("", trainer.ema.averages().iter().collect());
    check_finite(trainer.step, raw.iter().chain(&averages))?;
    let weights = T::weights_path(folder);
    write_tensors(&weights, &averages, &[])?;
    write_tensors(&folder.join("trainer/weights.safetensors"), &raw, &[])?;
    let moments = trainer.optimizer.moments();
    let mut optimizer = renamed("exp_avg.", moments.iter().map(|m| &m.exp_avg).collect());
    optimizer.extend(renamed("exp_avg_sq.", moments.iter().map(|m| &m.exp_avg_sq).collect()));
    write_tensors(&folder.join("trainer/optimizer.safetensors"), &optimizer, &[])?;
    write_state(folder, state)?;
    if let Some(history) = trainer.times.history() {
        safetensors::write(folder.join(LOSSES), &saved_losses(history))?;
    }
    for part in ["scheduler", "trainer", ""] {
        atomic::sync_folder(&folder.join(part))?;
    }
    weights.parent().map_or(Ok(()), atomic::sync_folder)?;
    Ok(())
}

/// Where the losses by which times are drawn stand.
const LOSSES: &str = "trainer/losses.safetensors";

fn saved_losses(history: &LossHistory) -> TensorMap {
    let (losses, counts) = history.saved();
    let timesteps = counts.len();
    let mut map = TensorMap::default();
    let shape = [timesteps, losses.len() / timesteps.max(1)];
    map.tensors.push(NamedTensor::from_f32("losses", &shape, losses));
    map.tensors.push(NamedTensor::from_f32("counts", &[timesteps], &counts));
    map
}

fn restored_losses(path: &Path, timesteps: usize) -> Result<LossHistory, TrainError> {
    let mut tensors = by_name(safetensors::read(path)?)?;
    let mut take = |name: &str| tensors.remove(name).map(|(_, values)| values).unwrap_or_default();
    LossHistory::restore(timesteps, take("losses"), &take("counts")).ok_or_else(|| {
        TrainError::Folder {
            path: path.into(),
            expected: format!("the losses of {timesteps} timesteps"),
            found: "others".into(),
        }
    })
}

/// A checkpoint with a NaN in it would push out the good ones.
fn check_finite<'a>(
    step: u64,
    parameters: impl Iterator<Item = &'a NamedParameter>,
) -> Result<(), TrainError> {
    for NamedParameter { name, values, .. } in parameters {
        let sum = sumi_kernels::sum_of_squares(values.clone()).try_into_scalar::<f32>();
        if !sum.is_ok_and(f32::is_finite) {
            return Err(TrainError::NotFinite { step, what: format!("weight \"{name}\"") });
        }
    }
    Ok(())
}

/// Removes all but the newest `keep` checkpoints and those that are `spared`, and what an interrupted
/// write left.
fn prune(out: &Path, spared: &[String], keep: usize) -> Result<(), TrainError> {
    let entries = std::fs::read_dir(out).map_err(|source| io(out, "list the folder", source))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let (mut checkpoints, mut leftovers) = (Vec::new(), Vec::new());
    for name in names {
        match name.strip_prefix(PREFIX).map(str::parse::<u64>) {
            Some(Ok(step)) => checkpoints.push((step, name)),
            _ if name.starts_with(TEMPORARY) => leftovers.push(name),
            _ => {}
        }
    }
    checkpoints.sort_unstable();
    let surplus = checkpoints.len().saturating_sub(keep);
    let old = checkpoints.into_iter().take(surplus).map(|(_, name)| name);
    let old = old.filter(|name| !spared.contains(name));
    old.chain(leftovers).try_for_each(|name| remove_folder(&out.join(name)))
}

/// Brings `trainer` to where the newest checkpoint of `out` left off; `None` where there is none.
///
/// # Errors
/// A checkpoint that is broken or belongs to another network.
pub fn resume<T: Task>(trainer: &mut Trainer<T>, out: &Path) -> Result<Option<State>, TrainError> {
    let Some(folder) = sumi_model::newest_checkpoint(out) else {
        return Ok(None);
    };
    let state_path = folder.join("trainer/state.json");
    let text = std::fs::read(&state_path).map_err(|e| io(&state_path, "open the file", e))?;
    let mut state: State = serde_json::from_slice(&text)
        .map_err(|error| ModelError::Config { path: state_path, message: error.to_string() })?;

    if (state.seed, state.data) != (trainer.config.train.seed, trainer.pictures.fingerprint()) {
        return Err(TrainError::Folder {
            path: folder,
            expected: "a checkpoint that was trained on the same pictures with the same seed"
                .into(),
            found: "one that was not: pictures have been added, removed or changed".into(),
        });
    }

    // One that somebody removed is the best no longer.
    state.best = state.best.filter(|best| out.join(best.checkpoint()).is_dir());

    let layout = parameters(&trainer.network);
    let device = trainer.device().clone().inner();
    let read = |path: PathBuf, prefixes: &[&str]| -> Result<Vec<Vec<Tensor<1>>>, TrainError> {
        let mut tensors = by_name(safetensors::read(&path)?)?;
        let mut take = |prefix: &str| {
            layout
                .iter()
                .map(|p| take_flat(&mut tensors, &format!("{prefix}{}", p.name), &p.shape, &device))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| ModelError::Weights { path: path.clone(), source })
        };
        Ok(prefixes.iter().map(|prefix| take(prefix)).collect::<Result<Vec<_>, _>>()?)
    };
    let averages = read(T::weights_path(&folder), &[""])?.remove(0);
    let weights = read(folder.join("trainer/weights.safetensors"), &[""])?.remove(0);
    let mut moments =
        read(folder.join("trainer/optimizer.safetensors"), &["exp_avg.", "exp_avg_sq."])?;
    let exp_avg_sq = moments.pop().unwrap_or_default();
    let exp_avg = moments.pop().unwrap_or_default();
    let moments = exp_avg
        .into_iter()
        .zip(exp_avg_sq)
        .map(|(exp_avg, exp_avg_sq)| Moments { exp_avg, exp_avg_sq })
        .collect();

    trainer.network = with_values(trainer.network.clone(), weights);
    trainer.optimizer = AdamW::from_moments(trainer.config.train.adamw, moments);
    trainer.ema = {
        let train = &trainer.config.train;
        Ema::new(train.ema_decay, train.ema_warmup, averages)
    };
    if let (TimeSampler::LossSecondMoment(history), Some(timesteps)) =
        (&mut trainer.times, trainer.config.process.kind.timesteps())
    {
        *history = restored_losses(&folder.join(LOSSES), timesteps)?;
    }
    trainer.loader.seek(state.position)?;
    trainer.step = state.step;
    Ok(Some(state))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn by_name(map: TensorMap) -> Result<Tensors, FormatError> {
    let tensors = map.tensors.into_iter();
    tensors.map(|t| Ok((t.name.clone(), (t.shape.clone(), t.to_f32()?)))).collect()
}

fn take_flat(
    tensors: &mut Tensors,
    name: &str,
    shape: &[usize],
    device: &burn::tensor::Device,
) -> Result<Tensor<1>, LoadError> {
    match tensors.remove(name) {
        None => Err(LoadError::Missing { name: name.into(), shape: shape.into() }),
        Some((found, _)) if found != shape => {
            Err(LoadError::Shape { name: name.into(), expected: shape.into(), found })
        }
        Some((_, values)) => {
            let elements = values.len();
            Ok(Tensor::from_data(TensorData::new(values, [elements]), device))
        }
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(path).map_err(|source| io(path, "create the folder", source))
}

fn remove_folder(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(path, "remove the folder", error))
        }
        _ => Ok(()),
    }
}

fn io(path: &Path, action: &'static str, source: std::io::Error) -> TrainError {
    FormatError::Io { path: path.into(), action, source }.into()
}
