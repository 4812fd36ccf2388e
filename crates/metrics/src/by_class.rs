//! A score for every class.

use std::collections::BTreeMap;

use crate::{Features, Labelled, MetricError, frechet_distance};

/// The score of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// The class.
    pub class: usize,
    /// Its real samples.
    pub real: usize,
    /// Its generated samples.
    pub generated: usize,
    /// Its score.
    pub score: f64,
}

/// A class without a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLeftOut {
    /// The class.
    pub class: usize,
    /// Its real samples.
    pub real: usize,
    /// Its generated samples.
    pub generated: usize,
}

/// The score of every class that has enough samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreByClass {
    /// The scored classes, ascending.
    pub classes: Vec<ClassScore>,
    /// The classes with too few samples in either set, ascending.
    pub left_out: Vec<ClassLeftOut>,
    /// The mean score of the scored classes, each counted once; none without any.
    pub mean: Option<f64>,
}

/// `score(real, generated)` of the samples of every class of which both sets have at least `least`.
///
/// # Errors
/// If the sets differ in columns, or an error of `score`.
pub fn score_by_class(
    real: Labelled<'_>,
    generated: Labelled<'_>,
    least: usize,
    score: impl Fn(&Features, &Features) -> Result<f64, MetricError>,
) -> Result<ScoreByClass, MetricError> {
    real.features.check_columns(generated.features)?;
    // Real and generated samples of each class.
    let mut counts: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
    for (side, set) in [real, generated].iter().enumerate() {
        for &class in set.labels {
            counts.entry(class).or_default()[side] += 1;
        }
    }
    let (mut classes, mut left_out) = (Vec::new(), Vec::new());
    for (class, [in_real, in_generated]) in counts {
        if in_real.min(in_generated) < least {
            left_out.push(ClassLeftOut { class, real: in_real, generated: in_generated });
            continue;
        }
        let score = score(&real.of_class(class), &generated.of_class(class))?;
        classes.push(ClassScore { class, real: in_real, generated: in_generated, score });
    }
    let sum: f64 = classes.iter().map(|c| c.score).sum();
    let mean = (!classes.is_empty()).then(|| sum / classes.len() as f64);
    Ok(ScoreByClass { classes, left_out, mean })
}

/// The squared Frechet distance of every class of which both sets have at least `least` samples, two or more.
///
/// With Inception's features their mean is the intra-class FID (Miyato and Koyama, 2018). It is larger than FID, the
/// more so the fewer samples a class has.
///
/// # Errors
/// As [`frechet_distance`].
pub fn frechet_by_class(
    real: Labelled<'_>,
    generated: Labelled<'_>,
    least: usize,
) -> Result<ScoreByClass, MetricError> {
    score_by_class(real, generated, least.max(2), frechet_distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_scored_alone_and_small_ones_named() {
        let real = Features::new(7, 1, vec![0.0, 10.0, 2.0, 14.0, 5.0, 18.0, 6.0]).unwrap();
        let real = Labelled::new(&real, &[1, 4, 1, 4, 2, 4, 2]).unwrap();
        let generated = Features::new(6, 1, vec![3.0, 5.0, 10.0, 14.0, 18.0, 7.0]).unwrap();
        let generated = Labelled::new(&generated, &[1, 1, 4, 4, 4, 9]).unwrap();
        let found = frechet_by_class(real, generated, 0).unwrap();
        assert_eq!(found.classes.iter().map(|c| c.class).collect::<Vec<_>>(), [1, 4]);
        // Class 1 is moved by 3 and as wide; class 4 is the same.
        assert!((found.classes[0].score - 9.0).abs() < 1e-12 && found.classes[1].score < 1e-12);
        assert_eq!((found.classes[1].real, found.classes[0].generated), (3, 2));
        assert!((found.mean.unwrap() - 4.5).abs() < 1e-12);
        let left_out = [
            ClassLeftOut { class: 2, real: 2, generated: 0 },
            ClassLeftOut { class: 9, real: 0, generated: 1 },
        ];
        assert_eq!(found.left_out, left_out);
        let found = frechet_by_class(real, generated, 4).unwrap();
        assert_eq!((found.classes.len(), found.left_out.len(), found.mean), (0, 4, None));
    }
}
