//! `[eval]`: how good the averaged weights are, along the way.

use super::{NetworkConfig, RunConfig};
use serde::{Deserialize, Serialize};
use sumi_data::Source;
use sumi_model::SamplerChoice;
use sumi_sampler::{Sampler, SamplerKind};

/// A number that is the lower the better the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The Frechet distance of samples to real pictures.
    #[default]
    Fid,
    /// Their kernel distance, which few samples do not bias.
    Kid,
    /// The loss that is minimised, at noise and times that stay the same.
    Loss,
}

impl Metric {
    /// What configs and logs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fid => "fid",
            Self::Kid => "kid",
            Self::Loss => "loss",
        }
    }
}

/// Which pictures are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvalSet {
    /// Those that are not trained on.
    HeldOut,
    /// Those that are.
    Training,
}

/// What is measured along the way, with the averaged weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// What.
    pub metric: Metric,
    /// What is seen in pictures: `pixels`, `efficientnet-lite0`, `inception` or a file of weights of the latter two.
    pub features: String,
    /// How many samples are drawn; of training pictures and for the loss, also how many of them are taken.
    pub count: usize,
    /// With which sampler.
    pub sampler: SamplerKind,
    /// With how many sampling steps.
    pub steps: usize,
    /// The first sample's seed, and that of the loss's noise.
    pub seed: u64,
    /// Against which pictures; the held-out ones where nothing is said and there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<EvalSet>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            metric: Metric::Fid,
            features: "pixels".into(),
            count: 1000,
            sampler: Sampler::Ddim { eta: 0.0 }.into(),
            steps: 50,
            seed: 0,
            on: None,
        }
    }
}

impl EvalConfig {
    /// With what samples are drawn.
    pub fn choice(&self) -> SamplerChoice {
        super::choice(self.sampler, self.steps)
    }
}

impl RunConfig {
    /// What cannot be measured.
    pub(super) fn eval_conflict(&self) -> Option<String> {
        let eval = &self.eval;
        if self.train.eval_every == 0 {
            return None;
        }
        if eval.on == Some(EvalSet::HeldOut) && self.data.held_out_fraction == 0.0 {
            return Some(
                "eval.on: expected \"training\" where data.held_out_fraction = 0, found \"held-out\""
                    .into(),
            );
        }
        if eval.metric == Metric::Loss {
            return None;
        }
        let of_what = match (&self.network, &self.data.source) {
            (NetworkConfig::Classifier { .. }, _) => Some("network.kind = \"classifier\""),
            (_, Source::Points { .. }) => Some("points of the plane"),
            _ => None,
        };
        let found = eval.metric.name();
        if let Some(what) = of_what {
            return Some(format!("eval.metric: expected \"loss\" with {what}, found \"{found}\""));
        }
        if eval.count < 2 {
            let count = eval.count;
            return Some(format!("eval.count: expected at least 2 for {found}, found {count}"));
        }
        self.drawing_conflict("eval", eval.steps, eval.choice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(eval: &str, changes: &[&str]) -> Result<RunConfig, String> {
        let text = format!(
            "[data]\nkind = \"digits\"\n[network]\nkind = \"unet\"\nchannels = [8]\nblocks = 1\n\
             attention = [false]\n[train]\nsteps = 4\neval_every = 2\n[sample]\nevery = 0\n\
             [eval]\n{eval}\n"
        );
        let changes: Vec<String> = changes.iter().map(|c| c.to_string()).collect();
        RunConfig::parse(&text, "run.toml", &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn the_section_reads_back() {
        let config = parse("", &[]).unwrap();
        assert_eq!((config.train.eval_every, &config.eval), (2, &EvalConfig::default()));
        let all = "metric = \"kid\"\nfeatures = \"inception\"\ncount = 7\nsampler = \"heun\"\n\
                   steps = 9\nseed = 3\non = \"training\"";
        let config = parse(all, &[]).unwrap();
        let EvalConfig { metric, count, on, .. } = config.eval;
        assert_eq!((metric, count, on), (Metric::Kid, 7, Some(EvalSet::Training)));
        let again = RunConfig::parse(&config.to_toml().unwrap(), "again", &[]).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn mistakes_are_named() {
        for (changes, expected) in [
            (&["eval.metrics=fid"][..], "did you mean `metric`?"),
            (&["eval.metric=fit"], "did you mean `fid`?"),
            (&["eval.on=heldout"], "did you mean `held-out`?"),
            (&["eval.count=0"], "eval.count: expected at least 1, found 0"),
            (&["eval.count=1"], "eval.count: expected at least 2 for fid, found 1"),
            (&["eval.count=9999999"], "eval.count: expected at most 1048576, found 9999999"),
            (&["eval.steps=0"], "eval.steps: expected from 1 to process.timesteps = 1000, found 0"),
            (&["eval.sampler=dimd"], "did you mean \"ddim\"?"),
            (&["process.prediction=mean"], "eval.sampler: expected ddpm, the only one"),
            (
                &["data.held_out_fraction=0.0", "eval.on=held-out"],
                "eval.on: expected \"training\" where data.held_out_fraction = 0, found \"held-out\"",
            ),
            (
                &["data.kind=two-moons"],
                "eval.metric: expected \"loss\" with points of the plane, found \"fid\"",
            ),
            (
                &["network.kind=classifier", "eval.metric=kid"],
                "eval.metric: expected \"loss\" with network.kind = \"classifier\", found \"kid\"",
            ),
        ] {
            let message = parse("", changes).unwrap_err();
            assert!(message.contains(expected), "{changes:?}: {message}");
        }
        // What nobody asks for is not wrong.
        parse("count = 1", &["train.eval_every=0"]).unwrap();
        parse("metric = \"loss\"\ncount = 1", &["network.kind=classifier"]).unwrap();
    }
}
