//! Sheets of samples along the way.

use crate::task::Task;
use crate::{RunOptions, TrainError, Trainer};
use std::ops::ControlFlow;
use sumi_model::{Batch, Classes, Generator, ModelError, POINT, Plan, Request};
use sumi_pictures::{GridOptions, Picture, PictureError, Plane, sheet_layout};
use sumi_sampler::Moment;

/// The side of a sheet of points, and how many points of the data stand behind them.
const POINTS_PX: usize = 480;
const POINTS_BEHIND: usize = 4000;

/// Draws a sheet of samples with the averaged weights; `None` where the network draws nothing, or
/// the run is to stop first.
pub(crate) fn draw<T: Task>(
    trainer: &Trainer<T>,
    options: &RunOptions,
) -> Result<Option<Picture>, TrainError> {
    let sample = &trainer.config.sample;
    let Some(model) = trainer.model() else { return Ok(None) };
    let plan = Plan::new(&model.scheduler, sample.choice())?;
    let request = Request {
        count: sample.count,
        batch: trainer.config.train.batch_size,
        seed: sample.seed,
        classes: Classes::All,
        noise: None,
    };
    let mut generator = Generator::new(&model, &plan, request)?;
    let (mut samples, mut classes) = (Vec::new(), Vec::new());
    let mut watch = |_: Moment<'_, Batch>| match (options.stop)() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    loop {
        let batch = match generator.next_batch(&mut watch) {
            Err(ModelError::Cancelled) => return Ok(None),
            other => other?,
        };
        let Some(batch) = batch else { break };
        classes.extend(batch.classes);
        samples.extend(batch.samples);
    }
    let sheet = match generator.dims() {
        POINT => points(&samples, &classes, trainer),
        dims => pictures(&samples, &classes, dims),
    }?;
    Ok(Some(sheet))
}

/// Samples as pictures, a row a class.
fn pictures(
    samples: &[f32],
    classes: &[u32],
    [c, h, w]: [usize; 3],
) -> Result<Picture, PictureError> {
    let each = c * h * w;
    let (order, columns) = sheet_layout(classes, samples.len() / each);
    let picture = |i: usize| Picture::from_unit_range(&samples[i * each..(i + 1) * each], c, h, w);
    let pictures = order.into_iter().map(picture).collect::<Result<Vec<_>, _>>()?;
    let scale = (64 / h.max(1)).clamp(1, 4);
    GridOptions { columns, scale, ..GridOptions::default() }.draw(&pictures)
}

/// Samples as points of the plane, in front of some of the data.
fn points<T: Task>(
    samples: &[f32],
    classes: &[u32],
    trainer: &Trainer<T>,
) -> Result<Picture, PictureError> {
    let shown = trainer.pictures.len().min(POINTS_BEHIND);
    let data: Vec<f32> = (0..shown).flat_map(|i| trainer.pictures.scaled(i)).collect();
    let title = format!("step {}: {} points, data grey", trainer.step, samples.len() / 2);
    let plane = Plane::of_samples(samples, classes).in_front_of(&data);
    Plane { title, ..plane }.draw(POINTS_PX)
}
