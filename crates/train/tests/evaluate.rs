//! What is measured along the way changes nothing, is lost by nothing, and decides what is kept.

use burn::tensor::Device;
use serde_json::Value;
use std::cell::Cell;
use std::path::Path;
use sumi_data::Pictures;
use sumi_train::checkpoint::Best;
use sumi_train::{
    Evaluation, Event, Outcome, RunConfig, RunOptions, Start, StepReport, TrainError, run,
};

const CONFIG: &str = r#"
[data]
kind = "digits"

[network]
kind = "unet"
channels = [8, 16]
blocks = 1
attention = [false, true]
norm_groups = 4
dropout = 0.1

[train]
steps = 60
batch_size = 8
learning_rate = 4e-3
ema_decay = 0.5
log_every = 7
checkpoint_every = 30
keep_checkpoints = 1
eval_every = 12

[eval]
count = 40
steps = 4

[sample]
every = 0
"#;

/// Steps so long that a later network is often a worse one.
const WILD: [&str; 2] = ["train.learning_rate=0.1", "train.ema_decay=0.0"];

fn config(changes: &[&str]) -> RunConfig {
    let changes: Vec<String> = changes.iter().map(|c| c.to_string()).collect();
    RunConfig::parse(CONFIG, "test", &changes).unwrap()
}

/// What a run said, beside how it ended.
#[derive(Default)]
struct Said {
    evaluations: Vec<Evaluation>,
    warnings: Vec<String>,
}

/// Where a run is asked to stop: before it takes another step than this one, and where it measures at this step, after
/// so many steps of sampling.
#[derive(Clone, Copy)]
struct Until {
    step: u64,
    asked: usize,
}

const END: Until = Until { step: u64::MAX, asked: 0 };

fn go(
    config: &RunConfig,
    out: &Path,
    start: Start,
    until: Until,
) -> (Result<Outcome, TrainError>, Said) {
    let (training, held_out) = sumi_data::load_split(&config.data).unwrap();
    go_on(config, (&training, Some(&held_out)), out, start, until)
}

fn go_on(
    config: &RunConfig,
    (training, held_out): (&Pictures, Option<&Pictures>),
    out: &Path,
    start: Start,
    until: Until,
) -> (Result<Outcome, TrainError>, Said) {
    let (step, asked) = (Cell::new(0), Cell::new(0));
    let stop = || {
        asked.set(asked.get() + 1);
        step.get() >= until.step && asked.get() > until.asked
    };
    let mut said = Said::default();
    let options = RunOptions { out, start, held_out, stop: &stop };
    let outcome = run(config, training, &Device::flex(), &options, &mut |event| match event {
        Event::Start { step: at, .. } | Event::Step(StepReport { step: at, .. }) => {
            step.set(at);
            asked.set(0);
        }
        Event::Evaluation(evaluation) => said.evaluations.push(evaluation),
        Event::Warning(warning) => said.warnings.push(warning.into()),
        _ => {}
    });
    (outcome, said)
}

/// Every line of the log, without the times that no two runs share.
fn log(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    let line = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        fields.retain(|key, _| !key.ends_with("_secs") && !key.ends_with("per_sec"));
        line
    };
    text.lines().map(line).collect()
}

fn checkpoints(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains("checkpoint")).collect();
    names.sort();
    names
}

/// Everything that two runs must agree in.
fn traces(out: &Path) -> (Vec<Vec<u8>>, Vec<Value>, Vec<String>) {
    let files = [
        "checkpoint-0000060/unet/diffusion_pytorch_model.safetensors",
        "checkpoint-0000060/trainer/weights.safetensors",
        "checkpoint-0000060/trainer/optimizer.safetensors",
        "best",
        "best.json",
    ];
    let files = files.map(|file| std::fs::read(out.join(file)).unwrap()).to_vec();
    (files, log(out), checkpoints(out))
}

