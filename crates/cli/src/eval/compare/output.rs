//! What a comparison says: a table or JSON, and warnings.

use super::super::args::CompareArgs;
use super::Comparison;
use super::classes::ByClass;
use super::scores::{Scores, kid_subset_size};
use super::sets::Side;
use crate::error::CliError;
use crate::output::{data, talk};
use serde_json::{Map, Value, json};
use sumi_features::Facts;

/// Prints it, as a table or as JSON.
pub fn write(args: &CompareArgs, comparison: &Comparison) -> Result<(), CliError> {
    let warnings = warnings(comparison);
    for warning in &warnings {
        talk(format_args!("warning: {warning}"));
    }
    for (name, why) in &comparison.left_out {
        talk(format_args!("left out: {name}: {why}"));
    }
    if comparison.scores.named().is_empty() {
        return Err(CliError::Failed(
            "none of the scores can be had of these sets, for the reasons above".into(),
        ));
    }
    match args.json {
        true => data(json(args, comparison, &warnings)),
        false => table(args, comparison),
    }
}

/// What a reader of the numbers must know.
pub fn warnings(comparison: &Comparison) -> Vec<String> {
    let Comparison { real, fake, scores, .. } = comparison;
    let mut warnings = Vec::new();
    for side in real.iter().chain([fake]) {
        let name = side.path.display();
        if let Some(facts) = side.seen.as_ref().map(|seen| &seen.facts) {
            warnings.extend(remarks(facts).into_iter().map(|remark| format!("{name}: {remark}")));
        }
        let (count, dims) = (side.count(), side.dims());
        if let Some(count) = count.filter(|&count| scores.fid.is_some() && count <= dims) {
            warnings.push(format!(
                "{name}: {count} pictures are too few for a Frechet distance over {dims} features: it is biased \
                 upwards; compare only scores of as many pictures, or use KID"
            ));
        }
    }
    warnings.extend(comparison.by_class.as_ref().and_then(ByClass::remark));
    if let Some(cut) = comparison.captioned.as_ref().map(|found| found.cut).filter(|cut| *cut > 0) {
        warnings.push(format!("{cut} captions are longer than CLIP reads and were cut off"));
    }
    if let (Some(floor), Some(count)) = (&comparison.floor, fake.count())
        && (1..count).contains(&floor.count)
    {
        warnings.push(format!(
            "REAL has no two halves of {count} pictures; what it scores against itself is for {}, which for fewer \
             pictures is a larger distance",
            floor.count
        ));
    }
    warnings
}

/// What is odd about a set's pictures.
fn remarks(facts: &Facts) -> Vec<String> {
    let mut remarks = Vec::new();
    let Facts { count, sizes, grey, alpha, unreadable, .. } = facts;
    if sizes.len() > 1 {
        let usual = sizes.iter().max_by_key(|(_, count)| **count).map(|(size, _)| *size);
        let (width, height) = usual.unwrap_or_default();
        remarks.push(format!(
            "pictures of {} sizes, mostly {width} x {height} px; each was resized by itself",
            sizes.len()
        ));
    }
    if (1..*count).contains(grey) {
        remarks.push(format!("{grey} of {count} pictures are grey and were measured as colour"));
    }
    if *alpha > 0 {
        remarks.push(format!(
            "{alpha} of {count} pictures have an alpha channel and were laid on white; other tools drop it"
        ));
    }
    if let Some(first) = unreadable.first() {
        remarks.push(format!(
            "{} pictures cannot be read and were left out; the first: {first}",
            unreadable.len()
        ));
    }
    remarks
}

fn table(args: &CompareArgs, comparison: &Comparison) -> Result<(), CliError> {
    let Comparison { info, real, fake, drawn, scores, floor, .. } = comparison;
    let against = floor
        .as_ref()
        .filter(|floor| floor.count > 0)
        .map_or(String::new(), |floor| format!("  REAL against itself, {} each", floor.count));
    data(format_args!("{:<22} {:>12}{against}", "", "FAKE"))?;
    let floor_scores = floor.as_ref().map(|floor| floor.scores).unwrap_or_default();
    for (title, pick, _) in ROWS {
        let Some(value) = pick(scores) else { continue };
        let floor = pick(&floor_scores).map(|value| format!("{:>14}", number(value)));
        let (value, floor) = (number(value), floor.unwrap_or_default());
        data(format_args!("{title:<22} {value:>12}{floor}"))?;
    }
    let say = |side: &Side, role: &str| -> Result<(), CliError> {
        let count = side.count().map_or("unknown".into(), |count| count.to_string());
        data(format_args!("{role}: {}, {}, {count}", side.path.display(), side.kind))
    };
    data("")?;
    if let Some(real) = real {
        say(real, "REAL")?;
    }
    say(fake, "FAKE")?;
    if let Some(drawn) = drawn {
        data(format_args!("drawn: {drawn}"))?;
    }
    match info {
        Some(info) => {
            let hash = info
                .sha256
                .as_ref()
                .map(|hash| format!(", weights {}", &hash[..12]))
                .unwrap_or_default();
            data(format_args!(
                "features: {}, {} dimensions, {}{hash}",
                info.name, info.dims, info.resize
            ))?;
        }
        None => data(format_args!("features: from files, {} dimensions", fake.dims()))?,
    }
    if scores.precision.is_some() {
        data(format_args!("neighbours: {}", args.neighbours))?;
    }
    if let (Some(floor), true) = (floor, scores.kid.is_some()) {
        data(format_args!("REAL against itself: the mean over {} random splits", floor.splits))?;
    }
    Ok(())
}

