//! `sumi interpolate`.

use crate::args::InterpolateArgs;
use crate::edit::read_init;
use crate::error::CliError;
use crate::output::{data, talk};
use crate::sample::{check_parents, create_folder};
use crate::signals::Stop;
use crate::{device, progress};
use std::ops::ControlFlow;
use sumi_model::{Batch, Ends, Interpolation, Model, ModelError, Plan, SamplerChoice};
use sumi_pictures::{GridOptions, Picture, gif};
use sumi_sampler::{Moment, SamplerKind};

/// More would be a film of hours.
const MOST: usize = 1000;

pub fn run(args: &InterpolateArgs) -> Result<(), CliError> {
    if !(2..=MOST).contains(&args.count) {
        let found = args.count;
        return Err(CliError::Usage(format!("--count: expected 2 to {MOST}, found {found}")));
    }
    let classes = match args.class[..] {
        [] => None,
        [class] => Some([class; 2]),
        [a, b] => Some([a, b]),
        _ => {
            let found = args.class.len();
            return Err(CliError::Usage(format!("--class: expected one or two, found {found}")));
        }
    };
    check_parents([&args.grid, &args.gif])?;
    let model = Model::open(&args.model, &device::open(args.device)?)?;
    let kind = SamplerKind::named("ddim").ok();
    let choice = SamplerChoice { kind, steps: Some(args.steps), ..SamplerChoice::default() };
    let plan = Plan::new(&model.scheduler, choice)?;
    let dims = model.picture_dims()?;
    let (a, b) = (read_init(&args.from, dims)?.0, read_init(&args.to, dims)?.0);

    let stop = Stop::listen()?;
    let bar = progress::bar("drawing", ((args.count + 2) * plan.grid.len()) as u64);
    let mut watch = |_: Moment<'_, Batch>| {
        bar.inc(1);
        match stop.requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let ends = Ends { pictures: [&a, &b], classes };
    let mut draw = || -> Result<Vec<Vec<f32>>, ModelError> {
        let between = Interpolation::new(&model, &plan, ends, &mut watch)?;
        let share = |i: usize| i as f64 / (args.count - 1) as f64;
        (0..args.count).map(|i| between.at(share(i), &mut watch)).collect()
    };
    let drawn = draw().map_err(|error| match error {
        ModelError::Cancelled => CliError::Failed("stopped; nothing was written".into()),
        other => other.into(),
    });
    bar.finish_and_clear();
    let drawn = drawn?;
    for (path, given, back) in [(&args.from, &a, &drawn[0]), (&args.to, &b, &drawn[args.count - 1])]
    {
        let off = 127.5 * rms_difference(given, back);
        talk(format_args!("{}: comes back to within {off:.1} of 255 grey levels", path.display()));
    }
    write(args, [&a, &b], &drawn, dims)
}

fn rms_difference(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    (a.iter().zip(b).map(square).sum::<f64>() / a.len().max(1) as f64).sqrt()
}

/// Where nothing is named, one PNG a picture goes to `between`.
fn write(
    args: &InterpolateArgs,
    given: [&[f32]; 2],
    drawn: &[Vec<f32>],
    [c, h, w]: [usize; 3],
) -> Result<(), CliError> {
    let picture = |values: &[f32]| Picture::from_unit_range(values, c, h, w);
    let pictures = drawn.iter().map(|values| picture(values)).collect::<Result<Vec<_>, _>>()?;
    let unnamed = args.out.is_none() && args.grid.is_none() && args.gif.is_none();
    let folder = args.out.clone().or(unnamed.then(|| "between".into()));
    if let Some(folder) = folder {
        create_folder(&folder)?;
        for (i, picture) in pictures.iter().enumerate() {
            picture.write_png(folder.join(format!("{i:05}.png")))?;
        }
        data(folder.display())?;
    }
    let scale = 1 + 63 / h;
    if let Some(path) = &args.grid {
        let mut row = vec![picture(given[0])?];
        row.extend(pictures.iter().cloned());
        row.push(picture(given[1])?);
        let share = |i: usize| format!("{:.2}", i as f64 / (drawn.len() - 1) as f64);
        let mut column_labels = vec!["A".to_string()];
        column_labels.extend((0..drawn.len()).map(share));
        column_labels.push("B".into());
        let columns = row.len();
        let options = GridOptions { columns, scale, column_labels, ..GridOptions::default() };
        options.draw(&row)?.write_png(path)?;
        data(path.display())?;
    }
    if let Some(path) = &args.gif {
        let back = pictures.iter().rev().skip(1).take(pictures.len().saturating_sub(2));
        let frames: Vec<Picture> = pictures.iter().chain(back).map(|p| p.scaled(scale)).collect();
        gif(&frames, 120, 120, path)?;
        data(path.display())?;
    }
    Ok(())
}
