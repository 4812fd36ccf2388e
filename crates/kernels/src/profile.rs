//! Where the time goes: work counted by kind of layer.
//!
//! Between [`start`] and [`stop`] every operation on the CPU backend notes its time and its
//! floating-point operations; outside it costs one look at a flag. The counters belong to the
//! process, so one profile runs at a time. On other devices nothing is counted: their operations
//! are Burn's, and run after the call that asks for them has returned.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};

use crate::Added;

/// Kinds of layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 2-D convolutions.
    Convolution,
    /// Group normalisation, with the activation that is fused with it, and layer normalisation.
    Normalisation,
    /// Activations that stand alone, the gated one among them.
    Activation,
    /// Feature maps put side by side.
    Concatenation,
    /// Attention, without its projections.
    Attention,
    /// Linear layers, the projections of attention among them.
    Linear,
    /// The norm of the gradients, the step along them and the average of the weights.
    Optimizer,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: [Self; KINDS] = [
        Self::Convolution,
        Self::Normalisation,
        Self::Activation,
        Self::Concatenation,
        Self::Attention,
        Self::Linear,
        Self::Optimizer,
    ];

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convolution => "convolution",
            Self::Normalisation => "normalisation",
            Self::Activation => "activation",
            Self::Concatenation => "concatenation",
            Self::Attention => "attention",
            Self::Linear => "linear",
            Self::Optimizer => "optimizer",
        }
    }
}

/// Which way through a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From inputs to results.
    Forward,
    /// From the results' gradients to those of inputs and weights.
    Backward,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; DIRECTIONS] = [Self::Forward, Self::Backward];

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// What was done of one kind in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// The kind of layer.
    pub kind: Kind,
    /// Which way.
    pub direction: Direction,
    /// How many calls.
    pub calls: u64,
    /// Their time in all.
    pub secs: f64,
    /// Floating-point operations of the direct algorithm, two to a multiply-add, whatever
    /// algorithm ran; products only, as is usual, so normalisations, activations and the optimiser
    /// have none.
    pub flops: u64,
}

/// What happened between [`start`] and [`stop`].
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// All time between the two.
    pub secs: f64,
    /// What was done, without the kinds that did not occur.
    pub work: Vec<Work>,
}

impl Report {
    /// The floating-point operations of all kinds.
    pub fn flops(&self) -> u64 {
        self.work.iter().map(|work| work.flops).sum()
    }

    /// The time that belongs to no kind: Burn's own operations, the graph of gradients, reading
    /// data.
    pub fn everything_else_secs(&self) -> f64 {
        self.secs - self.work.iter().map(|work| work.secs).sum::<f64>()
    }
}

const KINDS: usize = 7;
const DIRECTIONS: usize = 2;

struct Counter {
    calls: AtomicU64,
    nanos: AtomicU64,
    flops: AtomicU64,
}

impl Counter {
    const fn new() -> Self {
        Self { calls: AtomicU64::new(0), nanos: AtomicU64::new(0), flops: AtomicU64::new(0) }
    }
}

static COUNTERS: [[Counter; DIRECTIONS]; KINDS] =
    [const { [const { Counter::new() }; DIRECTIONS] }; KINDS];
static ON: AtomicBool = AtomicBool::new(false);
static STARTED: Mutex<Option<Instant>> = Mutex::new(None);

/// Starts to count, from zero.
pub fn start() {
    for counter in COUNTERS.iter().flatten() {
        for number in [&counter.calls, &counter.nanos, &counter.flops] {
            number.store(0, Relaxed);
        }
    }
    *STARTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    ON.store(true, Relaxed);
}

/// Stops counting and says what was counted; nothing where [`start`] was not called before.
pub fn stop() -> Report {
    ON.store(false, Relaxed);
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner).take();
    let secs = started.map_or(0.0, |started| started.elapsed().as_secs_f64());
    let work = Kind::ALL
        .into_iter()
        .flat_map(|kind| Direction::ALL.map(|direction| read(kind, direction)))
        .filter(|work| work.calls > 0)
        .collect();
    Report { secs, work }
}

fn read(kind: Kind, direction: Direction) -> Work {
    let counter = &COUNTERS[kind as usize][direction as usize];
    Work {
        kind,
        direction,
        calls: counter.calls.load(Relaxed),
        secs: counter.nanos.load(Relaxed) as f64 * 1e-9,
        flops: counter.flops.load(Relaxed),
    }
}

/// An operation under way; it ends where this is dropped. One does not lie within another.
#[must_use]
pub(crate) struct Span(Option<Running>);

struct Running {
    counter: &'static Counter,
    flops: u64,
    started: Instant,
}

/// Counts what follows, up to the end of the block.
pub(crate) fn span(kind: Kind, direction: Direction, flops: usize) -> Span {
    Span(ON.load(Relaxed).then(|| Running {
        counter: &COUNTERS[kind as usize][direction as usize],
        flops: flops as u64,
        started: Instant::now(),
    }))
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(Running { counter, flops, started }) = &self.0 {
            let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            counter.calls.fetch_add(1, Relaxed);
            counter.nanos.fetch_add(nanos, Relaxed);
            counter.flops.fetch_add(*flops, Relaxed);
        }
    }
}

/// Of attention of `q` [N, H, T, D] to `k` [N, H, S, D]: two products. Its gradients are four.
pub(crate) fn attention_flops([n, t, h, d]: [usize; 4], [_, s, _, _]: [usize; 4]) -> usize {
    4 * n * h * t * s * d
}

/// Rows, inputs and outputs of the product by which the peak is measured.
const PEAK_SIDE: usize = 1024;
/// How long that takes, unless the machine is slow.
const PEAK_SECS: f64 = 0.3;

/// What one linear layer of 1024 rows, inputs and outputs reaches on this machine, with all
/// threads, in `f32` floating-point operations a second: the best of 0.3 s.
pub fn gemm_peak() -> f64 {
    let (side, device) = (PEAK_SIDE, Device::flex());
    let random = || Tensor::<2>::random([side, side], Distribution::Uniform(-1.0, 1.0), &device);
    let (x, weight) = (random(), random());
    let flops = 2.0 * (side as f64).powi(3);
    let began = Instant::now();
    let (mut best, mut calls) = (0.0f64, 0);
    while calls < 3 || began.elapsed().as_secs_f64() < PEAK_SECS {
        let started = Instant::now();
        drop(std::hint::black_box(crate::linear(x.clone(), weight.clone(), Added::default())));
        best = best.max(flops / started.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}
