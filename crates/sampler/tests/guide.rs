//! `docs/samplers.md` is written from the catalog; `SUMI_BLESS=1` writes it anew.

use std::fmt::Write;
use std::path::Path;
use sumi_sampler::{CATALOG, Convention, Entry, GridKind};

const HEAD: &str = "\
# The samplers

Written from the catalog in `crates/sampler/src/catalog.rs`; a test holds it to it.

`sumi sample MODEL --sampler NAME` takes the name in the first column, or what it is called elsewhere; case, spaces and
punctuation do not count. *Order* is the power of the step size with which the error falls: a sampler without one adds noise,
so that only the distribution of its samples converges. *Calls* are the evaluations of the network at every step but the
last.

";

const GRIDS: &str = "
## Which levels they visit

`--grid-kind` places the levels; without it the model folder decides, and where that says nothing, what is usual for the
sampler in diffusers.

| kind | where the levels lie |
|---|---|
";

const TAIL: &str = "
Here sigma is the noise over the signal, sigma / alpha, as in k-diffusion. A grid ends at no noise, unless diffusers ends it
at the first timestep's level: dpm_solver and deis, and ddim where its stride does not divide the timesteps or
`set_alpha_to_one` is off. On Karras grids the network is told whole timesteps where diffusers rounds them.
";

fn row(entry: &Entry) -> String {
    let order = entry.order.map_or("-".into(), |order| order.to_string());
    let switched = |other: Option<sumi_sampler::Sampler>| other.is_some_and(|o| o.adds_noise());
    let noise = match entry.sampler {
        quiet if !quiet.adds_noise() && switched(quiet.with_eta(1.0)) => "with `--eta`",
        quiet if !quiet.adds_noise() && switched(quiet.with_churn(1.0)) => "with `--churn`",
        quiet if !quiet.adds_noise() => "no",
        noisy if noisy.with_eta(0.0).is_some_and(|other| !other.adds_noise()) => {
            "yes, but for `--eta 0`"
        }
        _ => "yes",
    };
    let steps = entry.usual_steps.map_or("all".into(), |steps| steps.to_string());
    let elsewhere = match (entry.scheduler, entry.elsewhere) {
        (Some(class), others) => {
            std::iter::once(class).chain(others.iter().copied()).collect::<Vec<_>>().join(", ")
        }
        (None, others) => others.join(", "),
    };
    format!(
        "| `{}` | {order} | {noise} | {} | {steps} | {} | {elsewhere} | {} |",
        entry.name, entry.calls_per_step, entry.advice, entry.paper
    )
}

#[test]
fn the_guide_is_the_catalog() {
    let mut text = HEAD.to_string();
    text += "| name | order | adds noise | calls | usual steps | when to take it | elsewhere | paper |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for entry in CATALOG {
        writeln!(text, "{}", row(entry)).unwrap();
    }
    text += GRIDS;
    for (_, name, words) in GridKind::ALL {
        writeln!(text, "| `{name}` | {words} |").unwrap();
    }
    text += TAIL;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/samplers.md");
    if std::env::var_os("SUMI_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/samplers.md is not the catalog; SUMI_BLESS=1 writes it anew");
}

/// What a reader of the guide relies on.
#[test]
fn entries_say_what_there_is_to_say() {
    for entry in CATALOG {
        let year = |word: &str| word.parse().is_ok_and(|year: u32| (1980..2030).contains(&year));
        assert!(entry.paper.split([' ', ',', ':']).any(year), "{}: a paper has a year", entry.name);
        assert!(!entry.advice.is_empty() && entry.advice.len() < 80, "{}", entry.name);
        assert!((1..=7).contains(&entry.calls_per_step), "{}", entry.name);
        assert!(!entry.serves.is_empty(), "{}", entry.name);
        let distilled = entry.convention == Convention::Distilled;
        assert!(!distilled || entry.usual_steps.is_some_and(|n| n <= 8), "{}", entry.name);
    }
}
