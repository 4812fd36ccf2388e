//! The pictures that a model is measured on.

use crate::error::CliError;
use std::path::Path;
use sumi_data::{DataConfig, Fit, Pictures, Source};
use sumi_features::{Npz, read_npz};
use sumi_model::Model;

/// How many points are enough to measure a shape of the plane.
const POINTS: usize = 1000;

/// The pictures that `data` names, of the model's size and with classes that it knows.
///
/// # Errors
/// Nothing there, a broken file, no pictures, or pictures of another size or with other classes than the
/// model's.
pub fn load(data: &Path, model: &Model) -> Result<Pictures, CliError> {
    let [channels, height_px, width_px] = model.picture_dims()?;
    let failed = |what: String| Err(CliError::Failed(format!("{}: {what}", data.display())));
    let whole =
        |source| sumi_data::load(&DataConfig { source, flip: false, held_out_fraction: 0.0 });
    let named = data.to_str().and_then(|name| Source::built_in(name, POINTS));
    let pictures = match (data, named) {
        (path, _) if path.is_dir() => {
            if height_px != width_px {
                return failed(format!(
                    "expected an .npz, because the model's pictures are {width_px} x {height_px} px \
                     and a folder's are made square, found a folder"
                ));
            }
            whole(Source::Folder {
                path: path.into(),
                image_size_px: height_px,
                channels,
                fit: Fit::CentreCrop,
            })?
        }
        (_, Some(Source::Digits)) => held_out_digits(model)?,
        (_, Some(source)) => whole(source)?,
        (path, None) if path.extension().is_some_and(|ending| ending == "npz") => {
            match read_npz(path)? {
                Npz::Pictures(pictures) => pictures,
                Npz::Statistics(_) => {
                    return failed("expected pictures, found statistics".into());
                }
            }
        }
        (path, None) => {
            let found = if path.exists() { "a file of another kind" } else { "nothing" };
            return failed(format!(
                "expected a folder of pictures, an .npz or one of {}, found {found}",
                Source::BUILT_IN.join(", ")
            ));
        }
    };
    let found = [pictures.channels, pictures.height_px, pictures.width_px];
    if found != [channels, height_px, width_px] {
        return failed(format!(
            "expected pictures of {width_px} x {height_px} px, channels: {channels}, as the model draws \
             them, found {} x {} px, channels: {}",
            found[2], found[1], found[0]
        ));
    }
    match model.unet.classes() {
        Some(known) if pictures.class_names.len() > known => failed(format!(
            "expected at most the model's {known} classes, found {}",
            pictures.class_names.len()
        )),
        Some(known) if known > 1 && pictures.class_names.len() == 1 => failed(format!(
            "expected the class of each picture (a subfolder a class, or arr_1), because the model is \
             told which of {known} to draw, found none"
        )),
        _ => Ok(pictures),
    }
}

/// The digits that the model was not trained on: those that its own run held out.
fn held_out_digits(model: &Model) -> Result<Pictures, CliError> {
    let own = model.card.as_ref().and_then(|card| card.config.get("data"));
    let own = own.and_then(|data| serde_json::from_value::<DataConfig>(data.clone()).ok());
    let own = own.filter(|own| own.source == Source::Digits && own.held_out_fraction > 0.0);
    Ok(sumi_data::load_split(&own.unwrap_or_else(DataConfig::digits))?.1)
}
