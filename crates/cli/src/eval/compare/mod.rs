//! `sumi eval fid|kid|is|prdc|clip-score|neighbours|all`: one set of pictures against another.

pub mod choose;
mod output;
mod scores;
pub mod sets;

pub use scores::Asked;

use super::args::CompareArgs;
use crate::device;
use crate::error::CliError;
use crate::sample::check_parents;
use crate::signals::Stop;
use scores::{Floor, LeftOut, Scores, floor, score};
use sets::{Side, open};
use std::path::Path;
use sumi_features::Info;

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
    /// What was asked for and cannot be had.
    pub left_out: LeftOut,
}

pub fn run(args: &CompareArgs, asked: Asked) -> Result<(), CliError> {
    check(args)?;
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
    output::write(args, &comparison)
}

fn check(args: &CompareArgs) -> Result<(), CliError> {
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
    let extractor = choose::extractor(&args.seen, args.clip.as_deref(), &mut sets, &device)?;
    let stop = Stop::listen()?;
    let show = args.report.is_some() || asked.neighbours;
    let drawn = fake.describe();
    let see = |set: &mut sets::Set, name| {
        set.see(extractor.as_ref(), (name, args.seen.batch, show), &stop)
    };
    let real = match (real.take(), real_path) {
        (Some(mut set), Some(path)) => {
            let seen = see(&mut set, "real")?;
            Some(set.side(path, seen))
        }
        _ => None,
    };
    let seen = see(&mut fake, "fake")?;
    let fake = fake.side(fake_path, seen);
    if let Some(real) = real.as_ref().filter(|real| real.dims() != fake.dims()) {
        return Err(CliError::Failed(format!(
            "{}: expected {} features a picture, as {} has, found {}; compare what one extractor saw",
            fake.path.display(),
            real.dims(),
            real.path.display(),
            fake.dims()
        )));
    }
    let mut left_out = LeftOut::new();
    let scores = score(real.as_ref().unwrap_or(&fake), &fake, (asked, args), &mut left_out)?;
    let floor = match real.as_ref().and_then(|real| real.features.as_ref()) {
        Some(features) => {
            let count = fake.count().unwrap_or(features.rows());
            floor(features, count, (asked, args))?
        }
        None => None,
    };
    let info = extractor.map(|extractor| extractor.info().clone());
    Ok(Comparison { info, real, fake, drawn, scores, floor, left_out })
}