#[test]
fn the_best_is_kept_and_the_log_says_why() {
    for (metric, rises) in [("fid", false), ("fid", true), ("kid", true), ("loss", true)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let choice = format!("eval.metric={metric}");
        let config = match rises {
            true => config(&[&[&*choice], &WILD[..]].concat()),
            false => config(&[&choice]),
        };
        let (outcome, said) = go(&config, out, Start::New, END);
        let outcome = outcome.unwrap();
        assert!(outcome.finished && said.warnings.is_empty());

        let steps: Vec<u64> = said.evaluations.iter().map(|e| e.step).collect();
        assert_eq!(steps, [12, 24, 36, 48, 60], "{metric}");
        let logged = log(out).into_iter().filter(|line| !line["metric"].is_null());
        let expected = said.evaluations.iter().map(|e| {
            serde_json::json!({"step": e.step, "metric": metric, "score": e.score, "best": e.best})
        });
        assert_eq!(logged.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{metric}");
        let lowest = said.evaluations.iter().min_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
        let scores: Vec<f64> = said.evaluations.iter().map(|e| e.score).collect();
        assert!(lowest.best && said.evaluations[0].best, "{metric}: {scores:?}");
        assert_eq!(lowest.step < 60, rises, "{metric}: {scores:?}");

        // One checkpoint is kept, the newest, and the best beside it.
        let best = Best { step: lowest.step, score: lowest.score, eval: config.eval.clone() };
        let named = format!("checkpoint-{:07}", lowest.step);
        assert_eq!(best.checkpoint(), named);
        assert_eq!(outcome.best.as_ref(), Some(&best), "{metric}");
        let text = std::fs::read_to_string(out.join("best.json")).unwrap();
        assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), best);
        assert_eq!(std::fs::read_to_string(out.join("best")).unwrap(), format!("{named}\n"));
        let mut kept = vec![named.clone(), "checkpoint-0000060".into()];
        kept.dedup();
        assert_eq!(checkpoints(out), kept, "{metric}");
        let open = |path: &str| sumi_model::Model::open(&out.join(path), &Device::flex()).unwrap();
        assert_eq!(open("best").card.unwrap().step, lowest.step);
        assert_eq!(open("latest").card.unwrap().step, 60);
        assert_eq!(open("").card.unwrap().step, 60);
    }
}

#[test]
fn measuring_changes_no_weight() {
    let weights = |changes: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let changes = [&["train.keep_checkpoints=9"], changes].concat();
        go(&config(&changes), folder.path(), Start::New, END).0.unwrap();
        let file = |step: &str, file: &str| {
            let path = folder.path().join(format!("checkpoint-00000{step}")).join(file);
            std::fs::read(path).unwrap()
        };
        let losses = log(folder.path()).into_iter().filter(|line| !line["loss"].is_null());
        let state = String::from_utf8(file("30", "trainer/state.json")).unwrap();
        let files = [
            file("60", "trainer/weights.safetensors"),
            file("60", "trainer/optimizer.safetensors"),
        ];
        (files, losses.collect::<Vec<_>>(), state.contains("evaluated_step"))
    };
    let without = weights(&["train.eval_every=0"]);
    assert!(!without.2, "a state that older versions cannot read");
    for metric in ["eval.metric=fid", "eval.metric=loss"] {
        let with = weights(&[metric, "train.eval_every=10"]);
        assert!(with.0 == without.0, "{metric}: the tensors differ");
        assert_eq!(with.1, without.1, "{metric}");
        assert!(with.2);
    }
}

