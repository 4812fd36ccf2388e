//! The `sumi` command: arguments, progress, pictures and reports. The mathematics is elsewhere.

mod args;
mod bench;
mod convert;
mod demo;
mod device;
mod edit;
mod error;
mod eval;
mod film;
mod generate;
mod inspect;
mod interpolate;
mod lora;
mod memory;
mod output;
mod points;
mod progress;
mod sample;
mod schedule;
mod signals;
mod train;

use args::{Args, Command};
use clap::Parser;
use error::CliError;
use std::process::ExitCode;

/// Every operation of a network takes and gives back whole tensors. The system's allocator returns
/// such sizes to the kernel each time, and a quarter of a training step went into getting the
/// pages again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    quiet_panics();
    let outcome = std::panic::catch_unwind(|| run(args));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            output::talk(format_args!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
        // The hook has said what there is to say.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(args: Args) -> Result<(), CliError> {
    let threads = args.threads.unwrap_or(0);
    sumi_kernels::set_threads(threads).map_err(|error| CliError::Usage(error.to_string()))?;
    match args.command {
        Command::Demo(args) => demo::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Interpolate(args) => interpolate::run(&args),
        Command::Film(args) => film::run(&args),
        Command::Schedule(args) => schedule::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Lora(args) => lora::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}

/// A panic is a bug: one sentence on it, and where it is, instead of a backtrace.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let what = info.payload();
        let what = what
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| what.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line()));
        let place = place.unwrap_or_default();
        output::talk(format_args!("error: this is a bug in sumi: {what}{place}"));
    }));
}
