//! Draws plots and sheets of pictures into a folder: `cargo run -p sumi-pictures --example gallery -- DIR`.

use std::{error::Error, path::PathBuf};

use sumi_pictures::plot::{Plot, Series, draw, panels};
use sumi_pictures::{GridOptions, Picture, PictureError, grid, side_by_side};

/// Three digits as 8x8 bitmaps, one byte a row.
const DIGITS: [u64; 3] = [0x3c666e7e76663c00, 0x1838181818187e00, 0x3c66060c18307e00];

/// Noise between -1 and 1: the fraction of a large sine.
fn noise(seed: usize) -> f32 {
    ((seed as f64 * 12.9898).sin() * 43758.5453).fract() as f32
}

/// Digits seen through the forward process, sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, ten in a row.
fn digits(alpha_bar: f32) -> Result<Vec<Picture>, PictureError> {
    let value = |index: usize, bit: usize| {
        let ink = DIGITS[index / 10] >> (63 - bit) & 1;
        let x0 = if ink == 1 { 0.9 } else { -1.0 };
        alpha_bar.sqrt() * x0 + (1.0 - alpha_bar).sqrt() * 1.7 * noise(index * 64 + bit)
    };
    (0..30)
        .map(|index| {
            let pixels: Vec<f32> = (0..64).map(|bit| value(index, bit)).collect();
            Picture::from_unit_range(&pixels, 1, 8, 8)
        })
        .collect()
}

fn line(name: &str, steps: u32, value: impl Fn(f64) -> f64) -> Series {
    let points = (1..=steps).map(f64::from).map(|step| (step, value(step)));
    Series { name: name.into(), points: points.collect() }
}

fn plot(title: &str, x_label: &str, series: Vec<Series>) -> Plot {
    Plot { title: title.into(), x_label: x_label.into(), series, ..Plot::default() }
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".into()));
    std::fs::create_dir_all(&out)?;

    // The loss: noisy, and smoothed.
    let trend = |s: f64| 0.06 + 0.9 * (-s / 40.0).exp() + 0.12 * (-s / 500.0).exp();
    let rough = |s: f64| trend(s) * (1.0 + 0.35 * f64::from(noise(s as usize)));
    let lines = vec![line("each step", 1240, rough), line("smoothed", 1240, trend)];
    let mut loss = plot("Training loss", "step", lines);
    loss.y_label = "mean squared error of ε".into();
    draw(&loss, 880, 420)?.write_png(out.join("loss.png"))?;

    // The schedule: linear beta from 1e-4 to 0.02, T = 1000.
    let beta = |t: f64| 1e-4 + 0.0199e-3 * t;
    let left = |t: f64| (-(1e-4 * t + 0.5 * t * t * 0.0199e-3)).exp();
    let log_snr = |t: f64| (left(t) / (1.0 - left(t))).ln();
    let variance = |t: f64| beta(t) * (1.0 - left(t - 1.0)) / (1.0 - left(t));
    let cosine = |t: f64| (t / 1000.0 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let lines = vec![line("linear", 1000, left), line("cosine", 1000, cosine)];
    let mut schedule = [
        plot("Signal left, α\u{304}ₜ", "timestep t", lines),
        plot("log SNR", "timestep t", vec![line("", 1000, log_snr)]),
        plot("Posterior variance", "timestep t", vec![line("", 1000, variance)]),
    ];
    schedule[2].log_y = true;
    panels(&schedule, 3, 400, 320)?.write_png(out.join("schedule.png"))?;

    // Sheets of digits.
    let (drawn, real) = (grid(&digits(0.9)?, 10, 4, 4)?, grid(&digits(0.98)?, 10, 4, 4)?);
    side_by_side(&[("drawn", drawn), ("real", real)])?.write_png(out.join("digits.png"))?;
    let options = GridOptions {
        scale: 4,
        row_labels: (0..3).map(|class| class.to_string()).collect(),
        title: Some("One row a class".into()),
        ..GridOptions::default()
    };
    options.draw(&digits(0.95)?)?.write_png(out.join("labelled.png"))?;
    Ok(())
}
