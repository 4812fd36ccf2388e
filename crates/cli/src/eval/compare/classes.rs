//! Scores class by class.

use super::scores::features;
use super::sets::Side;
use crate::error::CliError;
use std::collections::BTreeMap;
use sumi_metrics::{Labelled, ScoreByClass, frechet_by_class};

/// Fewer pictures of a class than this say nothing about its Frechet distance.
const LEAST: usize = 10;

/// The Frechet distance of every class of two sides that have the same classes.
pub struct ByClass {
    /// The name of each class that either side has.
    pub names: Vec<String>,
    /// Its classes are indices into `names`.
    pub found: ScoreByClass,
}

impl ByClass {
    /// `None` where a side has no classes. Classes are the same where they have the same name.
    ///
    /// # Errors
    /// A distance that cannot be computed.
    pub fn of(real: &Side, fake: &Side) -> Result<Option<Self>, CliError> {
        let (Some(of_real), Some(of_fake)) = (&real.seen, &fake.seen) else { return Ok(None) };
        if of_real.class_names.is_empty() || of_fake.class_names.is_empty() {
            return Ok(None);
        }
        let mut names = of_real.class_names.clone();
        let mut known: BTreeMap<String, usize> = names.iter().cloned().zip(0..).collect();
        for name in &of_fake.class_names {
            known.entry(name.clone()).or_insert_with(|| {
                names.push(name.clone());
                names.len() - 1
            });
        }
        let of = |name: &String| known.get(name).copied().unwrap_or(0);
        let renumbered: Vec<usize> = of_fake.class_names.iter().map(of).collect();
        let labels: Vec<usize> = of_fake.labels.iter().map(|&label| renumbered[label]).collect();
        let what = "a distance by class";
        let real = Labelled::new(features(real, what)?, &of_real.labels)?;
        let fake = Labelled::new(features(fake, what)?, &labels)?;
        Ok(Some(Self { names, found: frechet_by_class(real, fake, LEAST)? }))
    }

    /// What is to be said of classes that have no score.
    pub fn remark(&self) -> Option<String> {
        let left_out = &self.found.left_out;
        let first = left_out.first()?;
        Some(format!(
            "{} of {} classes have fewer than {LEAST} pictures in a set and no Frechet distance of their own, such \
             as \"{}\" (REAL {}, FAKE {})",
            left_out.len(),
            self.names.len(),
            self.names[first.class],
            first.real,
            first.generated
        ))
    }
}
