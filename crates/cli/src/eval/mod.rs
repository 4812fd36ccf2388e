//! `sumi eval`: how good a model is, in numbers.

mod args;
mod bpd;
mod pictures;

pub use args::EvalArgs;

use crate::error::CliError;
use args::Measure;

pub fn run(args: &EvalArgs) -> Result<(), CliError> {
    match &args.measure {
        Measure::Bpd(args) => bpd::run(args),
    }
}
