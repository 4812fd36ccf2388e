//! `sumi eval stats`.

use super::args::StatsArgs;
use super::compare::{choose, sets};
use crate::device;
use crate::error::CliError;
use crate::output::data;
use crate::sample::check_parents;
use crate::signals::Stop;
use serde_json::json;
use sumi_features::write_statistics;
use sumi_formats::{NamedTensor, npz};
use sumi_metrics::GaussianStatistics;

/// More have a covariance that no machine at hand can hold.
const MAX_DIMS: usize = 1 << 15;

pub fn run(args: &StatsArgs) -> Result<(), CliError> {
    check_parents([&Some(args.out.clone()), &args.features_out])?;
    let device = device::open(args.device)?;
    let mut set = sets::open(&args.set, &args.seen, None, &device)?.first(args.count);
    let extractor = choose::extractor(
        &args.seen.features,
        &args.seen,
        args.clip.as_deref(),
        &mut [&mut set],
        &device,
    )?;
    let stop = Stop::listen()?;
    let seen =
        set.see(extractor.as_ref(), ("seeing", args.seen.batch, sets::Look::default()), &stop)?;
    let side = set.side(&args.set, seen);
    let Some(features) = &side.features else {
        return Err(CliError::Failed(format!(
            "{}: expected pictures or features, found statistics already",
            args.set.display()
        )));
    };
    if features.columns() > MAX_DIMS {
        let (path, dims) = (args.set.display(), features.columns());
        return Err(CliError::Failed(format!(
            "{path}: expected at most {MAX_DIMS} features a picture, whose covariance takes 8 GiB, found {dims}; see \
             smaller pictures, or through a network"
        )));
    }
    write_statistics(&args.out, &GaussianStatistics::from_features(features)?)?;
    let mut written = vec![&args.out];
    if let Some(path) = &args.features_out {
        let shape = [features.rows(), features.columns()];
        npz::write_npy(path, &NamedTensor::from_f64("features", &shape, features.data()))?;
        written.push(path);
    }
    let info = extractor.map(|extractor| extractor.info().clone());
    match args.json {
        true => data(json!({
            "count": features.rows(),
            "dims": features.columns(),
            "features": info,
            "written": written,
        })),
        false => written.iter().try_for_each(|path| data(path.display())),
    }
}
