//! Time and losses between two records of the log.

use crate::checkpoint::State;
use crate::{Record, StepReport};
use std::time::Instant;

/// Keeps the time and the losses since the last record.
pub(crate) struct Clock {
    /// Where the run stands, but for the step and the loader's position.
    pub(crate) state: State,
    started: Instant,
    window_started: Instant,
    /// Steps since then: fewer than the window's where a run goes on in the middle of one.
    steps_here: u64,
}

impl Clock {
    pub(crate) fn new(state: State) -> Self {
        let now = Instant::now();
        Self { state, started: now, window_started: now, steps_here: 0 }
    }

    pub(crate) fn train_secs(&self) -> f64 {
        self.state.train_secs + self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn add(&mut self, report: &StepReport) {
        self.state.window_loss += report.loss;
        self.state.window_steps += 1;
        self.steps_here += 1;
    }

    /// Does `work` while it stands still, and says how many seconds that took.
    pub(crate) fn stopped<T>(&mut self, work: impl FnOnce() -> T) -> (T, f64) {
        let began = Instant::now();
        let result = work();
        let taken = began.elapsed();
        self.started += taken;
        self.window_started += taken;
        (result, taken.as_secs_f64())
    }

    pub(crate) fn record(&mut self, report: &StepReport, batch_size: usize) -> Record {
        let steps = self.state.window_steps.max(1) as f64;
        let loss = self.state.window_loss / steps;
        let secs = self.window_started.elapsed().as_secs_f64();
        self.window_started = Instant::now();
        let images = (self.steps_here * batch_size as u64) as f64;
        (self.state.window_loss, self.state.window_steps, self.steps_here) = (0.0, 0, 0);
        Record {
            step: report.step,
            loss,
            gradient_norm: report.gradient_norm,
            learning_rate: report.learning_rate,
            accuracy: report.accuracy,
            images_per_sec: images / secs.max(1e-9),
            train_secs: self.train_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_done_while_it_stands_is_no_training() {
        let began = Instant::now();
        let mut clock = Clock::new(State { train_secs: 5.0, ..State::default() });
        let (seven, secs) = clock.stopped(|| {
            std::thread::sleep(Duration::from_millis(300));
            7
        });
        assert_eq!(seven, 7);
        assert!(secs >= 0.3, "{secs}");
        let trained = clock.train_secs() - 5.0;
        let total = began.elapsed().as_secs_f64();
        // 1 us for the rounding of 5 s and more in f64.
        assert!(trained >= 0.0 && trained + secs <= total + 1e-6, "{trained} + {secs} of {total}");
    }
}
