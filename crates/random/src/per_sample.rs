//! One stream of noise for each sample of a batch.

use std::ops::Range;

use crate::{NormalSource, TorchCpu};

/// One independent stream per sample: stream i is [`TorchCpu::new`]`(seed + i)`, or another kind's.
///
/// A sample therefore gets the same noise in every batch that it is part of, which is what diffusers draws when it is
/// given a list of generators.
#[derive(Clone, Debug, PartialEq)]
pub struct PerSample<S = TorchCpu> {
    streams: Vec<S>,
}

impl PerSample {
    /// `count` streams; the first has seed `seed`.
    pub fn new(seed: u64, count: usize) -> Self {
        Self::of(seed, count, TorchCpu::new)
    }
}

impl<S> PerSample<S> {
    /// `count` streams of any kind; the first is made from `seed`, the next from `seed + 1`.
    pub fn of(seed: u64, count: usize, stream: impl Fn(u64) -> S) -> Self {
        let streams = (0..count as u64).map(|i| stream(seed.wrapping_add(i)));
        Self { streams: streams.collect() }
    }

    /// The number of streams.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Copies of the streams in `range`, where they stand; what lies beyond the last stream is left out.
    pub fn select(&self, range: Range<usize>) -> Self
    where
        S: Clone,
    {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        Self { streams: self.streams[start..end].to_vec() }
    }

    /// The streams.
    pub fn streams(&self) -> &[S] {
        &self.streams
    }
}

impl<S> From<Vec<S>> for PerSample<S> {
    /// Goes on with saved streams.
    fn from(streams: Vec<S>) -> Self {
        Self { streams }
    }
}

impl<S: NormalSource> NormalSource for PerSample<S> {
    /// Overwrites row i of `out`, which is `[N, elements]` for N streams, with one draw of stream i.
    ///
    /// # Panics
    /// If `out` is not made of N rows of one length.
    fn fill_normal(&mut self, out: &mut [f32]) {
        let (values, rows) = (out.len(), self.streams.len());
        assert!(
            values == 0 || rows > 0 && values.is_multiple_of(rows),
            "{values} values are not {rows} rows"
        );
        let elements = (values / rows.max(1)).max(1);
        for (row, stream) in out.chunks_exact_mut(elements).zip(&mut self.streams) {
            stream.fill_normal(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        for elements in [3, 16, 50] {
            let mut all = PerSample::new(u64::MAX - 2, 7);
            let draw = |source: &mut PerSample| {
                let mut out = vec![0.0; source.len() * elements];
                source.fill_normal(&mut out);
                source.fill_normal(&mut out);
                out
            };
            let mut part = all.select(2..5);
            let mut rest = all.select(5..100);
            assert_eq!((part.len(), rest.len()), (3, 2));
            let whole = draw(&mut all);
            assert_eq!(whole[2 * elements..5 * elements], draw(&mut part));
            assert_eq!(whole[5 * elements..], draw(&mut rest));
        }
    }

    #[test]
    fn seeds_follow_each_other() {
        let source = PerSample::new(40, 3);
        assert_eq!(source.streams()[2], TorchCpu::new(42));
        assert_eq!(PerSample::from(source.streams().to_vec()), source);
        assert!(source.select(3..9).is_empty());
        PerSample::new(0, 0).fill_normal(&mut []);
    }

    #[test]
    #[should_panic(expected = "5 values are not 2 rows")]
    fn ragged_rows_are_refused() {
        PerSample::new(0, 2).fill_normal(&mut [0.0; 5]);
    }
}
