//! Pictures that a model draws while they are measured.

use super::{Item, Source};
use crate::{FeatureError, Result};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use sumi_data::Image;
use sumi_model::{Batch, Generator, ModelError};
use sumi_pictures::to_byte;
use sumi_sampler::Moment;

/// What a generator draws, batch after batch; a picture is gone when it has been handed out.
pub struct Drawn<'a> {
    generator: Generator<'a>,
    count: usize,
    class_names: Vec<String>,
    waiting: VecDeque<Item>,
    /// Asked after every step of sampling.
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Drawn<'a> {
    /// What `generator` draws, `count` pictures in all, each of the class that the generator says among `class_names`.
    pub fn new(
        generator: Generator<'a>,
        count: usize,
        class_names: Vec<String>,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        Self { generator, count, class_names, waiting: VecDeque::new(), stop }
    }
}

impl Source for Drawn<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn next(&mut self, most: usize) -> Result<Vec<Item>> {
        while self.waiting.len() < most {
            let stop = self.stop;
            let batch = self.generator.next_batch(&mut |_: Moment<'_, Batch>| match stop() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            });
            let Some(batch) = batch.map_err(|error| match error {
                ModelError::Cancelled => FeatureError::Stopped,
                other => other.into(),
            })?
            else {
                break;
            };
            let dims = self.generator.dims();
            let each = dims.iter().product::<usize>();
            for (index, values) in batch.samples.chunks_exact(each).enumerate() {
                let label = batch.classes.get(index).copied().unwrap_or(0);
                self.waiting.push_back(Item {
                    image: Ok(image_of(values, dims)),
                    label,
                    path: None,
                });
            }
        }
        let taken = most.min(self.waiting.len());
        Ok(self.waiting.drain(..taken).collect())
    }
}

/// One sample in the model's range, `[C, H, W]`, as pixels.
fn image_of(values: &[f32], [channels, height_px, width_px]: [usize; 3]) -> Image {
    let plane = height_px * width_px;
    let grey = channels == 1;
    let value = |channel: usize, at: usize| to_byte(values[channel.min(channels - 1) * plane + at]);
    let rgb = (0..plane).flat_map(|at| [0, 1, 2].map(|channel| value(channel, at))).collect();
    Image { width_px, height_px, rgb, grey, alpha: false }
}
