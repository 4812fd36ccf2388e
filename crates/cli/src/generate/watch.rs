//! What happens while an image is drawn: progress, previews, the frames of a film, and stopping.

use crate::error::CliError;
use crate::generate::pictures;
use crate::signals::Stop;
use burn::tensor::Tensor;
use indicatif::ProgressBar;
use std::ops::ControlFlow;
use std::path::Path;
use sumi_model::Batch;
use sumi_pictures::Picture;
use sumi_pipelines::Pipeline;
use sumi_sampler::{Moment, Observer};

/// Each is decoded, which takes about as long as a step does.
const FILM_FRAMES: usize = 24;

/// Watches one image.
pub struct Watch<'a> {
    pipeline: &'a Pipeline,
    tiled: bool,
    bar: &'a ProgressBar,
    stop: &'a Stop,
    film: Option<Vec<Picture>>,
    preview: Option<(&'a Path, u64)>,
    failed: Option<CliError>,
}

impl<'a> Watch<'a> {
    /// `tiled`: whether frames are decoded as the image will be, in strips; `film`: whether frames are kept; `preview`: which file
    /// shows the image every how many steps.
    pub fn new(
        pipeline: &'a Pipeline,
        tiled: bool,
        (bar, stop): (&'a ProgressBar, &'a Stop),
        (film, preview): (bool, Option<(&'a Path, u64)>),
    ) -> Self {
        Self { pipeline, tiled, bar, stop, film: film.then(Vec::new), preview, failed: None }
    }

    /// What the sampler tells of every step.
    pub fn observer(&mut self) -> impl Observer<Batch> + '_ {
        |moment: Moment<'_, Batch>| self.step(moment)
    }

    /// The frames of the film.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub fn finish(self) -> Result<Option<Vec<Picture>>, CliError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.film),
        }
    }

    fn step(&mut self, moment: Moment<'_, Batch>) -> ControlFlow<()> {
        self.bar.inc(1);
        let last = moment.step + 1 == moment.steps;
        if let Some((path, every)) = self.preview
            && (moment.step as u64 + 1).is_multiple_of(every)
            && !last
        {
            let shown = self.picture(&moment.x0.0).and_then(|picture| Ok(picture.write_png(path)?));
            self.failed = shown.err().or(self.failed.take());
        }
        let every = moment.steps.div_ceil(FILM_FRAMES).max(1);
        if self.film.is_some() && moment.step.is_multiple_of(every) && !last {
            match self.picture(&moment.x.0) {
                Ok(picture) => self.film.get_or_insert_default().push(picture),
                Err(error) => self.failed = Some(error),
            }
        }
        match self.stop.requested() || self.failed.is_some() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn picture(&self, latents: &Tensor<4>) -> Result<Picture, CliError> {
        pictures::of(&self.pipeline.decode(latents.clone(), self.tiled)?)
    }
}
