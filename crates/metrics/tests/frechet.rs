//! The Frechet distance against closed forms and against pytorch-fid's computation.

use serde_json::Value;
use sumi_metrics::{Features, GaussianStatistics, MetricError, frechet_distance};
use sumi_testkit::{assert_close, golden};

fn features(value: &Value) -> Features {
    let rows = value.as_array().unwrap().len();
    let data = golden::numbers(value);
    Features::new(rows, data.len() / rows, data).unwrap()
}

#[test]
fn agrees_with_pytorch_fid() {
    for case in golden::load("testdata/frechet.json").as_array().unwrap() {
        let (a, b) = (features(&case["a"]), features(&case["b"]));
        let expected = golden::numbers(&case["distance"]);
        let distance = frechet_distance(&a, &b).unwrap();
        assert_close(&[distance], &expected, 1e-6);
        assert_close(&[frechet_distance(&b, &a).unwrap()], &[distance], 1e-12);
    }
}

#[test]
fn identical_sets_are_at_no_distance() {
    for case in golden::load("testdata/frechet.json").as_array().unwrap() {
        for set in ["a", "b"] {
            let set = features(&case[set]);
            let distance = frechet_distance(&set, &set.clone()).unwrap();
            assert!(distance <= 1e-9, "{}: {distance}", case["name"]);
        }
    }
    let constant = Features::new(3, 2, vec![1.0; 6]).unwrap();
    assert_eq!(frechet_distance(&constant, &constant), Ok(0.0));
}

/// Diagonal covariances: |mu_a - mu_b|^2 + sum_i (s_a,i - s_b,i)^2 for standard deviations s.
#[test]
fn diagonal_gaussians_have_a_closed_form() {
    let diagonal = |deviations: [f64; 4]| {
        (0..16).map(|i| if i % 5 == 0 { deviations[i / 5].powi(2) } else { 0.0 }).collect()
    };
    let (mean_a, mean_b) = ([1.0, 2.0, 3.0, 4.0], [1.5, 1.0, 3.0, 0.0]);
    let (a, b) = ([1.0, 0.0, 2.5, 30.0], [2.0, 0.5, 0.0, 31.0]);
    let statistics_a = GaussianStatistics::new(mean_a.to_vec(), diagonal(a)).unwrap();
    let statistics_b = GaussianStatistics::new(mean_b.to_vec(), diagonal(b)).unwrap();
    let square =
        |x: [f64; 4], y: [f64; 4]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum() };
    let expected = square(mean_a, mean_b) + square(a, b);
    assert_close(&[statistics_a.frechet(&statistics_b).unwrap()], &[expected], 1e-12);
}

#[test]
fn statistics_are_unbiased() {
    let set = Features::new(3, 2, vec![1.0, 0.0, 2.0, 3.0, 6.0, 0.0]).unwrap();
    let statistics = GaussianStatistics::from_features(&set).unwrap();
    assert_eq!(statistics.mean(), [3.0, 1.0]);
    // numpy.cov: [[7, -1.5], [-1.5, 3]]
    assert_close(&[statistics.covariance(0, 0), statistics.covariance(1, 1)], &[7.0, 3.0], 1e-15);
    assert_close(&[statistics.covariance(0, 1), statistics.covariance(1, 0)], &[-1.5; 2], 1e-15);
}

#[test]
fn bad_input_is_refused() {
    let one = Features::new(1, 2, vec![0.0; 2]).unwrap();
    let two = Features::new(2, 2, vec![0.0; 4]).unwrap();
    let wide = Features::new(2, 3, vec![0.0; 6]).unwrap();
    assert_eq!(
        frechet_distance(&two, &one).unwrap_err().to_string(),
        "a covariance needs at least 2 samples, found 1"
    );
    let error = frechet_distance(&two, &wide).unwrap_err();
    assert_eq!(error, MetricError::Dimension { left: 2, right: 3 });
    assert_eq!(
        error.to_string(),
        "one set has 2 features a sample, the other 3; compare sets made by one extractor"
    );
    assert!(GaussianStatistics::new(vec![0.0; 2], vec![0.0; 3]).is_err());
    assert!(GaussianStatistics::new(vec![f64::NAN], vec![1.0]).is_err());
}