/// Enough digits to tell small scores apart, and none more.
pub fn number(value: f64) -> String {
    if value.abs() < 0.1 { format!("{value:.6}") } else { format!("{value:.4}") }
}

/// A title, where the number is, and which way is better.
type Row = (&'static str, fn(&Scores) -> Option<f64>, &'static str);

/// What stands in a table, in order.
pub const ROWS: [Row; 15] = [
    ("Frechet distance", |s| s.fid, "lower"),
    ("KID", |s| s.kid.map(|kid| kid[0]), "lower"),
    ("  over subsets, std", |s| s.kid.map(|kid| kid[1]), ""),
    ("Inception Score", |s| s.is.map(|is| is[0]), "higher"),
    ("  over parts, std", |s| s.is.map(|is| is[1]), ""),
    ("precision", |s| s.precision, "higher"),
    ("recall", |s| s.recall, "higher"),
    ("density", |s| s.density, "higher"),
    ("coverage", |s| s.coverage, "higher"),
    ("diversity", |s| s.diversity.map(|pair| pair[0]), "as REAL's"),
    ("copied", |s| s.copied, "about 0.01"),
    ("nearer than real", |s| s.nearer, "about 0.5"),
    ("Frechet by class", |s| s.fid_by_class, "lower"),
    ("CLIP score (100 cos)", |s| s.clip_score.map(|pair| pair[0]), "higher"),
    ("CLIPScore (2.5 cos)", |s| s.clip_score.map(|pair| pair[1]), "higher"),
];

fn json(args: &CompareArgs, comparison: &Comparison, warnings: &[String]) -> Value {
    let Comparison { info, real, fake, drawn, scores, floor, left_out, memory, captioned, .. } =
        comparison;
    let mut json: Map<String, Value> =
        scores.named().into_iter().map(|(name, value)| (name.into(), json!(value))).collect();
    let named = |scores: &Scores| -> Map<String, Value> {
        scores.named().into_iter().map(|(name, value)| (name.into(), json!(value))).collect()
    };
    let floor = floor.as_ref().map(|floor| {
        let mut scores = named(&floor.scores);
        scores.insert("count".into(), json!(floor.count));
        scores.insert("splits".into(), json!(floor.splits));
        scores
    });
    let side = |side: &Side| {
        let facts = side.seen.as_ref().map(|seen| &seen.facts);
        json!({
            "path": side.path,
            "kind": side.kind,
            "count": side.count(),
            "classes": side.seen.as_ref().map(|seen| seen.class_names.len()),
            "resized": facts.map(|facts| facts.resized),
            "grey": facts.map(|facts| facts.grey),
            "alpha": facts.map(|facts| facts.alpha),
            "unreadable": facts.map(|facts| facts.unreadable.len()),
        })
    };
    let sizes = real.as_ref().and_then(Side::count).zip(fake.count());
    let conditions = json!({
        "features": info,
        "dims": fake.dims(),
        "real": real.as_ref().map(side),
        "fake": side(fake),
        "drawn": drawn,
        "seed": args.seed,
        "by_class": by_class(comparison),
        "clip": captioned.as_ref().map(|found| json!({"model": found.clip, "sha256": found.sha256})),
        "memory": memory.as_ref().map(|memory| json!({"threshold": memory.threshold})),
        "neighbours": args.neighbours,
        "kid_subsets": args.kid_subsets,
        "kid_subset_size": sizes.map(|(real, fake)| kid_subset_size(real, fake, args)),
        "splits": args.splits,
        "floor": floor,
        "left_out": left_out.iter().map(|(name, why)| json!({"score": name, "why": why})).collect::<Vec<_>>(),
        "warnings": warnings,
    });
    if let Value::Object(conditions) = conditions {
        json.extend(conditions);
    }
    Value::Object(json)
}

/// The Frechet distance of every class.
fn by_class(comparison: &Comparison) -> Option<Value> {
    let ByClass { names, found } = comparison.by_class.as_ref()?;
    let classes: Vec<Value> = found
        .classes
        .iter()
        .map(|class| {
            json!({
                "class": names[class.class],
                "real": class.real,
                "fake": class.generated,
                "fid": class.score,
            })
        })
        .collect();
    let left_out: Vec<&str> = found.left_out.iter().map(|c| names[c.class].as_str()).collect();
    Some(json!({"classes": classes, "left_out": left_out}))
}
