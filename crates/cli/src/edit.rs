//! Pictures that sampling starts from.

use crate::args::EditArgs;
use crate::error::CliError;
use crate::output::talk;
use std::path::Path;
use sumi_data::{Fit, read_picture};
use sumi_model::{Edit, POINT};
use sumi_sampler::Resampling;

/// RePaint's own number of steps between jumps.
const USUAL_JUMP: usize = 10;

/// What the arguments ask for, for a model of pictures of `dims` and a grid of `steps` steps.
///
/// # Errors
/// A picture that cannot be read, a mask of another size, a picture with nothing to do.
pub fn read(args: &EditArgs, dims: [usize; 3], steps: usize) -> Result<Option<Edit>, CliError> {
    let Some(path) = &args.init else { return Ok(None) };
    if args.strength.is_none() && args.mask.is_none() {
        return Err(CliError::Usage(
            "--init: expected --strength (how much to change), --mask (where to redraw) or both \
             with it, found neither"
                .into(),
        ));
    }
    let [_, h, w] = dims;
    let (init, own) = read_init(path, dims)?;
    let redraw = match &args.mask {
        None => None,
        Some(path) => {
            let (mask, found) = read_picture(path, [h, w], 1, Fit::CentreCrop)?;
            if found != own {
                return Err(CliError::Usage(format!(
                    "--mask: expected the {} x {} pixels of --init, found {} x {}",
                    own[1], own[0], found[1], found[0]
                )));
            }
            // Half and more is white, as diffusers binarises its masks.
            Some(mask.pixels.iter().map(|&grey| grey >= 128).collect())
        }
    };
    let walked = (steps as f64 * args.strength.unwrap_or(1.0)) as usize;
    let usual = USUAL_JUMP.min(walked.saturating_sub(1)).max(1);
    let resampling =
        args.resample.map(|rounds| Resampling { rounds, jump: args.jump.unwrap_or(usual) });
    Ok(Some(Edit { init, redraw, strength: args.strength, resampling }))
}

/// One picture in the model's range, `[C, H, W]`, with its own height and width; says so where it was
/// scaled or cut.
///
/// # Errors
/// A picture that cannot be read.
pub fn read_init(path: &Path, [c, h, w]: [usize; 3]) -> Result<(Vec<f32>, [usize; 2]), CliError> {
    if [c, h, w] == POINT {
        return Err(CliError::Failed(format!(
            "{}: expected a model of pictures to put it to, found one of points of the plane",
            path.display()
        )));
    }
    if c != 1 && c != 3 {
        return Err(CliError::Failed(format!(
            "{}: expected a model of grey or colour pictures, found one with {c} channels",
            path.display()
        )));
    }
    let (picture, own) = read_picture(path, [h, w], c, Fit::CentreCrop)?;
    if own != [h, w] {
        talk(format_args!(
            "{}: scaled from {} x {} to cover the model's {w} x {h} px, the rest cut off",
            path.display(),
            own[1],
            own[0]
        ));
    }
    let pixels: Vec<f32> = picture.scaled(0).collect();
    let planes = (0..c).flat_map(|channel| pixels.iter().skip(channel).step_by(c).copied());
    Ok((planes.collect(), own))
}
