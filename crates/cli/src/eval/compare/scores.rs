//! Which scores are asked for, and what two sides get.

use super::super::args::CompareArgs;
use super::sets::Side;
use crate::error::CliError;
use indicatif::ProgressBar;
use sumi_metrics::{
    Features, GaussianAccumulator, GaussianStatistics, Mean, MetricError, SplitOptions,
    SubsetOptions, halves, inception_score, kernel_distance, prdc,
};

/// Which scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Asked {
    pub fid: bool,
    pub kid: bool,
    pub is: bool,
    pub prdc: bool,
    pub clip_score: bool,
    pub neighbours: bool,
    pub diversity: bool,
    /// Whether what cannot be computed is left out and said, and not an error.
    pub lenient: bool,
}

impl Asked {
    /// Everything that can be computed.
    pub const ALL: Self = Self {
        fid: true,
        kid: true,
        is: true,
        prdc: true,
        clip_score: true,
        neighbours: true,
        diversity: true,
        lenient: true,
    };

    /// Whether it is the CLIP score and nothing else.
    pub fn is_only_clip_score(self) -> bool {
        self == Self { clip_score: true, ..Self::default() }
    }

    /// How many parts it has.
    fn parts(self) -> usize {
        let parts = [self.fid, self.kid, self.is, self.prdc, self.neighbours, self.diversity];
        parts.into_iter().filter(|asked| *asked).count()
    }

    /// Whether nothing of it compares FAKE with REAL.
    pub fn needs_no_real(self) -> bool {
        !(self.fid || self.kid || self.prdc || self.neighbours)
    }
}

/// What is to be scored, and who watches.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub asked: Asked,
    pub args: &'a CompareArgs,
    /// One step a part of what is asked for and a split of REAL.
    pub bar: &'a ProgressBar,
}

impl<'a> Task<'a> {
    /// A task, its bar as long as it is.
    pub fn new(asked: Asked, args: &'a CompareArgs, bar: &'a ProgressBar) -> Self {
        bar.set_length((asked.parts() + args.floor_splits) as u64);
        Self { asked, args, bar }
    }
}

/// What one set scores against another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    pub fid: Option<f64>,
    pub kid: Option<[f64; 2]>,
    pub is: Option<[f64; 2]>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub density: Option<f64>,
    pub coverage: Option<f64>,
    /// The mean over pairs of pictures, and its standard error.
    pub diversity: Option<[f64; 2]>,
    /// The share that lies as near to a real picture as one in a hundred real ones does to another.
    pub copied: Option<f64>,
    /// The probability that a sample is nearer to a real picture than a real one is.
    pub nearer: Option<f64>,
    /// The mean over classes.
    pub fid_by_class: Option<f64>,
    /// As torchmetrics has it, and as its paper does.
    pub clip_score: Option<[f64; 2]>,
}