#[test]
fn stopping_anywhere_and_going_on_changes_nothing() {
    for changes in [&["eval.metric=fid"][..], &["eval.metric=loss", WILD[0], WILD[1]]] {
        let (config, metric) = (config(changes), changes[0]);
        let straight = tempfile::tempdir().unwrap();
        go(&config, straight.path(), Start::New, END).0.unwrap();
        let expected = traces(straight.path());

        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        // Between two evaluations; in the middle of one that falls on a checkpoint's step or not; in the last.
        let mut start = Start::New;
        for (step, asked) in [(17, 0), (24, 1), (24, 2), (36, 1), (60, 2)] {
            let (outcome, said) = go(&config, out, start, Until { step, asked });
            let outcome = outcome.unwrap();
            assert_eq!((outcome.finished, outcome.step), (false, step), "{metric}");
            assert!(said.evaluations.iter().all(|e| e.step < step), "{metric}: {step}");
            start = Start::Resume;
        }
        let (outcome, said) = go(&config, out, start, END);
        assert!(outcome.unwrap().finished && said.evaluations.len() == 1, "{metric}");
        let found = traces(out);
        assert!(found.0 == expected.0, "{metric}: files differ");
        assert_eq!((found.1, found.2), (expected.1, expected.2), "{metric}");

        // Nothing is left to be done, and nothing is done twice.
        let (outcome, said) = go(&config, out, start, END);
        assert!(outcome.unwrap().finished && said.evaluations.is_empty());
        assert_eq!(log(out), log(straight.path()));
    }
}

/// What kill -9 leaves: a log that is ahead of the checkpoints, a new best of which only the checkpoint is written, a
/// `best` that was not replaced yet.
#[test]
fn dying_without_a_word_changes_nothing() {
    let config = config(&["eval.metric=loss"]);
    let straight = tempfile::tempdir().unwrap();
    let (outcome, said) = go(&config, straight.path(), Start::New, END);
    outcome.unwrap();
    let expected = traces(straight.path());
    assert!(said.evaluations[2].best, "{:?}", said.evaluations);

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    go(&config, out, Start::New, Until { step: 30, asked: 0 }).0.unwrap();
    let before: Vec<(&str, Vec<u8>)> =
        ["best", "best.json"].map(|file| (file, std::fs::read(out.join(file)).unwrap())).to_vec();
    let old = String::from_utf8(before[0].1.clone()).unwrap();
    let old = old.trim();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&out.join(old), &copy.path().join(old));
    go(&config, out, Start::Resume, Until { step: 36, asked: 5 }).0.unwrap();
    assert_eq!(checkpoints(out), ["checkpoint-0000036"]);
    for (file, bytes) in &before {
        std::fs::write(out.join(file), bytes).unwrap();
    }
    copy_folder(&copy.path().join(old), &out.join(old));
    let log_path = out.join("log.jsonl");
    let more =
        "{\"step\":48,\"metric\":\"loss\",\"score\":0.0,\"best\":true,\"eval_secs\":1.0}\n{\"st";
    let text = std::fs::read_to_string(&log_path).unwrap() + more;
    std::fs::write(&log_path, text).unwrap();

    go(&config, out, Start::Resume, END).0.unwrap();
    let found = traces(out);
    assert!(found.0 == expected.0, "files differ");
    assert_eq!((found.1, found.2), (expected.1, expected.2));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Another measure starts from nothing, but the old best stays until there is a new one.
#[test]
fn another_measure_is_no_rival() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let steps = |steps: u64| format!("train.steps={steps}");
    go(&config(&["eval.metric=loss", &steps(12)]), out, Start::New, END).0.unwrap();
    let off = config(&["train.eval_every=0", &steps(20)]);
    go(&off, out, Start::Resume, END).0.unwrap();
    assert_eq!(checkpoints(out), ["checkpoint-0000012", "checkpoint-0000020"]);
    // A Frechet distance, which is larger than the loss.
    let fid = config(&["eval.metric=fid", &steps(24)]);
    let (outcome, said) = go(&fid, out, Start::Resume, END);
    let (best, found) = (outcome.unwrap().best.unwrap(), said.evaluations);
    assert!(found.len() == 1 && found[0].step == 24 && found[0].best, "{found:?}");
    assert_eq!(best.eval, fid.eval);

    // The best is gone, and so is its claim.
    std::fs::remove_dir_all(out.join(best.checkpoint())).unwrap();
    let newest = sumi_model::newest_checkpoint(out);
    if newest.is_some() {
        let (_, said) = go(&config(&[&steps(36)]), out, Start::Resume, END);
        assert!(said.evaluations.iter().any(|e| e.best), "{:?}", said.evaluations);
    }
}

