//! Guiding a model at sampling.

use crate::{
    Batch, Classifier, Model, ModelError, Plan, SchedulerConfig, UNetDenoiser, WithAndWithout,
};
use sumi_process::Parameterisation;
use sumi_sampler::{
    ClassifierGuided, Denoiser, Grid, GuidanceInterval, Guided, Rescale, SamplerError,
};

/// What guidance leads away from.
#[derive(Clone, Copy, Debug)]
pub enum Weak<'a> {
    /// The same model without its class: classifier-free guidance.
    NoClass,
    /// A worse model of the same pictures: autoguidance.
    Model(&'a Model),
}

/// How far sampling goes beyond what a model says, see [`Guided`].
#[derive(Clone, Copy, Debug)]
pub struct Guidance<'a> {
    /// Away from what.
    pub weak: Weak<'a>,
    /// `s`: 1 is no guidance.
    pub scale: f64,
    /// The share `phi` of [`Rescale`], from 0 to 1.
    pub rescale: f64,
    /// At which noise levels.
    pub interval: Option<GuidanceInterval>,
}

/// Guidance by a classifier of noisy pictures, see [`ClassifierGuided`].
#[derive(Clone, Copy, Debug)]
pub struct ByClassifier<'a> {
    /// Whose gradient.
    pub classifier: &'a Classifier,
    /// `s`: 1 is Bayes' rule.
    pub scale: f64,
}

impl ByClassifier<'_> {
    /// Holds it against the model that is to be guided.
    pub(crate) fn check(&self, model: &Model) -> Result<(), ModelError> {
        if !self.scale.is_finite() {
            return Err(ModelError::request("classifier-scale", "a number", self.scale));
        }
        self.classifier.check_dims(model.picture_dims()?)?;
        let of =
            |scheduler: &SchedulerConfig| scheduler.process().map(|process| process.path()).ok();
        let learned = self.classifier.parameterisation.process.path();
        if let Some(path) = of(&model.scheduler).filter(|path| *path != learned) {
            let expected =
                format!("one that learned from pictures noised as the model's ({path:?})");
            return Err(ModelError::request("classifier", expected, format!("{learned:?}")));
        }
        let found = self.classifier.classes();
        match model.classes() {
            Some(expected) if expected != found => {
                let expected = format!("one of the model's {expected} classes");
                Err(ModelError::request("classifier", expected, format!("one of {found}")))
            }
            _ => Ok(()),
        }
    }
}

/// All guidance of a run; nothing by default.
#[derive(Default)]
pub(crate) struct Guides<'a> {
    /// Away from a weaker opinion, and what a weaker model predicts.
    pub away: Option<(Guidance<'a>, Option<Parameterisation>)>,
    /// By a classifier.
    pub classifier: Option<ByClassifier<'a>>,
}

impl Guides<'_> {
    /// Whether any of it changes what the model says.
    pub(crate) fn any(&self) -> bool {
        let away = self.away.as_ref().is_some_and(|(guidance, _)| guidance.scale != 1.0);
        away || self.classifier.is_some_and(|guide| guide.scale != 0.0)
    }

    /// The model as a denoiser, guided.
    pub(crate) fn denoiser<'r>(
        &'r self,
        model: &'r Model,
        (plan, grid): (&'r Plan, &'r Grid),
        classes: &'r [u32],
    ) -> Box<dyn Denoiser<Batch> + 'r> {
        let known = model.unet.classes().map(|_| classes.to_vec());
        let (grid, parameterisation) = (Some(grid), &plan.parameterisation);
        let of = |classes| UNetDenoiser::new(&model.unet, classes, parameterisation, grid);
        let strong = of(known.clone());
        let away: Box<dyn Denoiser<Batch> + 'r> = match &self.away {
            None => Box::new(strong),
            Some((guidance, weaks)) => {
                let &Guidance { scale, interval, rescale: phi, weak } = guidance;
                let rescale = (phi > 0.0).then_some(Rescale { phi, parameterisation });
                match weak {
                    Weak::NoClass => {
                        let null = model.null_class().unwrap_or_default();
                        let without = vec![null; classes.len()];
                        let both = [classes, &without].concat();
                        let (without, both) = (of(Some(without)), of(Some(both)));
                        let pair = WithAndWithout { with: strong, without, both };
                        Box::new(Guided { pair, scale, rescale, interval })
                    }
                    Weak::Model(weak) => {
                        let parameterisation = weaks.as_ref().unwrap_or(parameterisation);
                        let weak = UNetDenoiser::new(&weak.unet, known, parameterisation, grid);
                        Box::new(Guided { pair: (strong, weak), scale, rescale, interval })
                    }
                }
            }
        };
        match self.classifier {
            None => away,
            Some(ByClassifier { classifier, scale }) => {
                let gradient = move |x: &Batch, level| {
                    let gradient = classifier.log_prob_gradient(x.0.clone(), level, classes);
                    gradient.map(Batch).map_err(|error| SamplerError::Denoiser(Box::new(error)))
                };
                Box::new(ClassifierGuided { inner: away, gradient, scale })
            }
        }
    }
}

/// Holds guidance against the model; what a weaker model predicts, where there is one.
pub(crate) fn check(
    model: &Model,
    guidance: &Guidance<'_>,
) -> Result<Option<Parameterisation>, ModelError> {
    if !guidance.scale.is_finite() {
        return Err(ModelError::request("guidance", "a number", guidance.scale));
    }
    if !(0.0..=1.0).contains(&guidance.rescale) {
        let expected = "a number from 0 to 1";
        return Err(ModelError::request("guidance-rescale", expected, guidance.rescale));
    }
    match guidance.weak {
        Weak::NoClass if model.null_class().is_some() => Ok(None),
        Weak::NoClass => {
            let found = match model.classes() {
                Some(_) => {
                    "one that always knows its class (train with train.condition_dropout = 0.1)"
                }
                None => "one without classes",
            };
            let expected = "a model that also draws without its class, or --autoguidance";
            Err(ModelError::request("guidance", expected, found))
        }
        Weak::Model(weak) => {
            let of =
                |model: &Model| Ok::<_, ModelError>((model.picture_dims()?, model.unet.classes()));
            let (expected, found) = (of(model)?, of(weak)?);
            let text = |([c, h, w], classes): ([usize; 3], Option<usize>)| {
                format!("{c} x {h} x {w} numbers and {} classes", classes.unwrap_or(0))
            };
            if expected != found {
                let expected = format!("a weaker model of the same pictures, {}", text(expected));
                return Err(ModelError::request("autoguidance", expected, text(found)));
            }
            let said =
                |model: &Model| model.scheduler.parameterisation().map_err(ModelError::scheduler);
            let (own, other) = (said(model)?, said(weak)?);
            if own.process.path() != other.process.path() {
                let expected = "a weaker model whose process lies on the same path";
                let found = format!("{:?}", other.process.path());
                return Err(ModelError::request("autoguidance", expected, found));
            }
            Ok(Some(other))
        }
    }
}
