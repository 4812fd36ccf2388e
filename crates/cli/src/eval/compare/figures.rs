//! The pictures of a report.

use super::Comparison;
use super::classes::ByClass;
use super::scores::features;
use super::sets::Side;
use crate::error::CliError;
use sumi_data::{Filter, Image, resize};
use sumi_metrics::{Memory, halves, nearest_neighbours, prdc, projection};
use sumi_pictures::plot::{Marks, Plot, Series, draw};
use sumi_pictures::{GridOptions, Picture, grid, side_by_side};

/// Pictures on a side of a sheet.
const SHEET: usize = 8;
/// Samples in a strip of neighbours.
const STRIP: usize = 10;
/// Real neighbours under each.
const NEIGHBOURS: usize = 3;
/// How wide a picture is shown, about, in pixels.
const SHOWN_PX: usize = 64;
/// Bars of a histogram.
const BARS: usize = 40;
/// At most so many samples go into the curve of precision and recall, which asks for all pairs again and again.
const CURVE_SAMPLES: usize = 2000;
/// Dots of either side.
const PLANE_SAMPLES: usize = 2000;
/// The neighbourhoods of that curve.
const CURVE_NEIGHBOURS: [usize; 7] = [1, 2, 3, 5, 8, 13, 21];

/// The first pictures of both sides, next to each other; nothing where there are none.
pub fn sheet(comparison: &Comparison) -> Result<Option<Picture>, CliError> {
    let sides = [("FAKE", Some(&comparison.fake)), ("REAL", comparison.real.as_ref())];
    let mut parts = Vec::new();
    for (name, side) in sides {
        let Some(thumbnails) = side.and_then(thumbnails) else { continue };
        // Spread over the set, because folders come class by class.
        let wanted = (SHEET * SHEET).min(thumbnails.len());
        let chosen = (0..wanted).map(|i| &thumbnails[i * thumbnails.len() / wanted]);
        let pictures = tiles(chosen)?;
        parts.push((name, grid(&pictures, SHEET, scale_of(&pictures), 2)?));
    }
    Ok(if parts.is_empty() { None } else { Some(side_by_side(&parts)?) })
}

fn thumbnails(side: &Side) -> Option<&[Image]> {
    side.seen.as_ref().map(|seen| seen.thumbnails.as_slice()).filter(|t| !t.is_empty())
}

/// Pictures of one size, as large as the largest.
fn tiles<'a>(images: impl Iterator<Item = &'a Image> + Clone) -> Result<Vec<Picture>, CliError> {
    let side = images.clone().map(|image| image.width_px).max().unwrap_or(1);
    images
        .map(|image| {
            let own = [image.height_px, image.width_px, 3];
            let rgb = resize(&image.rgb, own, [side; 2], Filter::Bicubic)?;
            Ok(Picture::new(side, side, 3, rgb)?)
        })
        .collect()
}

fn scale_of(pictures: &[Picture]) -> usize {
    pictures.first().map_or(1, |picture| (SHOWN_PX / picture.width_px.max(1)).max(1))
}

/// The samples that lie nearest to a real picture, each above its neighbours; nothing where no pictures were kept.
pub fn strip(comparison: &Comparison, memory: &Memory) -> Result<Option<Picture>, CliError> {
    let Some(real) = &comparison.real else { return Ok(None) };
    let (Some(kept_real), Some(kept)) = (thumbnails(real), thumbnails(&comparison.fake)) else {
        return Ok(None);
    };
    let what = "a search for neighbours";
    let (of_real, of_fake) = (features(real, what)?, features(&comparison.fake, what)?);
    let distance = |i: usize| memory.nearest[i].distance;
    let known = |i: &usize| memory.nearest[*i].index < kept_real.len();
    let mut order: Vec<usize> = (0..memory.nearest.len().min(kept.len())).filter(known).collect();
    order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    order.truncate(STRIP);
    if order.is_empty() {
        return Ok(None);
    }
    let chosen = of_fake.select(&order)?;
    let shown = of_real.filter(|i| i < kept_real.len());
    let neighbours = nearest_neighbours(&chosen, &shown, NEIGHBOURS)?;
    let rows = neighbours.iter().map(Vec::len).min().unwrap_or(0);
    let mut images: Vec<&Image> = order.iter().map(|&i| &kept[i]).collect();
    for rank in 0..rows {
        images.extend(neighbours.iter().map(|found| &kept_real[found[rank].index]));
    }
    let labels = std::iter::once("sample".to_string());
    let pictures = tiles(images.into_iter())?;
    let options = GridOptions {
        columns: order.len(),
        scale: scale_of(&pictures),
        gap_px: 6,
        row_labels: labels.chain((1..=rows).map(|rank| format!("real no. {rank}"))).collect(),
        column_labels: order.iter().map(|&i| format!("{:.2}", distance(i))).collect(),
        ..GridOptions::default()
    };
    Ok(Some(options.draw(&pictures)?))
}