#[test]
fn what_is_missing_is_missed_before_the_first_step() {
    let (training, held_out) = sumi_data::load_split(&config(&[]).data).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let one = held_out.subset(&[0]);
    let weights = folder.path().join("weights.pth");
    std::fs::write(&weights, b"nothing").unwrap();
    let broken = format!("eval.features={}", weights.display());
    let cases: [(&[&str], Option<&Pictures>, &str); 7] = [
        (&["eval.features=pixel"], Some(&held_out), "eval.features: expected inception"),
        (&["eval.features=clip"], Some(&held_out), "eval.features: expected pixels"),
        (&["eval.features=efficientnet-lite0"], Some(&held_out), "efficientnet-lite0"),
        (&[&broken], Some(&held_out), "weights.pth"),
        (&["eval.on=held-out"], None, "eval.on: expected pictures to be held out"),
        (&[], Some(&one), "needs at least 2 samples, found 1"),
        (&["eval.metric=kid"], Some(&one), "2 samples"),
    ];
    for (changes, held_out, expected) in cases {
        let out = folder.path().join("run");
        let config = config(changes);
        let (outcome, said) = go_on(&config, (&training, held_out), &out, Start::New, END);
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{changes:?}: {message}");
        assert!(said.evaluations.is_empty() && checkpoints(&out).is_empty());
        assert!(!out.join("config.toml").exists(), "the next attempt would need --resume");
    }
}

#[test]
fn without_held_out_pictures_it_says_so_once() {
    let (training, held_out) = sumi_data::load_split(&config(&[]).data).unwrap();
    let cases: [(&[&str], Option<&Pictures>, &str); 3] = [
        (
            &["train.steps=24"],
            None,
            "the fid of the evaluation is on 40 pictures that are trained on",
        ),
        (&["train.steps=24", "eval.on=training", "eval.metric=loss"], Some(&held_out), "the loss"),
        (&["train.steps=24", "eval.on=held-out"], Some(&held_out), ""),
    ];
    for (changes, held_out, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let pictures = (&training, held_out);
        let (outcome, said) = go_on(&config(changes), pictures, folder.path(), Start::New, END);
        assert!(outcome.is_ok() && said.evaluations.len() == 2);
        match expected {
            "" => assert!(said.warnings.is_empty(), "{:?}", said.warnings),
            _ => assert!(
                said.warnings.len() == 1 && said.warnings[0].starts_with(expected),
                "{:?}",
                said.warnings
            ),
        }
    }
}

/// A classifier and points of the plane have a loss, with noise of its own that each evaluation shares.
#[test]
fn a_loss_is_measured_on_anything() {
    let classifier = ["network.kind=classifier", "eval.metric=loss", "eval.count=300"];
    let points = [
        "data.kind=swiss-roll",
        "data.count=400",
        "data.held_out_fraction=0.5",
        "network.channels=[8]",
        "network.attention=[false]",
        "network.norm_groups=1",
        "eval.metric=loss",
        "eval.count=300",
    ];
    for changes in [&classifier[..], &points[..]] {
        let score = |more: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let config = config(&[changes, more].concat());
            let (outcome, said) = go(&config, folder.path(), Start::New, END);
            outcome.unwrap();
            said.evaluations.iter().map(|e| e.score).collect::<Vec<_>>()
        };
        let scores = score(&[]);
        assert!(scores.iter().all(|score| (0.0..5.0).contains(score)), "{scores:?}");
        assert!(scores[4] < scores[0], "it learns nothing: {scores:?}");
        assert_eq!(score(&[]), scores);
        assert_ne!(score(&["eval.seed=1"]), scores, "the noise is not the seed's");
    }
}
