//! From one picture to another by way of their noise.

use crate::{Batch, Model, ModelError, Plan, UNetDenoiser};
use burn::tensor::{Tensor, TensorData};
use sumi_sampler::{Denoiser, Guided, Observer, Run, ddim, ddim_inversion, slerp};

/// Two pictures in a model's range, `[C, H, W]`, and the class of each where the model has classes.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The pictures.
    pub pictures: [&'a [f32]; 2],
    /// Their classes.
    pub classes: Option<[u32; 2]>,
}

/// Draws between two pictures: DDIM inversion takes both to their noise, what lies on the arc between
/// the noises is taken back by DDIM (Song et al., DDIM, section 5.3; Dhariwal and Nichol, Appendix F).
///
/// Between two classes, the share `w` of the way is drawn by `D_a + w (D_b - D_a)`, the formula of
/// [`Guided`]. Nothing is clipped, since what clipping takes away no inversion gives back.
pub struct Interpolation<'a> {
    model: &'a Model,
    plan: &'a Plan,
    classes: Option<[u32; 2]>,
    dims: [usize; 3],
    noises: [Batch; 2],
}

impl<'a> Interpolation<'a> {
    /// Takes both pictures to their noise; `observer` is told about every step of either.
    ///
    /// # Errors
    /// Pictures of another size, classes that the model does not have, or the observer's wish to stop.
    pub fn new(
        model: &'a Model,
        plan: &'a Plan,
        ends: Ends<'_>,
        observer: &mut dyn Observer<Batch>,
    ) -> Result<Self, ModelError> {
        let dims = model.picture_dims()?;
        let classes = check(model, dims, ends)?;
        let mut found = Self { model, plan, classes, dims, noises: [(); 2].map(|()| empty(model)) };
        for (i, picture) in ends.pictures.into_iter().enumerate() {
            let [c, h, w] = dims;
            let x = TensorData::new(picture.to_vec(), [1, c, h, w]);
            let x = Batch(Tensor::from_data(x, &model.unet.device()));
            let invert = |run: &mut Run<'_, Batch>| ddim_inversion(x, run);
            found.noises[i] = found.run(i as f64, observer, invert)?;
        }
        Ok(found)
    }

    /// The picture at the share `w` of the way, `[C, H, W]`, in the model's range.
    ///
    /// # Errors
    /// A picture that is not finite, or the observer's wish to stop.
    pub fn at(&self, w: f64, observer: &mut dyn Observer<Batch>) -> Result<Vec<f32>, ModelError> {
        let [a, b] = &self.noises;
        let x = slerp(a, b, w);
        let picture = self.run(w, observer, |run| ddim(x, run, 0.0))?.to_vec();
        let whole = picture.len() == self.dims.iter().product::<usize>();
        match whole && picture.iter().all(|x| x.is_finite()) {
            true => Ok(picture),
            false => Err(ModelError::NotFinite { index: 0 }),
        }
    }

    /// Runs something with the denoiser at the share `w` of the way.
    fn run(
        &self,
        w: f64,
        observer: &mut dyn Observer<Batch>,
        go: impl FnOnce(&mut Run<'_, Batch>) -> Result<Batch, sumi_sampler::SamplerError>,
    ) -> Result<Batch, ModelError> {
        let classes = self.classes.map(|classes| classes.map(|class| [class]));
        let of = |i: usize| {
            let classes = classes.map(|classes| classes[i].to_vec());
            let (parameterisation, grid) = (&self.plan.parameterisation, Some(&self.plan.grid));
            UNetDenoiser::new(&self.model.unet, classes, parameterisation, grid)
        };
        let mut denoiser: Box<dyn Denoiser<Batch> + '_> = match self.classes {
            Some([a, b]) if a != b => {
                Box::new(Guided { pair: (of(1), of(0)), scale: w, rescale: None, interval: None })
            }
            _ => Box::new(of(0)),
        };
        let (denoiser, grid) = (&mut *denoiser, &self.plan.grid);
        let mut run = Run { denoiser, grid, noise: &mut NoNoise, observer };
        Ok(go(&mut run)?)
    }
}

/// DDIM draws none.
struct NoNoise;

impl sumi_sampler::Noise<Batch> for NoNoise {
    fn standard_normal(&mut self, like: &Batch) -> Batch {
        Batch(like.0.zeros_like())
    }
}

fn empty(model: &Model) -> Batch {
    Batch(Tensor::zeros([1, 1, 1, 1], &model.unet.device()))
}

/// The classes to draw with.
fn check(model: &Model, dims: [usize; 3], ends: Ends<'_>) -> Result<Option<[u32; 2]>, ModelError> {
    let each = dims.iter().product::<usize>();
    if let Some(other) = ends.pictures.iter().find(|p| p.len() != each) {
        let expected = format!("two of {dims:?}, {each} values each");
        return Err(ModelError::request("pictures", expected, other.len()));
    }
    let null = model.null_class();
    match (model.classes(), ends.classes) {
        (None, None) => Ok(None),
        (None, Some([class, _])) => {
            let expected = "nothing (the model has no classes)";
            Err(ModelError::request("class", expected, class))
        }
        (Some(_), None) if null.is_some() => Ok(null.map(|null| [null; 2])),
        (Some(classes), given) => {
            let expected =
                format!("the class of A, or of A and B with a comma, 0 to {}", classes - 1);
            let Some(given) = given else {
                return Err(ModelError::request("class", expected, "none"));
            };
            let unknown = |&&class: &&u32| class as usize >= classes && Some(class) != null;
            match given.iter().find(unknown) {
                Some(unknown) => Err(ModelError::request("class", expected, unknown)),
                None => Ok(Some(given)),
            }
        }
    }
}
