//! `report.html` and `report.json`.

use super::Results;
use super::measure::Measures;
use crate::error::CliError;
use serde_json::{Value, json};
use std::path::Path;
use sumi_data::Pictures;
use sumi_formats::atomic;
use sumi_pictures::report::{Figure, Page, Table};

pub fn write(results: &Results, training: &Pictures, out: &Path) -> Result<(), CliError> {
    let json = as_json(results);
    atomic::write_bytes(&out.join("report.json"), format!("{json:#}\n").as_bytes())?;
    Ok(page(results, training, out)?.write(out.join("report.html"))?)
}

fn as_json(results: &Results) -> Value {
    let of = |m: &Measures| {
        json!({
            "recognised": m.recognised,
            "recognised_by_class": m.recognised_by_class,
            "recognised_held_out": m.recognised_held_out,
            "frechet_held_out": m.frechet_held_out,
            "frechet_training_to_held_out": m.frechet_real,
            "frechet_halves_of_real": m.frechet_halves,
            "frechet_ratio": m.frechet_ratio(),
            "spread_by_class": m.spread_by_class,
            "nearest_training_distance": m.nearest,
            "nearest_training_distance_held_out": m.nearest_held_out,
        })
    };
    json!({
        "parameters": results.parameters,
        "steps": results.outcome.step,
        "train_secs": results.outcome.train_secs,
        "train_images_per_sec": images_per_sec(results),
        "ddim": {"steps": results.ddim.steps, "secs": results.ddim.secs, "measures": of(&results.measures)},
        "ddpm": {"steps": results.ddpm.steps, "secs": results.ddpm.secs, "measures": of(&results.ancestral)},
    })
}

fn images_per_sec(results: &Results) -> f64 {
    let images = results.outcome.step as f64 * results.config.train.batch_size as f64;
    images / results.outcome.train_secs.max(1e-9)
}

fn page(results: &Results, training: &Pictures, out: &Path) -> Result<Page, CliError> {
    let figure = |name: &str, alt: &str, caption: &str| -> Result<Figure, CliError> {
        let path = out.join(name);
        let bytes = std::fs::read(&path).map_err(|error| {
            CliError::Failed(format!("{}: cannot read: {error}", path.display()))
        })?;
        Ok(Figure::new(bytes, alt)?.caption(caption))
    };
    let m = &results.measures;
    let mut page = Page::new("Handwriting out of noise");
    page.lead(format!(
        "A U-Net of {} parameters learned from {} real handwritten digits of 8 x 8 pixels in {:.0} \
         seconds; none of the digits called generated here was ever written by hand.",
        results.parameters,
        training.len(),
        results.outcome.train_secs
    ));
    page.section("What it draws")
        .figure(figure(
            "grid.png",
            "ten rows of generated digits next to ten rows of real ones",
            "Left: generated with DDIM, one row a class. Right: real digits from the training set.",
        )?)
        .figure(
            figure(
                "film.gif",
                "noise turning into digits",
                "The film running backwards, from pure noise to digits.",
            )?
            .width_px(400),
        )
        .figure(figure(
            "forward.png",
            "five digits dissolving into noise",
            "The film running forwards: what the network learned to undo.",
        )?);
    page.section("How good it is")
        .paragraph(
            "All on raw pixels from 0 to 1. A picture is read as the class of its nearest training \
             digit; the last column says how well that reads real digits that were held out.",
        )
        .table(scores(results));
    page.section("Class by class").table(classes(results, training));
    page.section("Is it copying?")
        .paragraph(format!(
            "A sample lies on average {:.3} from its nearest training digit, a real held-out digit \
             {:.3}. A model that copies would lie much nearer than real digits do.",
            m.nearest, m.nearest_held_out
        ))
        .figure(figure(
            "neighbours.png",
            "ten samples above their nearest training digits",
            "Ten samples, one of each class, and the three training digits nearest to each.",
        )?);
    page.section("Ancestral sampling").figure(figure(
        "ancestral.png",
        "ten rows of generated digits next to ten rows of real ones",
        "The same model sampled with all 1000 ancestral steps.",
    )?);
    page.section("Training")
        .figure(figure("loss.png", "the loss falling", "The loss, over the steps.")?.keep_width())
        .table(times(results));
    page.section("The run").code(results.config.to_toml()?);
    page.footer(format!("Made by sumi {} demo.", env!("CARGO_PKG_VERSION")));
    Ok(page)
}

fn scores(results: &Results) -> Table {
    let (ddim, ddpm) = (&results.measures, &results.ancestral);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let row = |name: &str, of: &dyn Fn(&Measures) -> String, real: String| {
        [name.to_string(), of(ddim), of(ddpm), real]
    };
    let ddim_name = format!("DDIM, {} samples", results.ddim.drawn.count);
    let ddpm_name = format!("ancestral, {} samples", results.ddpm.drawn.count);
    Table::new(["", &ddim_name, &ddpm_name, "real digits"])
        .row(row("read as their class", &|m| percent(m.recognised), percent(ddim.recognised_held_out)))
        .row(row(
            "Frechet distance to the held-out digits",
            &|m| format!("{:.4}", m.frechet_held_out),
            format!("{:.4}", ddim.frechet_real),
        ))
        .row(row("the same, over that of the training digits", &|m| format!("{:.2}", m.frechet_ratio()), "1".into()))
        .row(row("smallest spread of a class, over the real one", &|m| format!("{:.2}", m.least_spread()), "1".into()))
        .row([
            "Frechet distance between two halves of the real digits".to_string(),
            String::new(),
            String::new(),
            format!("{:.4}", ddim.frechet_halves),
        ])
        .caption(
            "The Frechet distance falls with the number of samples, so 100 ancestral samples cannot \
             be compared with 1,000: look at the DDIM column.",
        )
}

fn classes(results: &Results, training: &Pictures) -> Table {
    let m = &results.measures;
    let mut table = Table::new(["digit", "read as it", "spread over the real one"]);
    for (name, (recognised, spread)) in
        training.class_names.iter().zip(m.recognised_by_class.iter().zip(&m.spread_by_class))
    {
        table = table.row([
            name.clone(),
            format!("{:.0} %", 100.0 * recognised),
            format!("{spread:.2}"),
        ]);
    }
    table.caption("Spread is the mean distance between two of a class: below 1, samples are more alike than real digits.")
}

fn times(results: &Results) -> Table {
    let per_sec = |count: usize, secs: f64| format!("{:.0} /s", count as f64 / secs.max(1e-9));
    let (ddim, ddpm) = (&results.ddim, &results.ddpm);
    Table::new(["", "time", "throughput"])
        .row([
            format!("training, {} steps", results.outcome.step),
            format!("{:.1} s", results.outcome.train_secs),
            format!("{:.0} images/s", images_per_sec(results)),
        ])
        .row([
            format!("{} samples, DDIM, {} steps", ddim.drawn.count, ddim.steps),
            format!("{:.1} s", ddim.secs),
            per_sec(ddim.drawn.count, ddim.secs),
        ])
        .row([
            format!("{} samples, ancestral, {} steps", ddpm.drawn.count, ddpm.steps),
            format!("{:.1} s", ddpm.secs),
            per_sec(ddpm.drawn.count, ddpm.secs),
        ])
}
