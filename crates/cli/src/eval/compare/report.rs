//! The page that `--report` writes.

use super::super::args::CompareArgs;
use super::output::{ROWS, number, warnings};
use super::sets::Side;
use super::{Comparison, figures};
use crate::error::CliError;
use sumi_pictures::report::{Figure, Page, Table};

/// The page.
///
/// # Errors
/// Pictures that cannot be drawn.
pub fn page(args: &CompareArgs, comparison: &Comparison) -> Result<Page, CliError> {
    let Comparison { real, fake, .. } = comparison;
    // A path whose end says nothing, such as `..`, stands whole.
    let name = |side: &Side| {
        let last = side.path.file_name().unwrap_or(side.path.as_os_str());
        last.to_string_lossy().into_owned()
    };
    let mut page = Page::new(match real {
        Some(real) => format!("{} against {}", name(fake), name(real)),
        None => name(fake),
    });
    page.lead(lead(comparison));
    scores(&mut page, args, comparison);
    if let Some(sheet) = figures::sheet(comparison)? {
        let figure = Figure::picture(&sheet, "samples and real pictures side by side")?;
        page.section("What they look like").figure(
            figure.caption(
                "Pictures taken at even distances from each set, not chosen by their looks.",
            ),
        );
    }
    memory(&mut page, comparison)?;
    classes(&mut page, comparison)?;
    plane(&mut page, comparison)?;
    if let Some(curve) = curve(args, comparison)? {
        page.section("Precision and recall").figure(curve);
    }
    page.footer(format!("Written by sumi {}.", env!("CARGO_PKG_VERSION")));
    Ok(page)
}

fn lead(comparison: &Comparison) -> String {
    let Comparison { info, fake, scores, floor, .. } = comparison;
    let count = fake.count().map_or("An unknown number of".into(), |count| count.to_string());
    let seen = info
        .as_ref()
        .map_or("features from files".into(), |info| format!("the features of {}", info.name));
    let distance = match (scores.fid, floor.as_ref().and_then(|floor| floor.scores.fid)) {
        (Some(fid), Some(floor)) => format!(
            " The Frechet distance is {fid:.3}; two halves of the real pictures are {floor:.3} apart."
        ),
        (Some(fid), None) => format!(" The Frechet distance is {fid:.3}."),
        _ => String::new(),
    };
    format!("{count} pictures, judged by {seen}.{distance}")
}

fn scores(page: &mut Page, args: &CompareArgs, comparison: &Comparison) {
    let Comparison { info, real, fake, drawn, scores, floor, .. } = comparison;
    let section = page.section("Scores");
    let mut table = Table::new(["score", "FAKE", "REAL against itself", "better is"]);
    let floors = floor.as_ref().map(|floor| floor.scores).unwrap_or_default();
    for (title, pick, better) in ROWS {
        let Some(value) = pick(scores) else { continue };
        let floor = pick(&floors).map(number).unwrap_or_default();
        table = table.row([title.trim(), &number(value), &floor, better]);
    }
    let caption = floor.as_ref().filter(|floor| floor.count > 0).map(|floor| {
        format!(
            "REAL against itself: two random halves of {} pictures each, the mean over {} splits. A score \
             that is as good as that cannot be told from the real pictures at this count.",
            floor.count, floor.splits
        )
    });
    section.table(match caption {
        Some(caption) => table.caption(caption),
        None => table,
    });
    for warning in warnings(comparison) {
        section.warning(warning);
    }
    for (name, why) in &comparison.left_out {
        section.note(format!("Left out: {name}: {why}"));
    }
    let mut facts = Vec::new();
    let side = |side: &Side| {
        let count = side.count().map_or("an unknown number".into(), |count| count.to_string());
        format!("{}: {}, {count}", side.path.display(), side.kind)
    };
    facts.push(("FAKE", side(fake)));
    facts.extend(drawn.iter().map(|drawn| ("drawn", drawn.clone())));
    facts.extend(real.iter().map(|real| ("REAL", side(real))));
    if let Some(info) = info {
        facts.push(("features", format!("{}, {} dimensions", info.name, info.dims)));
        facts.push(("resized", info.resize.clone()));
        facts.extend(info.sha256.iter().map(|hash| ("weights, SHA-256", hash.clone())));
    }
    facts.push(("neighbours", args.neighbours.to_string()));
    facts.push(("seed", args.seed.to_string()));
    section.definitions(facts);
}

fn memory(page: &mut Page, comparison: &Comparison) -> Result<(), CliError> {
    let Some(memory) = &comparison.memory else { return Ok(()) };
    let section = page.section("Is it memorising?");
    section.paragraph(format!(
        "{:.1} % of the samples are at least as near to a real picture ({:.3}) as one in a hundred real pictures \
         is to another; fresh pictures would have about 1 %. A sample is nearer to a real picture than a real \
         picture is with a probability of {:.2}; fresh pictures would have 0.50, copies 1.",
        100.0 * memory.copied,
        memory.threshold,
        memory.nearer
    ));
    let plot = Figure::picture(&figures::distances(memory)?, "two histograms of distances")?;
    section.figure(
        plot.keep_width().caption(
            "A heap of samples at the left, where there are no real pairs, would be copies.",
        ),
    );
    if let Some(strip) = figures::strip(comparison, memory)? {
        let figure = Figure::picture(&strip, "samples above their nearest real pictures")?;
        section.figure(figure.caption(
            "The samples nearest to a real picture, with their distances, and the real pictures nearest to them.",
        ));
    }
    Ok(())
}

fn classes(page: &mut Page, comparison: &Comparison) -> Result<(), CliError> {
    let Some(by_class) = &comparison.by_class else { return Ok(()) };
    if by_class.found.classes.is_empty() {
        return Ok(());
    }
    let figure = Figure::picture(&figures::classes(by_class)?, "a bar a class")?.keep_width();
    page.section("Class by class").figure(figure.caption(
        "Fewer pictures make a larger distance, so a class compares with the others and not with the whole.",
    ));
    Ok(())
}

fn plane(page: &mut Page, comparison: &Comparison) -> Result<(), CliError> {
    let Some((plane, share)) = figures::plane(comparison)? else { return Ok(()) };
    let figure = Figure::picture(&plane, "dots of real pictures and of samples")?.keep_width();
    page.section("Where they lie").figure(figure.caption(format!(
        "The two leading principal components of REAL, {:.0} % of its variance. Real dots without samples among \
         them are what is missing; samples away from all real dots are what is not real.",
        100.0 * share
    )));
    Ok(())
}

fn curve(args: &CompareArgs, comparison: &Comparison) -> Result<Option<Figure>, CliError> {
    if comparison.scores.precision.is_none() {
        return Ok(None);
    }
    let Some(curve) = figures::curve(comparison, args.seed)? else { return Ok(None) };
    let figure = Figure::picture(&curve, "precision against recall, two curves")?.keep_width();
    Ok(Some(figure.caption(
        "From small neighbourhoods at the lower left to large ones. A curve that lies lower draws what is not real, one that \
         ends further left leaves out what is.",
    )))
}
