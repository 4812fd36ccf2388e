//! The pictures of the demo.

use super::Results;
use super::measure::NEIGHBOURS;
use crate::error::CliError;
use std::path::Path;
use sumi_data::Pictures;
use sumi_model::TorchNoise;
use sumi_pictures::plot::{Plot, Series, draw};
use sumi_pictures::{GridOptions, Picture, grid, sheet_layout, side_by_side};
use sumi_train::Record;

const SCALE: usize = 5;
/// Records on each side that the smoothed loss averages over.
const SMOOTH: usize = 6;

pub fn write(results: &Results, training: &Pictures, out: &Path) -> Result<(), CliError> {
    let real = real_sheet(training)?;
    let generated = sheet(&results.ddim.drawn.pictures, &results.ddim.drawn.classes)?;
    let ancestral = sheet(&results.ddpm.drawn.pictures, &results.ddpm.drawn.classes)?;
    side_by_side(&[("generated (DDIM)", generated), ("real", real.clone())])?
        .write_png(out.join("grid.png"))?;
    side_by_side(&[("generated (ancestral)", ancestral), ("real", real)])?
        .write_png(out.join("ancestral.png"))?;
    forward_strip(results, training)?.write_png(out.join("forward.png"))?;
    neighbour_sheet(results, training)?.write_png(out.join("neighbours.png"))?;
    loss_curve(results, &out.join("run/log.jsonl"))?.write_png(out.join("loss.png"))?;
    Ok(())
}

/// The first ten of every class, a row a class.
fn sheet(pictures: &[Picture], classes: &[u32]) -> Result<Picture, CliError> {
    let mut seen = std::collections::BTreeMap::<u32, usize>::new();
    let first_ten: Vec<usize> = (0..pictures.len().min(classes.len()))
        .filter(|&i| {
            let n = seen.entry(classes[i]).or_default();
            *n += 1;
            *n <= 10
        })
        .collect();
    let classes: Vec<u32> = first_ten.iter().map(|&i| classes[i]).collect();
    let (order, columns) = sheet_layout(&classes, classes.len());
    let pictures: Vec<Picture> =
        order.into_iter().map(|i| pictures[first_ten[i]].clone()).collect();
    Ok(grid(&pictures, columns, SCALE, 4)?)
}

fn real_sheet(training: &Pictures) -> Result<Picture, CliError> {
    let pictures: Vec<Picture> =
        (0..training.len()).map(|i| real(training, i)).collect::<Result<_, _>>()?;
    sheet(&pictures, &training.labels)
}

fn real(pictures: &Pictures, index: usize) -> Result<Picture, CliError> {
    let values: Vec<f32> = pictures.scaled(index).collect();
    from_values(pictures, &values)
}

fn from_values(like: &Pictures, values: &[f32]) -> Result<Picture, CliError> {
    Ok(Picture::from_unit_range(values, like.channels, like.height_px, like.width_px)?)
}

/// Five digits, noised to eleven timesteps: what the network learns to undo.
fn forward_strip(results: &Results, training: &Pictures) -> Result<Picture, CliError> {
    const DIGITS: usize = 5;
    let process = results.config.scheduler().process().map_err(CliError::Failed)?;
    let (earliest, latest) = process.times();
    let time = |i: usize| earliest + ((latest - earliest) * i as f64 / 10.0).floor();
    let times: Vec<f64> = (0..=10).map(time).collect();
    let each = training.picture_len();
    let noise = TorchNoise::new(0, DIGITS).normals(each);
    let mut pictures = Vec::new();
    for (index, noise) in noise.chunks(each).enumerate() {
        for &t in &times {
            let level = process.level(t);
            let (alpha, sigma) = (level.alpha as f32, level.sigma as f32);
            let x_t: Vec<f32> = training
                .scaled(index)
                .zip(noise)
                .map(|(x0, eps)| alpha * x0 + sigma * eps)
                .collect();
            pictures.push(from_values(training, &x_t)?);
        }
    }
    let options = GridOptions {
        columns: times.len(),
        scale: 7,
        gap_px: 6,
        column_labels: times.iter().map(|t| format!("t={t}")).collect(),
        ..GridOptions::default()
    };
    Ok(options.draw(&pictures)?)
}

/// One sample of each class and the training digits nearest to it.
fn neighbour_sheet(results: &Results, training: &Pictures) -> Result<Picture, CliError> {
    let drawn = &results.ddim.drawn;
    let mut rows = vec![Vec::new(); 1 + NEIGHBOURS];
    for index in 0..drawn.count.min(10) {
        rows[0].push(drawn.pictures[index].clone());
        for (row, neighbour) in rows[1..].iter_mut().zip(&results.measures.neighbours[index]) {
            row.push(real(training, neighbour.index)?);
        }
    }
    let mut labels = vec!["sample".to_string()];
    labels.extend((1..=NEIGHBOURS).map(|n| format!("real no. {n}")));
    let options = GridOptions {
        columns: rows[0].len(),
        scale: 7,
        gap_px: 6,
        row_labels: labels,
        ..GridOptions::default()
    };
    Ok(options.draw(&rows.concat())?)
}

fn loss_curve(results: &Results, log: &Path) -> Result<Picture, CliError> {
    let text = std::fs::read_to_string(log)
        .map_err(|error| CliError::Failed(format!("{}: cannot read: {error}", log.display())))?;
    let points: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Record>(line).ok())
        .map(|record| (record.step as f64, record.loss))
        .collect();
    let smooth = (0..points.len())
        .map(|i| {
            // As far to the left as to the right, so that the ends are not pulled aside.
            let reach = SMOOTH.min(i).min(points.len() - 1 - i);
            let window = &points[i - reach..=i + reach];
            let mean = window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64;
            (points[i].0, mean)
        })
        .collect();
    let plot = Plot {
        title: "training loss".into(),
        x_label: "step".into(),
        y_label: "mean squared error of the noise".into(),
        series: vec![
            Series { name: format!("mean of {} steps", results.config.train.log_every), points },
            Series { name: "smoothed".into(), points: smooth },
        ],
        log_y: true,
        ..Plot::default()
    };
    Ok(draw(&plot, 860, 420)?)
}
