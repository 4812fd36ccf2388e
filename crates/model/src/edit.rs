//! Starting from a picture instead of noise.

use crate::{Batch, ModelError};
use burn::tensor::{Device, Tensor, TensorData};
use sumi_sampler::{Grid, Region, Resampling, State};

/// A picture to start from, and what is to become of it.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The picture in the model's range, `[C, H, W]`.
    pub init: Vec<f32>,
    /// Which pixels are redrawn, `[H, W]`; the others stay exactly as they are. All, where nothing is
    /// said.
    pub redraw: Option<Vec<bool>>,
    /// How much of the way is walked, from 0 (the picture) to 1: the picture is noised to where the rest
    /// of the grid begins (Meng et al., SDEdit, Algorithm 1). Where nothing is said, what is redrawn
    /// begins as noise alone.
    pub strength: Option<f64>,
    /// RePaint's resampling; it needs a region to fit the rest to.
    pub resampling: Option<Resampling>,
}

impl Edit {
    /// Checks it against a model's pictures, and cuts the grid to what is walked.
    pub(crate) fn check(&self, dims: [usize; 3], grid: &Grid) -> Result<Grid, ModelError> {
        let [c, h, w] = dims;
        if self.init.len() != c * h * w || self.init.iter().any(|x| !x.is_finite()) {
            let expected = format!("[{c}, {h}, {w}], {} finite values", c * h * w);
            return Err(ModelError::request("init", expected, self.init.len()));
        }
        if let Some(redraw) = &self.redraw
            && redraw.len() != h * w
        {
            let expected = format!("[{h}, {w}], {} values", h * w);
            return Err(ModelError::request("mask", expected, redraw.len()));
        }
        let strength = self.strength.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&strength) {
            return Err(ModelError::request("strength", "a number from 0 to 1", strength));
        }
        let grid = grid.for_strength(strength);
        let Some(Resampling { rounds, jump }) = self.resampling else { return Ok(grid) };
        if self.redraw.is_none() {
            let expected = "--mask with it, whose edge it fits";
            return Err(ModelError::request("resample", expected, "none"));
        }
        if !(1..=10_000).contains(&rounds) {
            return Err(ModelError::request("resample", "1 to 10000", rounds));
        }
        match grid.len().saturating_sub(1) {
            0 => {
                let expected = "at least 2 steps, of which the last is taken once";
                Err(ModelError::request("resample", expected, grid.len()))
            }
            most if !(1..=most).contains(&jump) => {
                let expected = format!("1 to {most}, the steps but the last");
                Err(ModelError::request("jump", expected, jump))
            }
            _ => Ok(grid),
        }
    }

    /// What is known of each picture of a batch; nothing where everything is redrawn.
    pub(crate) fn region(
        &self,
        [n, c, h, w]: [usize; 4],
        device: &Device,
    ) -> Option<Region<Batch>> {
        let redraw = self.redraw.as_ref()?;
        let plane = redraw.iter().map(|&redrawn| f32::from(u8::from(redrawn)));
        let redraw = Tensor::<4>::from_data(TensorData::new(plane.collect(), [1, 1, h, w]), device);
        Some(Region::new(self.init(n, [c, h, w], device), Batch(redraw.repeat(&[n, c, 1, 1]))))
    }

    /// The picture, `n` times.
    pub(crate) fn init(&self, n: usize, [c, h, w]: [usize; 3], device: &Device) -> Batch {
        let init = TensorData::new(self.init.clone(), [1, c, h, w]);
        Batch(Tensor::<4>::from_data(init, device).repeat(&[n, 1, 1, 1]))
    }

    /// Where a run of `grid` begins, given standard normals.
    pub(crate) fn start(
        &self,
        eps: &Batch,
        (init, region): (&Batch, Option<&Region<Batch>>),
        grid: &Grid,
    ) -> Batch {
        let Some(first) = grid.intervals.first().map(|interval| interval.from) else {
            return init.clone();
        };
        let noise_alone = self.strength.is_none() && region.is_some();
        let start = match noise_alone {
            true => eps.combine(grid.start_std, eps, 0.0),
            false => init.combine(first.alpha, eps, first.sigma),
        };
        match region {
            Some(region) => region.begin(&start, eps, first),
            None => start,
        }
    }
}