/// Which scores cannot be had, each with the reason.
pub type LeftOut = Vec<(&'static str, String)>;

/// Scores `fake` against `real`.
///
/// # Errors
/// What is asked for and cannot be computed, unless that is to be left out.
pub fn score(
    real: &Side,
    fake: &Side,
    task: Task<'_>,
    left_out: &mut LeftOut,
) -> Result<Scores, CliError> {
    let Task { asked, args, .. } = task;
    let mut tried = |name,
                     wanted: bool,
                     run: &mut dyn FnMut() -> Result<Scores, CliError>|
     -> Result<Scores, CliError> {
        if !wanted {
            return Ok(Scores::default());
        }
        Ok(attempt(task, name, left_out, run)?.unwrap_or_default())
    };
    let fid = tried("fid", asked.fid, &mut || {
        let distance = statistics(real)?.frechet(&statistics(fake)?)?;
        Ok(Scores { fid: Some(distance), ..Scores::default() })
    })?;
    let kid = tried("kid", asked.kid, &mut || {
        let found = kid(features(real, "KID")?, features(fake, "KID")?, args)?;
        Ok(Scores { kid: Some(found), ..Scores::default() })
    })?;
    let is = tried("is", asked.is, &mut || {
        Ok(Scores { is: Some(inception(fake, args)?), ..Scores::default() })
    })?;
    let manifolds = tried("precision, recall, density, coverage", asked.prdc, &mut || {
        let what = "precision and recall";
        let found = prdc(features(real, what)?, features(fake, what)?, args.neighbours)?;
        let mut scores = Scores::default();
        scores.set_prdc(&found);
        Ok(scores)
    })?;
    let diversity = tried("diversity", asked.diversity, &mut || {
        Ok(Scores { diversity: Some(diversity(fake)?), ..Scores::default() })
    })?;
    Ok(Scores {
        fid: fid.fid,
        kid: kid.kid,
        is: is.is,
        diversity: diversity.diversity,
        ..manifolds
    })
}

/// Runs what was asked for; where it cannot be done and `asked` is lenient, notes why instead.
///
/// # Errors
/// What cannot be done, if that is not to be left out.
pub fn attempt<T>(
    task: Task<'_>,
    name: &'static str,
    left_out: &mut LeftOut,
    run: impl FnOnce() -> Result<T, CliError>,
) -> Result<Option<T>, CliError> {
    task.bar.set_message(name);
    let outcome = run();
    task.bar.inc(1);
    match outcome {
        Err(error) if task.asked.lenient => {
            left_out.push((name, error.to_string()));
            Ok(None)
        }
        other => other.map(Some),
    }
}

impl Scores {
    fn set_prdc(&mut self, found: &sumi_metrics::Manifolds) {
        self.precision = Some(found.precision());
        self.recall = Some(found.recall());
        self.density = Some(found.density());
        self.coverage = Some(found.coverage());
    }

    /// The numbers, each under the name that `--json` gives it.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let pair = |pair: Option<[f64; 2]>, at: usize| pair.map(|pair| pair[at]);
        let all = [
            ("fid", self.fid),
            ("kid", pair(self.kid, 0)),
            ("kid_std", pair(self.kid, 1)),
            ("is", pair(self.is, 0)),
            ("is_std", pair(self.is, 1)),
            ("precision", self.precision),
            ("recall", self.recall),
            ("density", self.density),
            ("coverage", self.coverage),
            ("diversity", pair(self.diversity, 0)),
            ("diversity_error", pair(self.diversity, 1)),
            ("copied", self.copied),
            ("nearer", self.nearer),
            ("fid_by_class", self.fid_by_class),
            ("clip_score", pair(self.clip_score, 0)),
            ("clip_score_hessel", pair(self.clip_score, 1)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What REAL scores against itself, and how that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// Pictures of each half.
    pub count: usize,
    /// How often REAL was split.
    pub splits: usize,
    /// The mean over the splits.
    pub scores: Scores,
}

/// Scores a half of REAL against another half, as large as FAKE where REAL is twice as large; the mean over
/// random splits. How different REAL's pictures look is REAL's own score. `None` where there is nothing to say.
///
/// # Errors
/// A score that cannot be computed.
pub fn floor(real: &Side, fake: &Side, task: Task<'_>) -> Result<Option<Floor>, CliError> {
    let Task { asked, .. } = task;
    let diversity = if asked.diversity { diversity(real).ok() } else { None };
    let of_itself = Scores { diversity, ..Scores::default() };
    let halved = match &real.features {
        Some(features) if asked.fid || asked.kid || asked.prdc => {
            let count = fake.count().unwrap_or(features.rows());
            halved(features, count, task)?
        }
        _ => None,
    };
    Ok(match halved {
        Some(floor) => Some(Floor { scores: Scores { diversity, ..floor.scores }, ..floor }),
        None if diversity.is_some() => Some(Floor { count: 0, splits: 0, scores: of_itself }),
        None => None,
    })
}

fn halved(
    real: &Features,
    fake_count: usize,
    Task { asked, args, bar }: Task<'_>,
) -> Result<Option<Floor>, CliError> {
    let count = fake_count.min(real.rows() / 2);
    if args.floor_splits == 0 || count <= args.neighbours || count < 2 {
        return Ok(None);
    }
    bar.set_message("REAL against itself");
    let mut found = Vec::with_capacity(args.floor_splits);
    for split in 0..args.floor_splits {
        let seed = (args.seed as u32).wrapping_add(split as u32);
        let (first, second) = halves(real.rows(), count, seed)?;
        let mut scores = Scores::default();
        if asked.fid {
            let of = |rows| statistics_of(real, rows);
            scores.fid = Some(of(&first)?.frechet(&of(&second)?)?);
        }
        if !(asked.kid || asked.prdc) {
            found.push(scores);
            bar.inc(1);
            continue;
        }
        let (first, second) = (real.select(&first)?, real.select(&second)?);
        if asked.kid {
            scores.kid = Some(kid(&first, &second, args)?);
        }
        if asked.prdc {
            scores.set_prdc(&prdc(&first, &second, args.neighbours)?);
        }
        found.push(scores);
        bar.inc(1);
    }
    let mean = |pick: fn(&Scores) -> Option<f64>| {
        let values: Option<Vec<f64>> = found.iter().map(pick).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    let kid = mean(|s| s.kid.map(|kid| kid[0])).zip(mean(|s| s.kid.map(|kid| kid[1])));
    let scores = Scores {
        fid: mean(|s| s.fid),
        kid: kid.map(|(mean, deviation)| [mean, deviation]),
        precision: mean(|s| s.precision),
        recall: mean(|s| s.recall),
        density: mean(|s| s.density),
        coverage: mean(|s| s.coverage),
        ..Scores::default()
    };
    Ok(Some(Floor { count, splits: args.floor_splits, scores }))
}

/// Mean and covariance of some rows, of which no second copy is made.
fn statistics_of(features: &Features, rows: &[usize]) -> Result<GaussianStatistics, MetricError> {
    const BLOCK: usize = 1024;
    let mut accumulator = GaussianAccumulator::new(features.columns());
    for rows in rows.chunks(BLOCK) {
        accumulator.push(features.select(rows)?.data())?;
    }
    accumulator.finish()
}

/// How different its pictures look from each other.
///
/// # Errors
/// A side without pictures, or a network without maps.
pub fn diversity(side: &Side) -> Result<[f64; 2], CliError> {
    let distances = side.seen.as_ref().map(|seen| seen.distances.as_slice()).unwrap_or_default();
    if distances.is_empty() {
        return Err(CliError::Failed(format!(
            "{}: diversity needs two pictures and a network with maps (inception or efficientnet-lite0), \
             found neither",
            side.path.display()
        )));
    }
    let Mean { mean, error } = Mean::of(distances);
    Ok([mean, error])
}

/// The features of a side.
///
/// # Errors
/// A side of which only statistics are left.
pub fn features<'a>(side: &'a Side, what: &str) -> Result<&'a Features, CliError> {
    side.features.as_ref().ok_or_else(|| {
        CliError::Failed(format!(
            "{}: {what} needs features or pictures, found statistics, which only the Frechet distance \
             can use",
            side.path.display()
        ))
    })
}

fn statistics(side: &Side) -> Result<GaussianStatistics, MetricError> {
    match (&side.statistics, &side.features) {
        (Some(statistics), _) => Ok(statistics.clone()),
        (None, Some(features)) => GaussianStatistics::from_features(features),
        (None, None) => Err(MetricError::TooFewRows { what: "a covariance", needed: 2, found: 0 }),
    }
}

/// Mean and standard deviation over subsets.
fn kid(real: &Features, fake: &Features, args: &CompareArgs) -> Result<[f64; 2], MetricError> {
    let size = kid_subset_size(real.rows(), fake.rows(), args);
    let options = SubsetOptions { subsets: args.kid_subsets, size, ..SubsetOptions::default() };
    let found = kernel_distance(real, fake, &options)?;
    Ok([found.mean, found.deviation])
}

/// How many pictures a subset of KID has: as asked for, or half of the smaller set where that has no more, so that subsets
/// differ.
pub fn kid_subset_size(real: usize, fake: usize, args: &CompareArgs) -> usize {
    let smaller = real.min(fake);
    if smaller <= args.kid_subset_size { (smaller / 2).max(2) } else { args.kid_subset_size }
}

fn inception(side: &Side, args: &CompareArgs) -> Result<[f64; 2], CliError> {
    let scores = side.seen.as_ref().map(|seen| &seen.scores).filter(|scores| scores.columns() > 0);
    let scores = scores.ok_or_else(|| {
        CliError::Failed(format!(
            "{}: the Inception Score needs pictures and a network that names classes (inception or \
             efficientnet-lite0), found neither",
            side.path.display()
        ))
    })?;
    let options = SplitOptions { splits: args.splits, ..SplitOptions::default() };
    let found = inception_score(scores, &options)?;
    Ok([found.mean, found.deviation])
}
