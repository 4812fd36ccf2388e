//! Pseudo numerical methods for diffusion models.

use crate::{Denoised, Grid, History, Interval, Run, SamplerError, State};
use sumi_process::NoiseLevel;

/// How PNDM gets the values that its sums begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PndmStart {
    /// The first three steps of at least four are pseudo Runge-Kutta (Eq. 13), which ask four times.
    RungeKutta,
    /// PLMS: the first step is taken twice, the second time with the mean of the noise at both its ends.
    Twice,
    /// PLMS from the second timestep on, as diffusers goes on from a picture where one step is left out: both
    /// looks at the first step are from its start, and the second attempt ends there.
    ResumedHere,
    /// PLMS from a later timestep on, as diffusers goes on from a picture: the first step is taken twice, even if it is
    /// the only one.
    ResumedAhead,
}

/// PNDM (Liu et al., Pseudo Numerical Methods for Diffusion Models on Manifolds, Algorithm 2): linear
/// multistep weights for the noise (Eq. 12), carried over each step by the transfer part (Eq. 11), which is
/// DDIM's, as diffusers' PNDMScheduler takes it.
///
/// `start` says how it gets the values that its sums begin with. Its error falls with the second power of the
/// step.
///
/// What is summed is the noise, or with `sums_v` the `v` that the network predicts, of which the noise at
/// the start of the step is made. That is what diffusers does with a network of `v`, and its pictures with it,
/// but of first order only: a `v` is said about its own level, and these are of several.
///
/// # Errors
/// The denoiser's, a grid that starts without signal, or the observer's wish to stop.
pub fn pndm<S: State>(
    x: S,
    run: &mut Run<'_, S>,
    start: PndmStart,
    sums_v: bool,
) -> Result<S, SamplerError> {
    let grid = run.grid;
    let runge_kutta_start = start == PndmStart::RungeKutta && grid.len() > 3;
    let mut history = History::new(4);
    let mut x = x;
    for (index, &interval) in grid.intervals.iter().enumerate() {
        let next = grid.intervals.get(index + 1).copied();
        let denoised = run.denoise(&x, interval.from)?;
        let words = Words { sums_v };
        let word = words.of(&denoised, interval.from);
        history.push(interval.from, word.clone());
        if next.is_some() {
            interval.has_signal("pndm")?;
        }
        let second_look = match (start, next) {
            _ if index > 0 || runge_kutta_start => None,
            (PndmStart::ResumedHere, _) => Some(interval.from),
            (PndmStart::ResumedAhead, _) | (_, Some(_)) => Some(interval.to),
            (_, None) => None,
        };
        x = match (next, second_look) {
            (Some(next), _) if runge_kutta_start && index < 3 => {
                runge_kutta(run, &x, words, (&word, interval), next)?
            }
            (_, Some(at)) => twice(run, &x, words, (&word, interval), at)?,
            (None, _) if index == 0 => interval.holding(&x, &denoised.x0),
            _ => words.step(interval, &x, &combined(&history, &word)),
        };
        run.tell(index, interval.to, &x, &denoised.x0)?;
    }
    Ok(x)
}

/// What enters the sums, and how a step is taken by it.
#[derive(Clone, Copy)]
struct Words {
    sums_v: bool,
}

impl Words {
    /// What the network says about a state at `level`: the noise, or `v = alpha eps - sigma x_0`.
    fn of<S: State>(self, denoised: &Denoised<S>, level: NoiseLevel) -> S {
        match self.sums_v {
            true => denoised.eps.combine(level.alpha, &denoised.x0, -level.sigma),
            false => denoised.eps.clone(),
        }
    }

    /// From `x` over `interval` by a word about its start: the noise of a `v` is `alpha v + sigma x`.
    fn step<S: State>(self, interval: Interval, x: &S, word: &S) -> S {
        let NoiseLevel { alpha, sigma } = interval.from;
        match self.sums_v {
            true => interval.along(x, &word.combine(alpha, x, sigma)),
            false => interval.along(x, word),
        }
    }
}

/// The word over the next step from its last four values, or from as many as there are (Adams and
/// Bashforth; Eq. 12).
fn combined<S: State>(history: &History<S>, latest: &S) -> S {
    let weights: &[f64] = match history.len() {
        0 | 1 => &[1.0],
        2 => &[3.0 / 2.0, -1.0 / 2.0],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    };
    let older = (1..).map_while(|i| history.get(i));
    let first = latest.combine(weights[0], latest, 0.0);
    weights[1..].iter().zip(older).fold(first, |sum, (w, (_, eps))| sum.combine(1.0, eps, *w))
}

/// The first step of PLMS, taken again to the level `at` of the second look, with the mean of what both say. diffusers
/// takes it again from one stride above that, which is not the first timestep where they are uneven.
fn twice<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    words: Words,
    (word, interval): (&S, Interval),
    at: NoiseLevel,
) -> Result<S, SamplerError> {
    let there = words.step(interval, x, word);
    let again = words.of(&run.denoise(&there, at)?, at);
    let from = shifted(run.grid, at, 1.0).unwrap_or(interval.from);
    Ok(words.step(Interval { from, to: at }, x, &word.combine(0.5, &again, 0.5)))
}

/// A pseudo Runge-Kutta step of four calls (Eq. 13).
fn runge_kutta<S: State>(
    run: &mut Run<'_, S>,
    x: &S,
    words: Words,
    (first, Interval { from, to }): (&S, Interval),
    next: Interval,
) -> Result<S, SamplerError> {
    // Half a stride below this timestep and above the next need not be one, where a stride is odd.
    let middle = || {
        let angle = 0.5 * (from.ratio().atan() + to.ratio().atan());
        run.grid.path.at_ratio(angle.tan())
    };
    let below = shifted(run.grid, from, -0.5).unwrap_or_else(middle);
    let above = shifted(run.grid, next.from, 0.5).unwrap_or_else(middle);
    let step = |to: NoiseLevel, word: &S| words.step(Interval { from, to }, x, word);
    let mut ask = |x: S, level| Ok::<S, SamplerError>(words.of(&run.denoise(&x, level)?, level));
    let second = ask(step(below, first), above)?;
    let third = ask(step(above, &second), above)?;
    let last = ask(step(next.from, &third), next.from)?;
    let ends = first.combine(1.0 / 6.0, &last, 1.0 / 6.0);
    let middles = second.combine(1.0 / 3.0, &third, 1.0 / 3.0);
    Ok(step(next.from, &ends.combine(1.0, &middles, 1.0)))
}

/// The level so many of the grid's strides above `level`, in whole timesteps; `None` on a grid that
/// knows none, or past the table.
fn shifted(grid: &Grid, level: NoiseLevel, strides: f64) -> Option<NoiseLevel> {
    let schedule = grid.schedule.as_ref()?;
    let stride = (schedule.timesteps() / grid.asked.max(1)) as f64;
    let distance = (strides.abs() * stride).floor() * strides.signum();
    let t = schedule.timestep_of(level).round() + distance;
    (t >= 0.0 && t < schedule.timesteps() as f64).then(|| schedule.level(t as usize))
}
