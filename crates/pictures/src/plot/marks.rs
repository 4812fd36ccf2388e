//! Points and bars, where a plot is not of lines.

use super::axis::Axis;
use super::stroke::Mask;
use super::{FRAME, Placed, Series};
use crate::Picture;

/// What stands for the points of a series.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Marks {
    /// A line through them.
    #[default]
    Lines,
    /// A dot each.
    Dots,
    /// A bar each, from 0 up; those of several series side by side. Names stand under the bars at x = 0, 1, 2 and so on;
    /// without names, x is a number as ever.
    Bars(Vec<String>),
}

impl Marks {
    /// What has to be in sight beside the points: the feet of the bars, and half a bar on either side.
    pub(super) fn corners(&self, series: &[Series]) -> Vec<(f64, f64)> {
        if !matches!(self, Self::Bars(_)) {
            return Vec::new();
        }
        let half = spacing(series) / 2.0;
        let xs = || series.iter().flat_map(|s| &s.points).map(|p| p.0).filter(|x| x.is_finite());
        let (low, high) =
            (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
        if low > high { Vec::new() } else { vec![(low - half, 0.0), (high + half, 0.0)] }
    }
}

/// The least distance between two neighbours of a series along x; 1 where there is none.
fn spacing(series: &[Series]) -> f64 {
    let steps = series.iter().flat_map(|s| s.points.windows(2)).map(|p| (p[1].0 - p[0].0).abs());
    let least = steps.filter(|step| *step > 0.0).fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 1.0 }
}

/// A dot at each point.
pub(super) fn dots(picture: &mut Picture, points: &[Placed], colour: [u8; 3], axes: [&Axis; 2]) {
    let radius = if points.len() > 400 { 1.4 } else { 2.0 };
    let mut mask = Mask::new(frame(axes));
    points.iter().flatten().for_each(|&point| mask.segment(point, point, radius));
    mask.paint(picture, colour, 0.75);
}

fn frame([x_axis, y_axis]: [&Axis; 2]) -> (i32, i32, i32, i32) {
    (x_axis.start_px - 1, y_axis.end_px - 1, x_axis.length_px() + 3, y_axis.length_px() + 3)
}

/// The bars of series `index` of `series`.
pub(super) fn bars(
    picture: &mut Picture,
    (series, index): (&[Series], usize),
    colour: [u8; 3],
    [x_axis, y_axis]: [&Axis; 2],
) {
    let slot = spacing(series);
    // A tenth of the room of a bar stays free on either side of the group.
    let width = 0.8 * slot / series.len().max(1) as f64;
    let foot = y_axis.place(0.0).min(f64::from(y_axis.start_px)).round() as i32;
    for &(x, y) in series[index].points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let left = x - 0.4 * slot + width * index as f64;
        let (from, to) =
            (x_axis.place(left).round() as i32, x_axis.place(left + width).round() as i32);
        let top = y_axis.place(y).round() as i32;
        // Whatever the numbers are, a bar ends at the frame.
        let columns = from.max(x_axis.start_px)..to.max(from.saturating_add(1)).min(x_axis.end_px);
        let rows = top.min(foot).max(y_axis.end_px)..top.max(foot).min(y_axis.start_px);
        for column in columns {
            for row in rows.clone() {
                let edge = column == from && to > from.saturating_add(4);
                picture.blend(column, row, if edge { FRAME } else { colour }, 0.85);
            }
        }
    }
}
