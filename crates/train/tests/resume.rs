//! A run that is interrupted ends in the same bits as one that is not.

use burn::tensor::Device;
use std::cell::Cell;
use std::path::Path;
use sumi_data::Pictures;
use sumi_formats::{NamedTensor, safetensors};
use sumi_train::{Event, Outcome, Record, RunConfig, RunOptions, Start, TrainError, run};

const CONFIG: &str = r#"
[data]
kind = "digits"
flip = true

[network]
kind = "unet"
channels = [8, 16]
blocks = 1
attention = [false, true]
norm_groups = 4
dropout = 0.1

[train]
steps = 200
batch_size = 8
learning_rate = 1e-3
schedule = "cosine"
warmup_steps = 20
ema_decay = 0.99
log_every = 7
checkpoint_every = 60

[sample]
every = 0
"#;

fn config(changes: &[&str]) -> RunConfig {
    let changes: Vec<String> = changes.iter().map(|c| c.to_string()).collect();
    RunConfig::parse(CONFIG, "test", &changes).unwrap()
}

fn digits() -> Pictures {
    sumi_data::load_split(&config(&[]).data).unwrap().0
}

/// Runs until `stop_after` steps were taken here.
fn go(
    config: &RunConfig,
    out: &Path,
    resume: bool,
    stop_after: u64,
) -> Result<Outcome, TrainError> {
    let taken = Cell::new(0);
    let stop = || taken.get() >= stop_after;
    let start = if resume { Start::Resume } else { Start::New };
    let options = RunOptions { out, start, held_out: None, stop: &stop };
    run(config, &digits(), &Device::flex(), &options, &mut |event| {
        if let Event::Step(_) = event {
            taken.set(taken.get() + 1);
        }
    })
}

/// Step, loss and norm of the gradients of one line of the log.
type Line = (u64, f64, f64);

/// Everything in which two runs must agree: all tensors, and the losses of the log.
fn traces(out: &Path) -> (Vec<Vec<u8>>, Vec<Line>) {
    let folder = out.join("checkpoint-0000200");
    let files = [
        "unet/diffusion_pytorch_model.safetensors",
        "trainer/weights.safetensors",
        "trainer/optimizer.safetensors",
    ];
    let tensors = files.map(|file| std::fs::read(folder.join(file)).unwrap()).to_vec();
    let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    let losses = log
        .lines()
        .map(|line| serde_json::from_str::<Record>(line).unwrap())
        .map(|r| (r.step, r.loss, r.gradient_norm))
        .collect();
    (tensors, losses)
}

#[test]
fn stopping_and_going_on_changes_nothing() {
    let config = config(&[]);
    let straight = tempfile::tempdir().unwrap();
    let outcome = go(&config, straight.path(), false, u64::MAX).unwrap();
    assert!(outcome.finished && outcome.step == 200);
    let expected = traces(straight.path());
    assert_eq!(expected.1.len(), 200 / 7 + 1);

    let stopped = tempfile::tempdir().unwrap();
    let outcome = go(&config, stopped.path(), false, 73).unwrap();
    assert!(!outcome.finished && outcome.step == 73);
    assert!(stopped.path().join("checkpoint-0000073/model_index.json").is_file());
    let outcome = go(&config, stopped.path(), true, 50).unwrap();
    assert_eq!(outcome.step, 123);
    let outcome = go(&config, stopped.path(), true, u64::MAX).unwrap();
    assert!(outcome.finished);
    let found = traces(stopped.path());
    assert!(found.0 == expected.0, "the tensors differ");
    assert_eq!(found.1, expected.1);
}

