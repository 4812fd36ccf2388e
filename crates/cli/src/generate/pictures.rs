//! Pictures in and out.

use crate::error::CliError;
use crate::generate::recipe::Recipe;
use crate::output::talk;
use sumi_data::{Filter, Pictures, read_own_size, resize};
use sumi_formats::hash::sha256_of;
use sumi_pictures::Picture;
use sumi_pipelines::{Decoded, Init};

/// The picture to start from, of the size that was asked for, or else its own cut down to a multiple of
/// `multiple`; the recipe learns what the files held.
///
/// # Errors
/// A file that cannot be read, or that is not what it was when the recipe was written; a mask of another
/// size.
pub fn read(recipe: &mut Recipe, multiple: usize) -> Result<Option<Init>, CliError> {
    let Some(source) = &mut recipe.init else { return Ok(None) };
    source.pin(sha256_of(&source.path)?, "init")?;
    let own = read_own_size(&source.path, 3)?;
    let own_dims = [own.height_px, own.width_px];
    let whole = |side: usize| (side / multiple * multiple).max(multiple);
    let dims =
        [recipe.height.unwrap_or(whole(own_dims[0])), recipe.width.unwrap_or(whole(own_dims[1]))];
    if dims[0] == 0 || dims[1] == 0 || dims[0].max(dims[1]) > MAX_SIDE_PX {
        let [h, w] = dims;
        return Err(CliError::Usage(format!(
            "--width, --height: expected 1 to {MAX_SIDE_PX} px, found {w} x {h}"
        )));
    }
    let picture = match own_dims == dims {
        true => own,
        false => {
            let ([h, w], [own_h, own_w]) = (dims, own_dims);
            let path = source.path.display();
            talk(format_args!("{path}: scaled from {own_w} x {own_h} to {w} x {h} px"));
            scaled(own, dims)?
        }
    };
    let mask = match &mut recipe.mask {
        None => None,
        Some(source) => {
            source.pin(sha256_of(&source.path)?, "mask")?;
            let mask = read_own_size(&source.path, 1)?;
            let found = [mask.height_px, mask.width_px];
            if found != own_dims && found != dims {
                return Err(CliError::Usage(format!(
                    "--mask: expected the {} x {} pixels of --init, found {} x {}",
                    own_dims[1], own_dims[0], found[1], found[0]
                )));
            }
            let mask = match found == dims {
                true => mask,
                false => scaled(mask, dims)?,
            };
            // Half and more is white, as diffusers binarises its masks.
            Some(mask.pixels.iter().map(|&grey| grey >= 128).collect())
        }
    };
    Ok(Some(Init { image: unit_planes(&picture), dims, mask, strength: recipe.strength }))
}

/// A picture of `dims`, as diffusers' `VaeImageProcessor` scales it.
fn scaled(picture: Pictures, dims: [usize; 2]) -> Result<Pictures, CliError> {
    let own = [picture.height_px, picture.width_px, picture.channels];
    let pixels = resize(&picture.pixels, own, dims, Filter::Lanczos)?;
    let [height_px, width_px] = dims;
    Ok(Pictures { height_px, width_px, pixels, ..picture })
}

/// Far past what fits into memory.
const MAX_SIDE_PX: usize = 16_384;

/// From pixels to -1 to 1, `[3, H, W]`.
fn unit_planes(picture: &Pictures) -> Vec<f32> {
    let pixels = &picture.pixels;
    let unit = |&byte: &u8| f32::from(byte) / 255.0 * 2.0 - 1.0;
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).map(unit)).collect()
}

/// As pixels.
pub fn of(decoded: &Decoded) -> Result<Picture, CliError> {
    let [_, c, h, w] = decoded.image.dims();
    let values = decoded.image.try_to_vec_as::<f32>();
    let values = values.map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(Picture::from_unit_range(&values, c, h, w)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sumi_testkit::{formula, golden};

    /// Against `testdata/make_vae_image.py`.
    #[test]
    fn pictures_are_scaled_as_diffusers_scales_them() {
        let golden = golden::load("testdata/vae_image.json");
        let dims = |name: &str| -> Vec<usize> {
            golden::numbers(&golden[name]).into_iter().map(|side| side as usize).collect()
        };
        let (own, to) = (dims("own"), dims("to"));
        let uniform = formula::uniform("vae-image", own[0] * own[1] * 3);
        let picture = Pictures {
            height_px: own[0],
            width_px: own[1],
            channels: 3,
            pixels: uniform.into_iter().map(|u| ((u + 1.0) * 128.0) as u8).collect(),
            labels: vec![0],
            class_names: vec!["all".into()],
            max_value: 255,
        };
        let planes = unit_planes(&scaled(picture, [to[0], to[1]]).unwrap());
        let planes: Vec<f64> = planes.into_iter().map(f64::from).collect();
        // The same f32, to the bit.
        assert_eq!(planes, golden::numbers(&golden["planes"]));
    }
}
