//! `sumi eval`: how good a model is, in numbers.

mod args;
mod bpd;
mod compare;
mod pictures;
mod stats;

pub use args::EvalArgs;

use crate::error::CliError;
use args::Measure;
use compare::Asked;

pub fn run(args: &EvalArgs) -> Result<(), CliError> {
    match &args.measure {
        Measure::Bpd(args) => bpd::run(args),
        Measure::Stats(args) => stats::run(args),
        Measure::All(args) => compare::run(args, Asked::ALL),
        Measure::Fid(args) => compare::run(args, Asked { fid: true, ..Asked::default() }),
        Measure::Kid(args) => compare::run(args, Asked { kid: true, ..Asked::default() }),
        Measure::Is(args) => compare::run(args, Asked { is: true, ..Asked::default() }),
        Measure::Prdc(args) => compare::run(args, Asked { prdc: true, ..Asked::default() }),
        Measure::ClipScore(args) => {
            compare::run(args, Asked { clip_score: true, ..Asked::default() })
        }
        Measure::Neighbours(args) => {
            compare::run(args, Asked { neighbours: true, ..Asked::default() })
        }
    }
}
