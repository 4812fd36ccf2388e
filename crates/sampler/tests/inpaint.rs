//! Inpainting on exact oracles.

mod support;

use std::ops::ControlFlow;
use sumi_process::{BetaSchedule, NoiseLevel, Path, ReverseVariance, Schedule};
use sumi_random::TorchCpu;
use sumi_sampler::{Grid, Inpaint, Moment, Region, Resampling, Run, Sampler};
use sumi_testkit::{GaussianMixture, relative_error};
use support::{Exact, OneStream, even_angles, normals, sample, serving, walk};

/// Points along the diagonal: whoever knows the first coordinate knows the second.
fn diagonal() -> GaussianMixture {
    let means: Vec<Vec<f64>> = (-4..=4).map(|i| vec![f64::from(i) * 0.5; 2]).collect();
    GaussianMixture { weights: vec![1.0; 9], variances: vec![0.02; 9], means }
}

/// The first coordinate is known to be 1, the second is redrawn.
fn second_redrawn() -> Region<Vec<f64>> {
    Region::new(vec![1.0, -7.0], vec![0.0, 1.0])
}

fn stream(seed: u64) -> OneStream {
    OneStream(TorchCpu::new(seed))
}

fn start(region: &Region<Vec<f64>>, noise: &mut OneStream, grid: &Grid) -> Vec<f64> {
    let eps = normals(&mut noise.0, 2);
    region.begin(&eps, &eps, grid.intervals[0].from)
}

#[test]
fn every_sampler_keeps_what_is_known_and_fits_the_rest_to_it() {
    // Two modes far apart: the second coordinate is the first one's.
    let means = vec![vec![1.0, 1.0], vec![-1.0, -1.0]];
    let data = GaussianMixture { weights: vec![1.0, 3.0], means, variances: vec![0.01; 2] };
    let (region, grid) = (second_redrawn(), even_angles(Path::VariancePreserving, 60));
    for sampler in serving(Path::VariancePreserving) {
        let mut fitting = 0;
        for seed in 0..16 {
            let mut noise = stream(seed);
            let x = start(&region, &mut noise, &grid);
            let mut known =
                Inpaint { inner: Exact(data.clone()), region: &region, noise: stream(seed) };
            let end = sample(sampler, x, &mut known, &grid, &mut noise, &mut ()).unwrap();
            assert!((end[0] - 1.0).abs() < 1e-12, "{sampler:?}: {end:?}");
            fitting += usize::from(end[1] > 0.0);
        }
        // By chance it would be 4 of 16; replacement without resampling misses some.
        assert!(fitting >= 12, "{sampler:?}: {fitting} of 16");
    }
}

/// On the way down, what is known stands at every level as `alpha x_0 + sigma eps`.
#[test]
fn what_is_known_is_noised_to_every_level() {
    const N: usize = 4_000;
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let grid = walk(Path::VariancePreserving, &schedule, 25);
    let region = Region::new(vec![0.6; N], vec![0.0; N]);
    let variance = ReverseVariance::FixedSmall;
    for sampler in
        [Sampler::Ddpm { variance }, Sampler::Ddim { eta: 0.0 }, Sampler::Ddim { eta: 1.0 }]
    {
        let mut noise = stream(11);
        let eps = normals(&mut noise.0, N);
        let x = region.begin(&eps, &eps, grid.intervals[0].from);
        let mut watch = |moment: Moment<'_, Vec<f64>>| {
            let NoiseLevel { alpha, sigma } = moment.level;
            let mean = moment.x.iter().sum::<f64>() / N as f64;
            let square = moment.x.iter().map(|x| (x - alpha * 0.6).powi(2)).sum::<f64>() / N as f64;
            // Four standard errors of a mean and of a mean square.
            let error = 4.0 / (N as f64).sqrt();
            assert!((mean - alpha * 0.6).abs() <= error * sigma + 1e-12, "{sampler:?}: {mean}");
            let off = (square - sigma * sigma).abs();
            assert!(off <= error * 2f64.sqrt() * sigma * sigma + 1e-12, "{sampler:?}: {square}");
            if sampler == (Sampler::Ddim { eta: 0.0 }) {
                let expected: Vec<f64> = eps.iter().map(|e| alpha * 0.6 + sigma * e).collect();
                assert!(relative_error(moment.x, &expected) < 1e-12);
            }
            ControlFlow::Continue(())
        };
        let inner = Exact(GaussianMixture::single(vec![0.0; N], 1.0));
        let mut known = Inpaint { inner, region: &region, noise: stream(11) };
        sample(sampler, x, &mut known, &grid, &mut noise, &mut watch).unwrap();
    }
}

