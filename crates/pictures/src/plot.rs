//! Plots as pictures: no window, no server, no font file.

mod axis;
mod marks;
pub(crate) mod stroke;

pub use marks::Marks;

use axis::{Axis, Scale};
use stroke::Mask;

use crate::{
    Picture, PictureError,
    error::within,
    text::{BODY, TITLE},
};

/// The colours of Okabe and Ito (2008), which readers with any kind of colour vision tell apart; brown stands
/// for their yellow, which is lost on white. A ninth series begins again with the first colour.
pub(crate) const COLOURS: [[u8; 3]; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [0, 0, 0],
    [150, 110, 60],
];
const INK: [u8; 3] = [38; 3];
const SOFT: [u8; 3] = [96; 3];
const FRAME: [u8; 3] = [150; 3];
const RULE: [u8; 3] = [228; 3];
const FAINT: [u8; 3] = [242; 3];
const MARGIN_PX: i32 = 12;
/// A piece of line before a name in the legend, with the space after it.
const SWATCH_PX: i32 = 24;

/// Named points (x, y), in the order given.
///
/// A point that is not finite, or not positive on a logarithmic axis, is a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend calls it; an empty name is left out of the legend.
    pub name: String,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// What to draw: words, lines and the kind of axes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plot {
    /// The heading; may be empty.
    pub title: String,
    /// What runs along the bottom; may be empty.
    pub x_label: String,
    /// What runs up the side; may be empty.
    pub y_label: String,
    /// The points, the last series on top.
    pub series: Vec<Series>,
    /// What stands for them.
    pub marks: Marks,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// Logarithmic x axis.
    pub log_x: bool,
}

/// Draws one plot.
///
/// Text may hold Greek letters, raised and lowered digits, and a combining overline (U+0304): `ᾱₜ`, `10⁻⁵`. A jagged series
/// is drawn thin and pale, so that a smoothed one over it stands out.
///
/// # Errors
/// A side under 120 or above 16,384 pixels.
///
/// ```
/// use sumi_pictures::plot::{Plot, Series, draw};
///
/// let points = (0..100).map(|step| (f64::from(step), 1.0 / (1.0 + f64::from(step))));
/// let series = vec![Series { name: "loss".into(), points: points.collect() }];
/// let picture = draw(&Plot { title: "Training".into(), series, ..Plot::default() }, 640, 360)?;
/// assert_eq!((picture.width_px, picture.height_px), (640, 360));
/// # Ok::<(), sumi_pictures::PictureError>(())
/// ```
pub fn draw(plot: &Plot, width_px: usize, height_px: usize) -> Result<Picture, PictureError> {
    within("a plot's width", width_px, 120, 1 << 14)?;
    within("a plot's height", height_px, 120, 1 << 14)?;
    let mut picture = Picture::filled(height_px, width_px, 3, 255)?;
    let (width, height) = (width_px as i32, height_px as i32);

    let corners = plot.marks.corners(&plot.series);
    let in_sight = |pick: fn((f64, f64)) -> f64| {
        let points = plot.series.iter().flat_map(|series| &series.points).chain(&corners).copied();
        points.filter(|&(x, y)| plot.visible(x, y)).map(pick)
    };
    let x_scale = Scale::around(in_sight(|(x, _)| x), plot.log_x);
    let y_scale = Scale::around(in_sight(|(_, y)| y), plot.log_y);

    // Leave room for words around the frame.
    let (legend, top) = draw_header(plot, &mut picture);
    let label_px = |label: &str| {
        if label.is_empty() { 0 } else { BODY.height_px() as i32 + 6 }
    };
    let bottom = height - MARGIN_PX - label_px(&plot.x_label) - BODY.height_px() as i32 - 6;
    let y_axis = Axis::new(&y_scale, bottom, top, 42);
    let left = MARGIN_PX + label_px(&plot.y_label) + y_axis.widest_label_px() + 6;
    let mut x_axis = Axis::new(&x_scale, left, width - MARGIN_PX - 14, 84);
    if let Marks::Bars(names) = &plot.marks
        && !names.is_empty()
    {
        x_axis.name_ticks(names);
    }
    let axes = [&x_axis, &y_axis];

    draw_rules(&mut picture, &x_axis, &y_axis);
    for (index, (series, entry)) in plot.series.iter().zip(&legend).enumerate() {
        let points = placed(plot, series, &x_axis, &y_axis);
        let colour = COLOURS[index % COLOURS.len()];
        let mut pen = Pen { colour, half_width: 3.0, strength: 0.85 };
        match &plot.marks {
            Marks::Lines => {
                pen = Pen::for_line(&points, colour, x_axis.length_px());
                draw_line(&mut picture, &points, &pen, &x_axis, &y_axis);
            }
            Marks::Dots => marks::dots(&mut picture, &points, colour, axes),
            Marks::Bars(_) => marks::bars(&mut picture, (&plot.series, index), colour, axes),
        }
        if let Some(entry) = entry {
            draw_entry(&mut picture, entry, &pen);
        }
    }
    draw_words(&mut picture, plot, &x_axis, &y_axis);
    Ok(picture)
}

