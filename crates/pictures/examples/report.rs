//! Writes a report page and an event file into a folder: `cargo run -p sumi-pictures --example report -- DIR`.

use std::{error::Error, path::PathBuf};

use sumi_pictures::plot::{Plot, Series, draw};
use sumi_pictures::report::{Figure, Page, Table};
use sumi_pictures::{Picture, gif, grid, tensorboard::EventWriter};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "report".into()));
    std::fs::create_dir_all(&out)?;

    let points: Vec<(f64, f64)> = (1..=500).map(|s| (f64::from(s), 1.0 / f64::from(s))).collect();
    let series = vec![Series { name: String::new(), points: points.clone() }];
    let plot = Plot {
        title: "Training loss".into(),
        x_label: "step".into(),
        log_y: true,
        series,
        ..Plot::default()
    };
    let loss = draw(&plot, 880, 360)?;
    let ramp = |shift: usize| {
        let pixels = (0..64).map(|i| ((i % 8 + i / 8 + shift) % 16 * 17) as u8);
        Picture::new(8, 8, 1, pixels.collect())
    };
    let ramps = (0..16).map(ramp).collect::<Result<Vec<_>, _>>()?;
    let film = out.join("film.gif");
    gif(&ramps, 60, 60, &film)?;

    let mut page = Page::new("Ramps, drawn from nothing");
    page.lead(
        "Sixteen pictures of a ramp that moves one level at a time, and what became of them.",
    );
    page.footer("Sumi 0.1.0, seed 0");
    let sheet = Figure::picture(&grid(&ramps, 8, 6, 3)?, "Sixteen ramps in two rows")?;
    let moving = Figure::new(std::fs::read(film)?, "A ramp that moves")?;
    page.section("Samples")
        .paragraph("Each ramp begins one grey level after the one before it.")
        .figures([sheet.caption("All sixteen."), moving.width_px(105).caption("In motion.")]);
    let table = Table::new(["compared with the held-out ramps", "distance", "share"])
        .row(["training ramps", "1.02", "100 %"])
        .row(["drawn ramps", "11.48", "8 %"])
        .caption("Lower is nearer.");
    page.section("How good are they?")
        .table(table)
        .note("Four ramps were held out.")
        .warning("Two ramps look copied: see the nearest neighbours.");
    page.section("Training")
        .figure(Figure::picture(&loss, "The loss falls from 1 to 0.002")?.keep_width())
        .definitions([("steps", "500"), ("images a second", "1,070")])
        .code("sumi sample out/model --count 16 --grid more.png");
    page.write(out.join("report.html"))?;

    let mut events = EventWriter::create(out.join("logs"))?;
    for (step, loss) in points {
        events.scalar(step as u64, 1.7e9 + step, "train/loss", loss as f32)?;
    }
    events.image(500, "samples", &grid(&ramps, 8, 6, 3)?.png_bytes())?;
    events.flush()?;
    Ok(())
}