/// What times are drawn by is part of a checkpoint, also before it is used and in a run that drops
/// its classes and learns its variance.
#[test]
fn times_drawn_by_their_losses_go_on_exactly() {
    let config = config(&[
        "objective.times=loss-second-moment",
        "objective.loss=hybrid",
        "process.timesteps=16",
        "process.variance=learned_range",
        "train.condition_dropout=0.2",
    ]);
    let straight = tempfile::tempdir().unwrap();
    go(&config, straight.path(), false, u64::MAX).unwrap();
    let losses = straight.path().join("checkpoint-0000200/trainer/losses.safetensors");
    let map = safetensors::read(&losses).unwrap();
    let counts = map.tensors.iter().find(|t| t.name == "counts").unwrap().to_f32().unwrap();
    assert_eq!(counts, [10.0; 16], "the history is not full, so nothing was drawn by it");

    let stopped = tempfile::tempdir().unwrap();
    go(&config, stopped.path(), false, 11).unwrap();
    go(&config, stopped.path(), true, 80).unwrap();
    go(&config, stopped.path(), true, u64::MAX).unwrap();
    let (expected, found) = (traces(straight.path()), traces(stopped.path()));
    assert!(found.0 == expected.0, "the tensors differ");
    assert_eq!(found.1, expected.1);
    let again = stopped.path().join("checkpoint-0000200/trainer/losses.safetensors");
    assert!(std::fs::read(losses).unwrap() == std::fs::read(again).unwrap());
}

#[test]
fn dying_without_a_word_changes_nothing() {
    let config = config(&["train.keep_checkpoints=9"]);
    let straight = tempfile::tempdir().unwrap();
    go(&config, straight.path(), false, u64::MAX).unwrap();

    // What kill -9 leaves at step 150: the checkpoints up to 120, a log that is ahead of them and
    // cut in the middle of a line, and half a checkpoint under its temporary name.
    let killed = tempfile::tempdir().unwrap();
    go(&config, killed.path(), false, 150).unwrap();
    std::fs::remove_dir_all(killed.path().join("checkpoint-0000150")).unwrap();
    std::fs::remove_file(killed.path().join("latest")).unwrap();
    let log = killed.path().join("log.jsonl");
    let text = std::fs::read_to_string(&log).unwrap() + "{\"step\": 15";
    std::fs::write(&log, text).unwrap();
    let half = killed.path().join(".tmp-checkpoint-0000150/unet");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("diffusion_pytorch_model.safetensors"), [0; 100]).unwrap();

    go(&config, killed.path(), true, u64::MAX).unwrap();
    let (expected, found) = (traces(straight.path()), traces(killed.path()));
    assert!(found.0 == expected.0, "the tensors differ");
    assert_eq!(found.1, expected.1);
    assert!(!killed.path().join(".tmp-checkpoint-0000150").exists());
}

#[test]
fn threads_do_not_matter() {
    let config = config(&["train.steps=12", "train.batch_size=33", "train.checkpoint_every=200"]);
    let weights = |threads: usize| {
        let out = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| go(&config, out.path(), false, u64::MAX)).unwrap();
        std::fs::read(outcome.checkpoint.join("trainer/weights.safetensors")).unwrap()
    };
    assert!(weights(1) == weights(2), "one thread and two give different weights");
}

/// Recomputing blocks may be switched on and off in the middle of a run.
#[test]
fn recomputing_blocks_changes_nothing() {
    let kept = tempfile::tempdir().unwrap();
    go(&config(&[]), kept.path(), false, u64::MAX).unwrap();
    let recomputing = config(&["train.checkpoint_blocks=true"]);
    let mixed = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| go(&recomputing, mixed.path(), false, 73)).unwrap();
    go(&recomputing, mixed.path(), true, 50).unwrap();
    go(&config(&[]), mixed.path(), true, 11).unwrap();
    go(&recomputing, mixed.path(), true, u64::MAX).unwrap();
    let (expected, found) = (traces(kept.path()), traces(mixed.path()));
    assert!(found.0 == expected.0, "the tensors differ");
    assert_eq!(found.1, expected.1);
}

#[test]
fn old_checkpoints_go_only_when_they_are_surplus() {
    let out = tempfile::tempdir().unwrap();
    let changes = ["train.steps=50", "train.checkpoint_every=10", "train.keep_checkpoints=2"];
    go(&config(&changes), out.path(), false, u64::MAX).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("checkpoint"))
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint-0000040", "checkpoint-0000050"]);
    assert_eq!(std::fs::read_to_string(out.path().join("latest")).unwrap(), "checkpoint-0000050\n");
}

