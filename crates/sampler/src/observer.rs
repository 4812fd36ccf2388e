//! Who watches a sampler run.

use std::ops::ControlFlow;
use sumi_process::NoiseLevel;

/// One step that has just been taken.
pub struct Moment<'a, S> {
    /// Which step, from 0.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// The noise level that was reached.
    pub level: NoiseLevel,
    /// The state at that level.
    pub x: &'a S,
    /// The estimate of the clean data that the step went by.
    pub x0: &'a S,
}

/// Is told about every step and may stop the run.
pub trait Observer<S> {
    /// Called after every step; `Break` cancels the run.
    fn step(&mut self, moment: Moment<'_, S>) -> ControlFlow<()>;
}

/// Watches nothing.
impl<S> Observer<S> for () {
    fn step(&mut self, _: Moment<'_, S>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<S, F: FnMut(Moment<'_, S>) -> ControlFlow<()>> Observer<S> for F {
    fn step(&mut self, moment: Moment<'_, S>) -> ControlFlow<()> {
        self(moment)
    }
}
