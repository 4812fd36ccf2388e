//! What the multistep, consistency and inverse samplers promise beyond what every sampler does: the orders
//! that the catalog's usual settings do not show, distributions, and refusals.

mod support;

use sumi_process::{NoiseLevel, Path};
use sumi_random::TorchCpu;
use sumi_sampler::{
    Algorithm, BFunction, Denoised, Denoiser, DpmSolver, Grid, Run, Sampler, SamplerError, UniPc,
    ddim, ddim_inversion,
};
use sumi_testkit::{GaussianMixture, assert_close, relative_error};
use support::{Exact, OneStream, error_on_a_gaussian, even_angles, even_log_snr, normals, sample};

/// The orders measured from 64, 128 and 256 steps to twice as many.
fn measured(sampler: Sampler, grid: fn(usize) -> Grid) -> [f64; 3] {
    [64, 128, 256].map(|steps| {
        let coarse = error_on_a_gaussian(sampler, &grid(steps));
        (coarse / error_on_a_gaussian(sampler, &grid(2 * steps))).log2()
    })
}

/// UniPC of order p with its corrector has order p + 1 within the walk (UniPC, Theorem 3.1). Its first
/// step has order 1 and is corrected, which leaves an error of the third power once; its last is not
/// corrected, and where it has order 1 (`lower_order_final`), it leaves one of the second.
#[test]
fn unipc_shows_its_order_where_the_last_step_keeps_it() {
    for solver in [BFunction::Bh1, BFunction::Bh2] {
        for predict_x0 in [true, false] {
            let of = |order| {
                let lower_order_final = false;
                Sampler::UniPc(UniPc { order, solver, lower_order_final, predict_x0 })
            };
            for (order, expected) in [(1, 2.0), (2, 3.0)] {
                for found in measured(of(order), even_log_snr) {
                    assert!((found - expected).abs() < 0.3, "{:?}: order {found}", of(order));
                }
            }
        }
        // The error of the first step and those of the others fall with different powers.
        let third = UniPc { lower_order_final: false, solver, ..UniPc::new(3) };
        let found = measured(Sampler::UniPc(third), even_log_snr)[0];
        assert!(found > 2.7, "{third:?}: order {found}");
    }
}

/// The published weights of the third order count the second difference half (see [`dpm_solver`]), so that
/// the multistep solver has order 2; the singlestep solver has order 3 in both of the network's words.
///
/// [`dpm_solver`]: sumi_sampler::dpm_solver
#[test]
fn the_third_order_is_that_of_the_singlestep_solver() {
    for algorithm in [Algorithm::DpmSolver, Algorithm::DpmSolverPp] {
        for order in 1..=3 {
            let sampler = Sampler::DpmSolverSinglestep { algorithm, order };
            for found in measured(sampler, even_log_snr) {
                assert!((found - f64::from(order)).abs() < 0.3, "{sampler:?}: order {found}");
            }
        }
        let third = Sampler::DpmSolver(DpmSolver::new(algorithm, 3));
        for found in measured(third, even_log_snr) {
            assert!((found - 2.0).abs() < 0.3, "{third:?}: order {found}");
        }
    }
}

/// On a step to no noise the solvers in log SNR are DDIM, which leaves an error of the second power once.
#[test]
fn a_clean_end_leaves_the_second_order() {
    let third = Sampler::DpmSolverSinglestep { algorithm: Algorithm::DpmSolver, order: 3 };
    for found in measured(third, |steps| even_angles(Path::VariancePreserving, steps)) {
        assert!((found - 2.0).abs() < 0.3, "{third:?}: order {found}");
    }
}

/// Inverting data and sampling again leads back, with an error of first order.
#[test]
fn ddim_leads_back_from_its_inversion() {
    let data = vec![-0.6, 0.1, 0.4, 1.3];
    let error = |steps| {
        let grid = even_angles(Path::VariancePreserving, steps);
        let mut exact = Exact(GaussianMixture::single(vec![0.4; 4], 0.25));
        let (noise, observer) = (&mut OneStream(TorchCpu::new(1)), &mut ());
        let mut run = Run { denoiser: &mut exact, grid: &grid, noise, observer };
        let noised = ddim_inversion(data.clone(), &mut run).unwrap();
        assert!(relative_error(&noised, &data) > 0.1);
        relative_error(&ddim(noised, &mut run, 0.0).unwrap(), &data)
    };
    for steps in [64, 128, 256] {
        let found = (error(steps) / error(2 * steps)).log2();
        assert!((found - 1.0).abs() < 0.3, "order {found} from {steps} steps");
    }
}

/// The exact consistency function of data `N(0.4, 0.25)`: where the probability-flow curve through a state
/// ends.
struct Consistency;