#[test]
fn a_folder_with_another_run_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let short = ["train.steps=2"];
    let refusal = |changes: &[&str], resume| {
        go(&config(changes), out.path(), resume, u64::MAX).unwrap_err().to_string()
    };
    assert!(refusal(&short, true).contains("expected a run to resume, found none"));
    go(&config(&short), out.path(), false, u64::MAX).unwrap();
    assert!(refusal(&short, false).contains("add --resume"));
    for (change, named) in [
        ("train.seed=1", "another train.seed"),
        ("train.steps=3", "another train.steps, which shapes its learning rate"),
        ("train.learning_rate=0.1", "another [train]"),
        ("process.timesteps=10", "another [process]"),
    ] {
        let refusal = refusal(&["train.steps=2", change], true);
        assert!(refusal.contains(named), "{change}: {refusal}");
    }
    // Also without its configuration it is somebody's run.
    std::fs::remove_file(out.path().join("config.toml")).unwrap();
    assert!(refusal(&short, false).contains("log.jsonl of a run"));
    std::fs::remove_file(out.path().join("log.jsonl")).unwrap();
    std::fs::remove_file(out.path().join("latest")).unwrap();
    assert!(refusal(&short, false).contains("checkpoint-0000002 of a run"));
}

#[test]
fn a_run_in_use_and_pictures_that_changed_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let config = config(&["train.schedule=constant", "train.steps=2"]);
    let nested = || {
        let again = go(&config, out.path(), true, u64::MAX);
        again.unwrap_err().to_string()
    };
    let said = std::cell::RefCell::new(String::new());
    let pictures = digits();
    let stop = || {
        *said.borrow_mut() = nested();
        false
    };
    let options = RunOptions { out: out.path(), start: Start::New, held_out: None, stop: &stop };
    run(&config, &pictures, &Device::flex(), &options, &mut |_| {}).unwrap();
    assert!(said.borrow().contains("no other process trains in"), "{}", said.borrow());

    let fewer = pictures.subset(&(0..100).collect::<Vec<_>>());
    let options =
        RunOptions { out: out.path(), start: Start::Resume, held_out: None, stop: &|| false };
    let error = run(&config, &fewer, &Device::flex(), &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("pictures have been added"), "{error}");
}

#[test]
fn a_broken_checkpoint_is_an_error_that_names_it() {
    let out = tempfile::tempdir().unwrap();
    let changes = ["train.schedule=constant", "train.steps=2"];
    let outcome = go(&config(&changes), out.path(), false, u64::MAX).unwrap();
    let weights = outcome.checkpoint.join("trainer/weights.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let changes = ["train.schedule=constant", "train.steps=4"];
    let error = go(&config(&changes), out.path(), true, u64::MAX).unwrap_err();
    assert!(error.to_string().contains("weights.safetensors"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_checkpoint() {
    let out = tempfile::tempdir().unwrap();
    let changes = ["train.schedule=constant", "train.steps=2"];
    let outcome = go(&config(&changes), out.path(), false, u64::MAX).unwrap();
    let path = outcome.checkpoint.join("trainer/weights.safetensors");
    let mut map = safetensors::read(&path).unwrap();
    let mut values = map.tensors[0].to_f32().unwrap();
    values[0] = f32::NAN;
    map.tensors[0] = NamedTensor::from_f32(&map.tensors[0].name, &map.tensors[0].shape, &values);
    safetensors::write(&path, &map).unwrap();

    let changes = ["train.schedule=constant", "train.steps=9"];
    let error = go(&config(&changes), out.path(), true, u64::MAX).unwrap_err();
    assert!(error.to_string().starts_with("step 3: the loss is not finite"), "{error}");
    assert_eq!(std::fs::read_to_string(out.path().join("latest")).unwrap(), "checkpoint-0000002\n");
    sumi_model::Model::open(out.path(), &Device::flex()).unwrap();
}
