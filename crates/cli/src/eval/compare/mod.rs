//! `sumi eval fid|kid|is|prdc|clip-score|neighbours|all`: one set of pictures against another.

mod captioned;
pub mod choose;
mod classes;
mod figures;
mod output;
mod report;
mod scores;
pub mod sets;

pub use scores::Asked;

use super::args::CompareArgs;
use crate::error::CliError;
use crate::sample::check_parents;
use crate::signals::Stop;
use crate::{device, progress};
use captioned::{Captioned, captioned};
use classes::ByClass;
use scores::{Floor, LeftOut, Scores, Task, attempt, features, floor, score};
use sets::{Look, Set, Side, open};
use std::path::Path;
use sumi_features::Info;
use sumi_metrics::{Memory, MemoryOptions, memory};

/// Everything that was found out.
pub struct Comparison {
    /// What the features depend on; nothing where they came from files.
    pub info: Option<Info>,
    /// The reference, where one was given.
    pub real: Option<Side>,
    /// What is judged.
    pub fake: Side,
    /// How FAKE was drawn, where a model drew it.
    pub drawn: Option<String>,
    /// What FAKE scores.
    pub scores: Scores,
    /// What REAL scores against itself.
    pub floor: Option<Floor>,
    /// Which real pictures the samples are near to.
    pub memory: Option<Memory>,
    /// Scores class by class, where both sides have classes.
    pub by_class: Option<ByClass>,
    /// How well FAKE fits its captions.
    pub captioned: Option<Captioned>,
    /// What was asked for and cannot be had.
    pub left_out: LeftOut,
}

pub fn run(args: &CompareArgs, asked: Asked) -> Result<(), CliError> {
    check(args, asked)?;
    let (real, fake) = match &args.fake {
        Some(fake) => (Some(args.real.as_path()), fake.as_path()),
        None if asked.needs_no_real() => (None, args.real.as_path()),
        None => {
            return Err(CliError::Usage(
                "expected two sets, REAL and FAKE, found one (only `is` and `clip-score` judge a set by \
                 itself)"
                    .into(),
            ));
        }
    };
    let comparison = compare(args, asked, (real, fake))?;
    if let Some(path) = &args.report {
        report::page(args, &comparison)?.write(path)?;
    }
    output::write(args, &comparison)
}

fn check(args: &CompareArgs, asked: Asked) -> Result<(), CliError> {
    if asked.is_only_clip_score() && args.clip.is_none() {
        return Err(CliError::Usage(
            "--clip: expected the folder of a CLIPModel, by which captions are matched, found none"
                .into(),
        ));
    }
    let at_least_one = [
        ("neighbours", args.neighbours),
        ("kid-subsets", args.kid_subsets),
        ("splits", args.splits),
        ("batch", args.seen.batch),
        ("count", args.count.unwrap_or(1)),
    ];
    for (name, found) in at_least_one {
        // More of anything would take years, or not fit a machine.
        if !(1..=1_000_000_000).contains(&found) {
            return Err(CliError::Usage(format!("--{name}: expected at least 1, found {found}")));
        }
    }
    if args.kid_subset_size < 2 {
        let found = args.kid_subset_size;
        return Err(CliError::Usage(format!(
            "--kid-subset-size: expected at least 2, found {found}"
        )));
    }
    check_parents([&args.report])
}

fn compare(
    args: &CompareArgs,
    asked: Asked,
    (real_path, fake_path): (Option<&Path>, &Path),
) -> Result<Comparison, CliError> {
    let device = device::open(args.device)?;
    let mut real = real_path.map(|path| open(path, &args.seen, None, &device)).transpose()?;
    let mut fake = open(fake_path, &args.seen, Some(args), &device)?.first(args.count);
    let mut sets: Vec<_> = real.iter_mut().chain([&mut fake]).collect();
    // Captions are matched by CLIP; nobody else has to look then.
    let features = if asked.is_only_clip_score() { "clip" } else { &args.seen.features };
    let clip = args.clip.as_deref();
    let extractor = choose::extractor(features, &args.seen, clip, &mut sets, &device)?;
    let stop = Stop::listen()?;
    let look =
        Look { pictures: args.report.is_some(), diversity: asked.diversity.then_some(args.seed) };
    let see =
        |set: &mut Set, name| set.see(extractor.as_ref(), (name, args.seen.batch, look), &stop);
    let real = match (real.take(), real_path) {
        (Some(mut set), Some(path)) => {
            let seen = see(&mut set, "real")?;
            Some(set.side(path, seen))
        }
        _ => None,
    };
    let drawn = fake.describe();
    let seen = see(&mut fake, "fake")?;
    let mut left_out = LeftOut::new();
    let (set, fake) = fake.parted(fake_path, seen);
    let bar = progress::bar("scoring", 0);
    let task = Task::new(asked, args, &bar);
    let captioned = match (asked.clip_score, set) {
        (true, Some(mut set)) => attempt(task, "clip_score", &mut left_out, || {
            captioned(args, extractor.as_ref(), (&mut set, &fake), &device, &stop)
        })?,
        (true, None) => attempt(task, "clip_score", &mut left_out, || {
            let path = fake.path.display();
            let what = "the CLIP score needs pictures that are there, found";
            Err(CliError::Failed(format!("{path}: {what} {}", fake.kind)))
        })?,
        _ => None,
    };
    let info = extractor.map(|extractor| extractor.info().clone());
    let sides = Sides { info, real, fake, drawn, captioned };
    let comparison = sides.scored(task, left_out);
    bar.finish_and_clear();
    comparison
}

/// Both sides, seen and not yet scored.
struct Sides {
    info: Option<Info>,
    real: Option<Side>,
    fake: Side,
    drawn: Option<String>,
    captioned: Option<Captioned>,
}

impl Sides {
    fn scored(self, task: Task<'_>, mut left_out: LeftOut) -> Result<Comparison, CliError> {
        let asked = task.asked;
        let Self { info, real, fake, drawn, captioned } = self;
        if let Some(real) = real.as_ref().filter(|real| real.dims() != fake.dims()) {
            return Err(CliError::Failed(format!(
                "{}: expected {} features a picture, as {} has, found {}; compare what one extractor saw",
                fake.path.display(),
                real.dims(),
                real.path.display(),
                fake.dims()
            )));
        }
        let reference = real.as_ref().unwrap_or(&fake);
        let mut scores = score(reference, &fake, task, &mut left_out)?;
        let memory = match asked.neighbours {
            true => attempt(task, "neighbours", &mut left_out, || {
                let what = "a search for neighbours";
                let (real, fake) = (features(reference, what)?, features(&fake, what)?);
                Ok(memory(fake, real, &MemoryOptions::default())?)
            })?,
            false => None,
        };
        let by_class = match &real {
            Some(real) if asked.fid => ByClass::of(real, &fake)?,
            _ => None,
        };
        scores.copied = memory.as_ref().map(|memory| memory.copied);
        scores.nearer = memory.as_ref().map(|memory| memory.nearer);
        scores.fid_by_class = by_class.as_ref().and_then(|by_class| by_class.found.mean);
        scores.clip_score = captioned
            .as_ref()
            .map(|found| [found.score.torchmetrics().mean, found.score.hessel().mean]);
        let floor = match &real {
            Some(real) => floor(real, &fake, task)?,
            None => None,
        };
        Ok(Comparison {
            info,
            real,
            fake,
            drawn,
            scores,
            floor,
            memory,
            by_class,
            captioned,
            left_out,
        })
    }
}