/// The mean distance of the redrawn coordinate from the one it has to fit, over 200 seeds.
fn misfit(sampler: Sampler, resampling: Option<Resampling>) -> f64 {
    let schedule = Schedule::new(BetaSchedule::Linear, 1000, 1e-4, 0.02).unwrap();
    let (region, grid) = (second_redrawn(), walk(Path::VariancePreserving, &schedule, 25));
    let one = |seed| {
        let mut noise = stream(seed);
        let x = start(&region, &mut noise, &grid);
        let mut denoiser = Inpaint { inner: Exact(diagonal()), region: &region, noise: stream(2) };
        let run =
            &mut Run { denoiser: &mut denoiser, grid: &grid, noise: &mut noise, observer: &mut () };
        let end = match resampling {
            Some(resampling) => resampling.sample(x, run, sampler).unwrap(),
            None => sampler.sample(x, run).unwrap(),
        };
        assert!((end[0] - 1.0).abs() < 1e-12);
        (end[1] - 1.0).abs()
    };
    (0..200).map(one).sum::<f64>() / 200.0
}

#[test]
fn resampling_fits_better() {
    let variance = ReverseVariance::FixedSmall;
    for sampler in [Sampler::Ddpm { variance }, Sampler::Ddim { eta: 0.0 }] {
        let plain = misfit(sampler, None);
        let resampled = misfit(sampler, Some(Resampling { rounds: 10, jump: 4 }));
        assert!(resampled < 0.75 * plain, "{sampler:?}: {plain} without, {resampled} with");
    }
}

#[test]
fn resampling_once_is_no_resampling_and_the_observer_sees_every_step() {
    let (region, grid) = (second_redrawn(), even_angles(Path::VariancePreserving, 23));
    let sampler = Sampler::Ddpm { variance: ReverseVariance::FixedSmall };
    let draw = |rounds| {
        let resampling = Resampling { rounds, jump: 5 };
        let mut seen = Vec::new();
        let mut watch = |moment: Moment<'_, Vec<f64>>| {
            assert_eq!(moment.steps, resampling.steps(&grid));
            seen.push((moment.step, moment.level));
            ControlFlow::Continue(())
        };
        let mut noise = stream(2);
        let x = start(&region, &mut noise, &grid);
        let mut denoiser = Inpaint { inner: Exact(diagonal()), region: &region, noise: stream(2) };
        let (noise, observer) = (&mut noise, &mut watch);
        let run = &mut Run { denoiser: &mut denoiser, grid: &grid, noise, observer };
        let end = resampling.sample(x, run, sampler).unwrap();
        (end, seen)
    };
    let mut noise = stream(2);
    let x = start(&region, &mut noise, &grid);
    let mut denoiser = Inpaint { inner: Exact(diagonal()), region: &region, noise: stream(2) };
    let plain = sample(sampler, x, &mut denoiser, &grid, &mut noise, &mut ()).unwrap();
    let (end, seen) = draw(1);
    assert_eq!(end, plain);
    assert_eq!(seen, grid.intervals.iter().map(|i| i.to).enumerate().collect::<Vec<_>>());
    // 2 steps, four parts of 5 steps three times, and the last.
    let (_, seen) = draw(3);
    assert_eq!(seen.len(), 2 + 4 * 5 * 3 + 1);
    assert!(seen.iter().enumerate().all(|(i, (step, _))| i == *step));
    assert_eq!(seen[6].1, grid.intervals[6].to);
    assert_eq!(seen[7].1, grid.intervals[2].to);
}
