//! Features, statistics and pictures in files of arrays.

use crate::{FeatureError, Result};
use std::path::Path;
use sumi_data::Pictures;
use sumi_formats::{Dtype, NamedTensor, TensorMap, npz, safetensors};
use sumi_metrics::{Features, GaussianStatistics};

/// More classes than pictures of any set; a label beyond is a broken one.
const MAX_CLASSES: usize = 1 << 20;

/// What an `.npz` can hold that is measured.
#[derive(Debug)]
pub enum Npz {
    /// `arr_0`, uint8 `[N, H, W, C]`, and their classes `arr_1`, `[N]`, where it has them.
    Pictures(Pictures),
    /// `mu` `[D]` and `sigma` `[D, D]`, as pytorch-fid writes them.
    Statistics(GaussianStatistics),
}

/// Reads an `.npz` of pictures or of statistics.
///
/// # Errors
/// A file that cannot be read or holds other arrays; statistics of which a half is missing.
pub fn read_npz(path: &Path) -> Result<Npz> {
    let map = npz::read(path)?;
    match map.get("mu").or(map.get("sigma")) {
        Some(_) => Ok(Npz::Statistics(statistics(path, &map)?)),
        None => Ok(Npz::Pictures(pictures(path, &map)?)),
    }
}

/// Writes statistics as pytorch-fid does: `mu` `[D]` and `sigma` `[D, D]`, in f64.
///
/// # Errors
/// A file that cannot be written.
pub fn write_statistics(path: &Path, statistics: &GaussianStatistics) -> Result<()> {
    let d = statistics.mean().len();
    let sigma: Vec<f64> = (0..d * d).map(|at| statistics.covariance(at / d, at % d)).collect();
    let arrays = [
        NamedTensor::from_f64("mu", &[d], statistics.mean()),
        NamedTensor::from_f64("sigma", &[d, d], &sigma),
    ];
    Ok(npz::write(path, &arrays)?)
}

/// Reads features `[N, D]`: an `.npy`, or of a `.safetensors` the tensor `features` or the only one.
///
/// # Errors
/// A file that cannot be read or holds no matrix of numbers, a number that is not finite.
pub fn read_features(path: &Path) -> Result<Features> {
    let tensor = match path.extension().is_some_and(|ending| ending == "npy") {
        true => npz::read_npy(path)?,
        false => {
            let map = safetensors::read(path)?;
            let names: Vec<String> = map.names().take(5).map(str::to_owned).collect();
            let only = if names.len() == 1 { map.get(&names[0]) } else { None };
            map.get("features").or(only).cloned().ok_or_else(|| {
                let found = format!("{names:?}");
                FeatureError::set(path, "a tensor \"features\" of shape [N,D]", found)
            })?
        }
    };
    let &[rows, columns] = tensor.shape.as_slice() else {
        let found = format!("{} {:?}", tensor.dtype.name(), tensor.shape);
        return Err(FeatureError::set(path, "features of shape [N,D]", found));
    };
    if columns == 0 || rows == 0 {
        let found = format!("[{rows},{columns}]");
        return Err(FeatureError::set(path, "features of shape [N,D], neither of them 0", found));
    }
    let name_the_file = |error: sumi_metrics::MetricError| {
        FeatureError::set(path, "finite features", error.to_string())
    };
    match tensor.dtype {
        Dtype::F64 => {
            let numbers = tensor.data.as_chunks::<8>().0.iter();
            let values = numbers.map(|bytes| f64::from_le_bytes(*bytes)).collect();
            Features::new(rows, columns, values).map_err(name_the_file)
        }
        // Without a second copy of what may be half a gigabyte.
        Dtype::F32 => {
            let numbers = tensor.data.as_chunks::<4>().0.iter();
            let values = numbers.map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
            Features::new(rows, columns, values).map_err(name_the_file)
        }
        _ => Features::from_f32(rows, columns, &tensor.to_f32()?).map_err(name_the_file),
    }
}

fn statistics(path: &Path, map: &TensorMap) -> Result<GaussianStatistics> {
    let take = |name: &str| {
        map.get(name).ok_or_else(|| {
            let names: Vec<&str> = map.names().take(5).collect();
            let expected =
                format!("statistics with \"mu\" [D] and \"sigma\" [D,D], so also \"{name}\"");
            FeatureError::set(path, expected, format!("{names:?}"))
        })
    };
    let (mu, sigma) = (take("mu")?, take("sigma")?);
    let d = mu.shape.first().copied().unwrap_or(0);
    if mu.shape != [d] || sigma.shape != [d, d] || d == 0 {
        let found = format!("{:?} and {:?}", mu.shape, sigma.shape);
        return Err(FeatureError::set(path, "\"mu\" [D] and \"sigma\" [D,D]", found));
    }
    let (mu, sigma) = (numbers(mu)?, numbers(sigma)?);
    GaussianStatistics::new(mu, sigma)
        .map_err(|error| FeatureError::set(path, "finite statistics", error.to_string()))
}

fn numbers(tensor: &NamedTensor) -> Result<Vec<f64>> {
    if tensor.dtype == Dtype::F64 {
        let numbers = tensor.data.as_chunks::<8>().0.iter();
        return Ok(numbers.map(|bytes| f64::from_le_bytes(*bytes)).collect());
    }
    Ok(tensor.to_f32()?.into_iter().map(f64::from).collect())
}

fn pictures(path: &Path, map: &TensorMap) -> Result<Pictures> {
    let wrong = |expected: &str, found: String| FeatureError::set(path, expected, found);
    let Some(images) = map.get("arr_0") else {
        let names: Vec<&str> = map.names().take(5).collect();
        return Err(wrong("an array \"arr_0\"", format!("{names:?}")));
    };
    let (&[n, height_px, width_px, channels], Dtype::U8) = (images.shape.as_slice(), images.dtype)
    else {
        let found = format!("{} {:?}", images.dtype.name(), images.shape);
        return Err(wrong("arr_0 to be uint8 [N,H,W,C]", found));
    };
    let labels = match map.get("arr_1") {
        None => vec![0; n],
        Some(labels) => {
            let values = labels.to_i64()?;
            let labels: Vec<u32> = values.iter().filter_map(|&l| u32::try_from(l).ok()).collect();
            if labels.len() != n || values.len() != n {
                return Err(wrong(&format!("arr_1 to be {n} classes from 0"), "others".into()));
            }
            labels
        }
    };
    let classes = labels.iter().max().map_or(1, |&most| most as usize + 1);
    if classes > MAX_CLASSES {
        return Err(wrong(
            &format!("arr_1 to be classes below {MAX_CLASSES}"),
            classes.to_string(),
        ));
    }
    let pictures = Pictures {
        height_px,
        width_px,
        channels,
        pixels: images.data.clone(),
        labels,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        max_value: u8::MAX,
    };
    if pictures.is_empty() {
        return Err(wrong("at least one picture", "none".into()));
    }
    pictures
        .check()
        .map_err(|error| wrong("pictures that fit their classes", error.to_string()))?;
    Ok(pictures)
}