/// How far samples are from the nearest real picture, and real pictures from the nearest other.
pub fn distances(memory: &Memory) -> Result<Picture, CliError> {
    let histogram = memory.histogram(BARS);
    let shares = |counts: &[usize]| {
        let all = counts.iter().sum::<usize>().max(1) as f64;
        let places = (0..).map(|bar| (f64::from(bar) + 0.5) * histogram.step);
        places.zip(counts.iter().map(|&count| count as f64 / all)).collect()
    };
    let plot = Plot {
        title: "distance to the nearest real picture".into(),
        x_label: "distance in feature space".into(),
        y_label: "share of the pictures".into(),
        series: vec![
            Series { name: "samples".into(), points: shares(&histogram.generated) },
            Series { name: "real, to another real".into(), points: shares(&histogram.reference) },
        ],
        marks: Marks::Bars(Vec::new()),
        ..Plot::default()
    };
    Ok(draw(&plot, 760, 380)?)
}

/// The Frechet distance of every class.
pub fn classes(by_class: &ByClass) -> Result<Picture, CliError> {
    let scored = || by_class.found.classes.iter();
    let places = (0..).map(f64::from);
    let plot = Plot {
        y_label: "Frechet distance".into(),
        series: vec![Series {
            name: String::new(),
            points: places.zip(scored().map(|class| class.score)).collect(),
        }],
        marks: Marks::Bars(scored().map(|class| by_class.names[class.class].clone()).collect()),
        ..Plot::default()
    };
    Ok(draw(&plot, 760, 340)?)
}

/// Both sides on the plane in which the real pictures differ most, and the share of their variance in it.
pub fn plane(comparison: &Comparison) -> Result<Option<(Picture, f64)>, CliError> {
    let Some(real) = &comparison.real else { return Ok(None) };
    let what = "a projection";
    let (Ok(real), Ok(fake)) = (features(real, what), features(&comparison.fake, what)) else {
        return Ok(None);
    };
    // As many of each, so that neither hides the other by its number; spread, because folders come class by class.
    let count = real.rows().min(fake.rows()).min(PLANE_SAMPLES);
    let found = projection(real, fake)?;
    let points = |all: &[[f64; 2]]| {
        (0..count).map(|i| all[i * all.len() / count]).map(|[x, y]| (x, y)).collect()
    };
    let plot = Plot {
        x_label: "first component".into(),
        y_label: "second component".into(),
        series: vec![
            Series { name: "FAKE".into(), points: points(&found.generated) },
            Series { name: "REAL".into(), points: points(&found.real) },
        ],
        marks: Marks::Dots,
        ..Plot::default()
    };
    Ok(Some((draw(&plot, 620, 560)?, found.share.iter().sum())))
}

/// Precision against recall as the neighbourhoods grow, of the samples and of a half of REAL.
pub fn curve(comparison: &Comparison, seed: u64) -> Result<Option<Picture>, CliError> {
    let Some(real) = &comparison.real else { return Ok(None) };
    let what = "precision and recall";
    let (real, fake) = (features(real, what)?, features(&comparison.fake, what)?);
    let count = (real.rows() / 2).min(fake.rows()).min(CURVE_SAMPLES);
    let Ok((first, second)) = halves(real.rows(), count, seed as u32) else { return Ok(None) };
    let (reference, other) = (real.select(&first)?, real.select(&second)?);
    let fake = fake.filter(|i| i < count);
    let points = |set: &sumi_metrics::Features| -> Result<Vec<(f64, f64)>, CliError> {
        let possible = CURVE_NEIGHBOURS.into_iter().filter(|&k| k < count);
        possible
            .map(|k| Ok(prdc(&reference, set, k).map(|found| (found.recall(), found.precision()))?))
            .collect()
    };
    let plot = Plot {
        title: format!("k = 1 to 21 neighbours, {count} pictures"),
        x_label: "recall".into(),
        y_label: "precision".into(),
        series: vec![
            Series { name: "samples".into(), points: points(&fake)? },
            Series { name: "REAL against itself".into(), points: points(&other)? },
        ],
        ..Plot::default()
    };
    Ok(Some(draw(&plot, 560, 420)?))
}
