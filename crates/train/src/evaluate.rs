//! How good the averaged weights are, along the way.

use crate::batch::Noising;
use crate::task::Task;
use crate::times::TimeSampler;
use crate::{EvalConfig, EvalSet, Metric, RunConfig, TrainError, Trainer};
use burn::tensor::Device;
use std::borrow::Cow;
use sumi_data::Pictures;
use sumi_features::{
    Choice, Collect, Drawn, Extractor, FeatureError, Images, Pixels, Resize, Source, collect,
};
use sumi_metrics::{Features, GaussianStatistics, SubsetOptions, kernel_distance};
use sumi_model::{Classes, Generator, Plan, Request};

/// Beyond the steps of any training, so that no noise of the training comes again.
const FIRST_STREAM: u64 = 1 << 48;

/// Measures a network in training. Its random streams are its own: training takes the same steps with and without
/// it.
pub(crate) struct Evaluator {
    config: EvalConfig,
    against: Against,
}

/// What is measured against.
enum Against {
    /// Real pictures, as an extractor sees them.
    Seen(Extractor, Real),
    /// Pictures to noise.
    Pictures(Pictures),
}

/// What a distance needs of real pictures.
enum Real {
    Statistics(GaussianStatistics),
    Features(Features),
}

impl Evaluator {
    /// Sees `pictures`, and misses whatever is missing here, before hours of training.
    ///
    /// # Errors
    /// Features that are not known, weights that are not there, pictures that cannot be measured, a wish to stop.
    pub(crate) fn open(
        eval: &EvalConfig,
        pictures: &Pictures,
        device: &Device,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, TrainError> {
        let against = match eval.metric {
            Metric::Loss => Against::Pictures(spread(pictures, eval.count)),
            Metric::Fid | Metric::Kid => {
                let extractor = extractor(&eval.features, pictures, device)?;
                let real = see(
                    &mut Images::pictures("eval.on".as_ref(), pictures.clone())?,
                    &extractor,
                    stop,
                )?;
                Against::Seen(extractor, Real::new(real, eval)?)
            }
        };
        Ok(Self { config: eval.clone(), against })
    }

    /// What is measured, and how.
    pub(crate) fn config(&self) -> &EvalConfig {
        &self.config
    }

    /// The score of the averaged weights; `None` where the run is to stop first.
    ///
    /// # Errors
    /// A score that is not finite or cannot be computed.
    pub(crate) fn score<T: Task>(
        &self,
        trainer: &Trainer<T>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<f64>, TrainError> {
        let score = match &self.against {
            Against::Pictures(pictures) => mean_loss(trainer, pictures, self.config.seed, stop),
            Against::Seen(extractor, real) => {
                let drawn = self.drawn(trainer, extractor, stop);
                drawn.and_then(|drawn| real.distance_to(&drawn, &self.config))
            }
        };
        match score {
            Err(TrainError::Feature(FeatureError::Stopped)) => Ok(None),
            Ok(score) if !score.is_finite() => {
                let what = format!("{} of the evaluation", self.config.metric.name());
                Err(TrainError::NotFinite { step: trainer.step, what })
            }
            other => other.map(Some),
        }
    }

    /// Samples of the averaged weights, as an extractor sees them.
    fn drawn<T: Task>(
        &self,
        trainer: &Trainer<T>,
        extractor: &Extractor,
        stop: &dyn Fn() -> bool,
    ) -> Result<Features, TrainError> {
        // A config that asks a classifier for pictures is refused.
        let Some(model) = trainer.model() else {
            return Err(TrainError::Config(
                "eval.metric: expected \"loss\" for this network".into(),
            ));
        };
        let plan = Plan::new(&model.scheduler, self.config.choice())?;
        let EvalConfig { count, seed, .. } = self.config;
        let batch = trainer.config.train.batch_size;
        let request = Request { count, batch, seed, classes: Classes::All, noise: None };
        let generator = Generator::new(&model, &plan, request)?;
        see(&mut Drawn::new(generator, count, Vec::new(), stop), extractor, stop)
    }
}

impl Real {
    fn new(real: Features, eval: &EvalConfig) -> Result<Self, TrainError> {
        if eval.metric == Metric::Kid {
            // Too few pictures for a subset show here.
            kid(&real, &real, eval)?;
            return Ok(Self::Features(real));
        }
        Ok(Self::Statistics(GaussianStatistics::from_features(&real)?))
    }

    fn distance_to(&self, drawn: &Features, eval: &EvalConfig) -> Result<f64, TrainError> {
        match self {
            Self::Statistics(real) => Ok(real.frechet(&GaussianStatistics::from_features(drawn)?)?),
            Self::Features(real) => kid(real, drawn, eval),
        }
    }
}

fn kid(real: &Features, drawn: &Features, eval: &EvalConfig) -> Result<f64, TrainError> {
    let usual = SubsetOptions::default();
    // As many as there are, where that is fewer than a usual subset has.
    let size = usual.size.min(real.rows()).min(drawn.rows());
    let options = SubsetOptions { size, seed: eval.seed as u32, ..usual };
    Ok(kernel_distance(real, drawn, &options)?.mean)
}

fn extractor(features: &str, like: &Pictures, device: &Device) -> Result<Extractor, TrainError> {
    let refused = |message: String| TrainError::Config(format!("eval.features: {message}"));
    match features.parse().map_err(refused)? {
        Choice::Weights(weights) => Ok(weights.open(Resize::default(), device)?),
        Choice::Pixels => {
            let Pictures { width_px, height_px, channels, .. } = *like;
            Ok(Extractor::pixels(Pixels { width_px, height_px, channels }))
        }
        Choice::Clip => {
            let expected = "expected pixels, efficientnet-lite0, inception or a file of weights";
            Err(refused(format!("{expected}, found clip")))
        }
    }
}

fn see(
    source: &mut dyn Source,
    extractor: &Extractor,
    stop: &dyn Fn() -> bool,
) -> Result<Features, TrainError> {
    let seen = collect(source, extractor, &Collect::default(), &mut |_| match stop() {
        true => Err(FeatureError::Stopped),
        false => Ok(()),
    });
    Ok(seen?.features)
}

/// The mean loss on pictures that are noised alike every time; the weights are averaged ones, and nothing is dropped
/// or mirrored.
fn mean_loss<T: Task>(
    trainer: &Trainer<T>,
    pictures: &Pictures,
    seed: u64,
    stop: &dyn Fn() -> bool,
) -> Result<f64, TrainError> {
    let network = trainer.averaged_network();
    let noising = Noising {
        pictures,
        parameterisation: &trainer.parameterisation,
        // Without the losses of the past, by which the times would move.
        times: &TimeSampler::new(&trainer.config),
        flip: false,
        null_class: None,
        keeps_pictures: trainer.task.needs_pictures(),
        seed,
        device: &trainer.device().clone().inner(),
    };
    let indices: Vec<usize> = (0..pictures.len()).collect();
    let mut sum = 0.0;
    for (index, indices) in indices.chunks(trainer.config.train.batch_size).enumerate() {
        if stop() {
            return Err(FeatureError::Stopped.into());
        }
        let batch = noising.batch(FIRST_STREAM + index as u64, indices);
        sum += trainer.task.loss(&network, &batch) * indices.len() as f64;
    }
    Ok(sum / indices.len().max(1) as f64)
}

/// Which pictures are measured against, and what is to be said where they are those of the training.
///
/// # Errors
/// Held-out pictures are asked for, and there are none.
pub(crate) fn chosen<'a>(
    config: &RunConfig,
    training: &'a Pictures,
    held_out: Option<&'a Pictures>,
) -> Result<(Cow<'a, Pictures>, Option<String>), TrainError> {
    let held_out = held_out.filter(|held_out| !held_out.is_empty());
    match (config.eval.on, held_out) {
        (None | Some(EvalSet::HeldOut), Some(held_out)) => Ok((Cow::Borrowed(held_out), None)),
        (Some(EvalSet::HeldOut), None) => Err(TrainError::Config(
            "eval.on: expected pictures to be held out, found none; raise data.held_out_fraction"
                .into(),
        )),
        (Some(EvalSet::Training), _) | (None, None) => {
            let some = spread(training, config.eval.count);
            let warning = format!(
                "the {} of the evaluation is on {} pictures that are trained on: it does not show \
                 what is learned by heart; data.held_out_fraction keeps some from training",
                config.eval.metric.name(),
                some.len()
            );
            Ok((Cow::Owned(some), Some(warning)))
        }
    }
}

/// `count` of the pictures, evenly over all; pictures of a class often stand together.
fn spread(pictures: &Pictures, count: usize) -> Pictures {
    let (all, count) = (pictures.len(), count.min(pictures.len()));
    let indices: Vec<usize> = (0..count).map(|i| i * all / count).collect();
    pictures.subset(&indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_pictures_are_the_first_of_even_parts() {
        let digits = sumi_data::digits::load();
        let some = spread(&digits, 3);
        let third = digits.len() / 3;
        assert_eq!(some.picture(1), digits.picture(third));
        assert_eq!(some.picture(2), digits.picture(2 * digits.len() / 3));
        assert_eq!((some.len(), spread(&digits, usize::MAX).len()), (3, digits.len()));
    }
}