/// Draws several plots on one sheet, row by row, each panel of the same size.
///
/// # Errors
/// No plots, zero columns, or a side out of range as in [`draw`].
pub fn panels(
    plots: &[Plot],
    columns: usize,
    panel_width_px: usize,
    panel_height_px: usize,
) -> Result<Picture, PictureError> {
    let pictures: Vec<Picture> = plots
        .iter()
        .map(|plot| draw(plot, panel_width_px, panel_height_px))
        .collect::<Result<_, _>>()?;
    crate::grid(&pictures, columns, 1, 0)
}

impl Plot {
    fn visible(&self, x: f64, y: f64) -> bool {
        let shown = |value: f64, log: bool| {
            value.abs() < axis::LARGEST && (!log || value > 1.0 / axis::LARGEST)
        };
        shown(x, self.log_x) && shown(y, self.log_y)
    }

    fn is_empty(&self) -> bool {
        let mut points = self.series.iter().flat_map(|series| &series.points);
        !points.any(|&(x, y)| self.visible(x, y))
    }
}

/// Where the legend names a series.
struct LegendEntry {
    x: i32,
    y: i32,
    name: String,
}

/// Draws the title and lays out the legend; returns its entries, one a series, and where the frame may begin.
fn draw_header(plot: &Plot, picture: &mut Picture) -> (Vec<Option<LegendEntry>>, i32) {
    let (mut y, room) = (MARGIN_PX, picture.width_px - 2 * MARGIN_PX as usize);
    if !plot.title.is_empty() {
        TITLE.draw(picture, &TITLE.fit(&plot.title, room), MARGIN_PX, y, INK);
        y += TITLE.height_px() as i32 + 8;
    }
    let row = BODY.height_px() as i32 + 4;
    let (mut x, mut legend) = (MARGIN_PX, Vec::new());
    for series in &plot.series {
        if series.name.is_empty() {
            legend.push(None);
            continue;
        }
        let name = BODY.fit(&series.name, room.saturating_sub(SWATCH_PX as usize));
        let width = SWATCH_PX + BODY.width_px(&name) as i32;
        if x > MARGIN_PX && x + width > picture.width_px as i32 - MARGIN_PX {
            (x, y) = (MARGIN_PX, y + row);
        }
        legend.push(Some(LegendEntry { x, y, name }));
        x += width + 18;
    }
    let has_legend = legend.iter().any(Option::is_some);
    (legend, y + if has_legend { row + 6 } else { 4 })
}

fn draw_rules(picture: &mut Picture, x_axis: &Axis, y_axis: &Axis) {
    let (left, right) = (x_axis.start_px, x_axis.end_px);
    let (bottom, top) = (y_axis.start_px, y_axis.end_px);
    // The faint rules first, so that no strong one is broken.
    for is_faint in [true, false] {
        let colour = if is_faint { FAINT } else { RULE };
        let ours = |tick: &&axis::Tick| tick.label.is_empty() == is_faint;
        for tick in x_axis.ticks.iter().filter(ours) {
            (top..bottom).for_each(|y| picture.blend(tick.at_px, y, colour, 1.0));
        }
        for tick in y_axis.ticks.iter().filter(ours) {
            (left..right).for_each(|x| picture.blend(x, tick.at_px, colour, 1.0));
        }
    }
    (top..=bottom).for_each(|y| picture.blend(left, y, FRAME, 1.0));
    (left..=right).for_each(|x| picture.blend(x, bottom, FRAME, 1.0));
}

/// A point of a series in pixels, or a gap.
type Placed = Option<(f64, f64)>;

fn placed(plot: &Plot, series: &Series, x_axis: &Axis, y_axis: &Axis) -> Vec<Placed> {
    let points = series.points.iter();
    points
        .map(|&(x, y)| {
            let visible = plot.visible(x, y);
            visible.then(|| (x_axis.place(x), y_axis.place(y)))
        })
        .collect()
}