impl Denoiser<Vec<f64>> for Consistency {
    fn denoise(
        &mut self,
        x_t: &Vec<f64>,
        level: NoiseLevel,
    ) -> Result<Denoised<Vec<f64>>, SamplerError> {
        let (mean, v) = (0.4, 0.25_f64);
        let spread = (level.alpha.powi(2) * v + level.sigma.powi(2)).sqrt();
        let end = |x: &f64| mean + v.sqrt() * (x - level.alpha * mean) / spread;
        Ok(Denoised::from_x0(x_t, level, x_t.iter().map(end).collect()))
    }
}

/// With the exact consistency function, samples have the distribution of the data at any number of
/// steps: mean and variance within four standard errors.
#[test]
fn consistency_sampling_has_the_distribution_of_the_data() {
    const N: usize = 20_000;
    for sampler in [Sampler::Lcm, Sampler::Tcd { gamma: 1.0 }] {
        for steps in [1, 4, 20] {
            let mut noise = OneStream(TorchCpu::new(5));
            let start = normals(&mut noise.0, N);
            let grid = even_angles(Path::VariancePreserving, steps);
            let end = sample(sampler, start, &mut Consistency, &grid, &mut noise, &mut ()).unwrap();
            let mean = end.iter().sum::<f64>() / N as f64;
            let v = end.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / N as f64;
            let errors = 4.0 / (N as f64).sqrt();
            assert!((mean - 0.4).abs() < errors * 0.5, "{sampler:?}, {steps} steps: {mean}");
            assert!((v - 0.25).abs() < errors * 0.25 * 2f64.sqrt(), "{sampler:?}, {steps}: {v}");
        }
    }
}

/// Without noise, TCD is DDIM; LCM knows no boundary where a grid knows no timesteps, and is then TCD that
/// denoises wholly.
#[test]
fn tcd_lies_between_ddim_and_lcm() {
    let run = |sampler| {
        let mut exact = Exact(GaussianMixture::single(vec![0.4; 2], 0.25));
        let noise = &mut OneStream(TorchCpu::new(1));
        sample(
            sampler,
            vec![0.3, -1.0],
            &mut exact,
            &even_angles(Path::VariancePreserving, 9),
            noise,
            &mut (),
        )
        .unwrap()
    };
    assert_eq!(run(Sampler::Tcd { gamma: 0.0 }), run(Sampler::Ddim { eta: 0.0 }));
    assert_close(&run(Sampler::Tcd { gamma: 1.0 }), &run(Sampler::Lcm), 1e-12);
}

/// A first level without signal (zero terminal SNR) is served, or refused with who can.
#[test]
fn a_start_without_signal_is_served_or_refused() {
    let mut levels: Vec<_> =
        even_angles(Path::VariancePreserving, 12).intervals.iter().map(|i| i.from).collect();
    levels[0] = NoiseLevel { alpha: 0.0, sigma: 1.0 };
    let grid = Grid::through(Path::VariancePreserving, &levels);
    let mut served = Vec::new();
    let serves = |s: &Sampler| s.entry().serves.contains(&Path::VariancePreserving);
    for sampler in Sampler::all().into_iter().filter(serves) {
        let mut exact = Exact(GaussianMixture::single(vec![0.7, -1.3], 0.0));
        let noise = &mut OneStream(TorchCpu::new(1));
        match sample(sampler, vec![0.3, -1.0], &mut exact, &grid, noise, &mut ()) {
            Ok(end) => {
                assert!(relative_error(&end, &[0.7, -1.3]) < 1e-9, "{sampler:?}: {end:?}");
                served.push(sampler.entry().name);
            }
            Err(SamplerError::Unsuitable(why)) => assert!(why.contains("can start"), "{why}"),
            Err(other) => panic!("{sampler:?}: {other}"),
        }
    }
    for name in ["ddpm", "ddim", "dpmpp_2m", "unipc"] {
        assert!(served.contains(&name), "{name}");
    }
}

#[test]
fn orders_and_shares_that_there_are_not_are_refused() {
    let four = DpmSolver::new(Algorithm::DpmSolverPp, 4);
    let noisy = Algorithm::SdeDpmSolverPp;
    for (sampler, what) in [
        (Sampler::DpmSolver(four), "order: expected 1, 2 or 3, found 4"),
        (Sampler::UniPc(UniPc::new(0)), "order: expected 1, 2 or 3, found 0"),
        (Sampler::Deis { order: 9, lower_order_final: true }, "found 9"),
        (Sampler::DpmSolverSinglestep { algorithm: noisy, order: 2 }, "adds noise"),
        (Sampler::Tcd { gamma: 1.5 }, "gamma: expected a number from 0 to 1, found 1.5"),
    ] {
        let noise = &mut OneStream(TorchCpu::new(1));
        let refused = sample(
            sampler,
            vec![0.3],
            &mut Consistency,
            &even_angles(Path::VariancePreserving, 4),
            noise,
            &mut (),
        );
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
}