/// How a line is drawn.
struct Pen {
    colour: [u8; 3],
    half_width: f64,
    strength: f32,
}

impl Pen {
    /// Full strength, or thin and pale for a line that goes up and down so much that it would hide what is drawn with it.
    fn for_line(points: &[Placed], colour: [u8; 3], width_px: i32) -> Self {
        let climbs = points.windows(2).map(|pair| match (pair[0], pair[1]) {
            (Some(a), Some(b)) => (b.1 - a.1).abs(),
            _ => 0.0,
        });
        let is_jagged = points.len() > 100 && climbs.sum::<f64>() > 3.0 * f64::from(width_px);
        let (half_width, strength) = if is_jagged { (0.5, 0.45) } else { (1.0, 1.0) };
        Self { colour, half_width, strength }
    }
}

fn draw_line(picture: &mut Picture, points: &[Placed], pen: &Pen, x_axis: &Axis, y_axis: &Axis) {
    let (left, top) = (x_axis.start_px - 1, y_axis.end_px - 1);
    let size = (x_axis.length_px() + 3, y_axis.length_px() + 3);
    let mut mask = Mask::new((left, top, size.0, size.1));
    for (index, point) in points.iter().enumerate() {
        let next = points.get(index + 1).copied().flatten();
        let before = index.checked_sub(1).and_then(|before| points[before]);
        match (point, before, next) {
            (Some(a), _, Some(b)) => mask.segment(*a, b, pen.half_width),
            // A point with a gap on either side would leave no line: it gets a dot.
            (Some(a), None, None) => mask.segment(*a, *a, 2.5),
            _ => {}
        }
    }
    mask.paint(picture, pen.colour, pen.strength);
}

fn draw_entry(picture: &mut Picture, entry: &LegendEntry, pen: &Pen) {
    let (x, y) = (f64::from(entry.x), f64::from(entry.y) + 6.0);
    let mut swatch = Mask::new((entry.x, entry.y, SWATCH_PX, BODY.height_px() as i32));
    swatch.segment((x + 1.5, y), (x + 16.5, y), pen.half_width + 0.5);
    swatch.paint(picture, pen.colour, pen.strength);
    BODY.draw(picture, &entry.name, entry.x + SWATCH_PX, entry.y, INK);
}

fn draw_words(picture: &mut Picture, plot: &Plot, x_axis: &Axis, y_axis: &Axis) {
    let (left, right) = (x_axis.start_px, x_axis.end_px);
    let (bottom, top) = (y_axis.start_px, y_axis.end_px);
    let line = BODY.height_px() as i32;
    for tick in &x_axis.ticks {
        let x = tick.at_px - BODY.width_px(&tick.label) as i32 / 2;
        BODY.draw(picture, &tick.label, x, bottom + 5, SOFT);
    }
    for tick in &y_axis.ticks {
        let x = left - 6 - BODY.width_px(&tick.label) as i32;
        BODY.draw(picture, &tick.label, x, tick.at_px - line / 2, SOFT);
    }
    let x_label = BODY.fit(&plot.x_label, (right - left).max(0) as usize);
    let x = (left + right - BODY.width_px(&x_label) as i32) / 2;
    BODY.draw(picture, &x_label, x, bottom + line + 10, INK);
    let y_label = BODY.fit(&plot.y_label, (bottom - top).max(0) as usize);
    let y = (bottom + top + BODY.width_px(&y_label) as i32) / 2;
    BODY.draw_upwards(picture, &y_label, MARGIN_PX, y, INK);
    if plot.is_empty() {
        let text = "no finite points";
        let x = (left + right - BODY.width_px(text) as i32) / 2;
        BODY.draw(picture, text, x, (top + bottom - line) / 2, SOFT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.into(), points: points.to_vec() }
    }

    fn plot(series: Vec<Series>) -> Plot {
        Plot {
            title: "Title".into(),
            x_label: "x".into(),
            y_label: "y".into(),
            series,
            ..Plot::default()
        }
    }

    fn count(picture: &Picture, colour: [u8; 3]) -> usize {
        let pixels = picture.pixels.chunks_exact(3);
        pixels.filter(|pixel| *pixel == colour).count()
    }

    #[test]
    fn a_line_is_there_in_its_colour() {
        let picture = draw(&plot(vec![series("", &[(0.0, 1.0), (1.0, 1.0)])]), 400, 300).unwrap();
        // Two pixels high where it is level, over nearly the whole frame.
        assert!(count(&picture, COLOURS[0]) > 300);
        assert_eq!(count(&picture, COLOURS[1]), 0);
    }

    #[test]
    fn whatever_the_numbers_are_a_plot_comes_out() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let hard: &[&[(f64, f64)]] = &[
            &[],
            &[(nan, 1.0)],
            &[(1.0, inf), (inf, 1.0), (-inf, nan)],
            &[(3.0, 4.0)],
            &[(0.0, 0.0)],
            &[(0.0, 0.0), (1.0, -1.0), (2.0, nan), (3.0, 5.0)],
            &[(1.0, f64::MAX), (2.0, f64::MIN)],
            &[(1.0, 1e300), (2.0, -9e299)],
            &[(1.0, 1e-300), (2.0, 9e299)],
            &[(5e-324, 5e-324), (1e-310, 1e-320)],
            &[(1e16, 1e16), (1e16 + 2.0, 1e16 + 4.0)],
            &[(0.0, 1.0), (1e-15, 1.0 + 1e-15)],
        ];
        for points in hard {
            for (log_x, log_y) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut plot = plot(vec![series("a", points), series("b", &[])]);
                (plot.log_x, plot.log_y) = (log_x, log_y);
                draw(&plot, 400, 300).unwrap();
                draw(&plot, 120, 120).unwrap();
            }
        }
        draw(&Plot::default(), 200, 200).unwrap();
    }

    #[test]
    fn a_point_that_is_not_finite_leaves_a_gap() {
        let whole = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0)];
        let mut broken = whole;
        broken[1].1 = f64::NAN;
        let ink = |points| {
            let picture = draw(&plot(vec![series("", points)]), 400, 300).unwrap();
            count(&picture, COLOURS[0])
        };
        let share = ink(&broken) as f64 / ink(&whole) as f64;
        // One of three segments stays, and the lone first point is a dot.
        assert!((0.33..0.45).contains(&share), "{share}");
    }

    #[test]
    fn a_jagged_line_is_pale_and_a_smooth_one_over_it_is_not() {
        let zigzag: Vec<_> = (0..1000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let level = series("smooth", &[(0.0, 0.5), (999.0, 0.5)]);
        let picture = draw(&plot(vec![series("raw", &zigzag), level]), 600, 300).unwrap();
        assert_eq!(count(&picture, COLOURS[0]), 0);
        assert!(count(&picture, COLOURS[1]) > 500);
    }

    #[test]
    fn many_long_names_wrap_and_are_cut() {
        let names =
            (0..12).map(|i| series(&format!("a rather long name {i}").repeat(i), &[(0.0, 1.0)]));
        draw(&plot(names.collect()), 300, 400).unwrap();
    }

    #[test]
    fn bars_and_dots_are_where_they_belong() {
        let two = [series("a", &[(0.0, 1.0), (1.0, 2.0)]), series("b", &[(0.0, 2.0), (1.0, 0.5)])];
        let mut plot = plot(two.to_vec());
        plot.marks = Marks::Bars(vec!["cats".into(), "dogs".into()]);
        let picture = draw(&plot, 400, 300).unwrap();
        let blend = |colour: [u8; 3]| colour.map(|c| (0.85 * f32::from(c) + 0.15 * 255.0) as u8);
        let near = |colour: [u8; 3], wanted: [u8; 3]| {
            colour.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 20)
        };
        let share = |wanted: [u8; 3]| {
            let pixels = picture.pixels.chunks_exact(3);
            pixels.filter(|p| near([p[0], p[1], p[2]], blend(wanted))).count() as f64
        };
        // Areas go as the values: 3 to 2.5.
        let ratio = share(COLOURS[0]) / share(COLOURS[1]);
        assert!((1.1..1.3).contains(&ratio), "{ratio}");
        plot.marks = Marks::Dots;
        assert!(draw(&plot, 400, 300).is_ok());
        for marks in [Marks::Dots, Marks::Bars(Vec::new())] {
            let hard = [(f64::NAN, 1.0), (1.0, f64::INFINITY), (1e300, -1e300), (3.0, 3.0)];
            plot.series = vec![series("a", &hard), series("b", &[])];
            plot.marks = marks;
            draw(&plot, 120, 120).unwrap();
        }
    }

    #[test]
    fn panels_stand_in_rows() {
        let plots = vec![plot(vec![]); 3];
        let sheet = panels(&plots, 2, 200, 150).unwrap();
        assert_eq!((sheet.width_px, sheet.height_px), (400, 300));
        assert!(panels(&[], 2, 200, 150).is_err());
        assert!(panels(&plots, 0, 200, 150).is_err());
        assert!(draw(&plots[0], 100, 300).is_err());
    }
}
