//! Scores against pytorch-fid, torch-fidelity and prdc, whose numbers `testdata/scores.py` wrote.

use serde_json::Value;
use sumi_metrics::{
    Features, GaussianStatistics, KernelDistance, SplitOptions, Subset, SubsetOptions,
    frechet_distance, inception_score, kernel_distance, kernel_distance_of, prdc, projection,
};
use sumi_testkit::{assert_close, golden};

/// What the packages and Sumi may differ by.
const TOLERANCE: f64 = 1e-6;

/// `features` of `testdata/scores.py`, to the same bits.
fn features(given: &Value) -> Features {
    let number = |key: &str| given[key].as_u64().unwrap_or(0) as usize;
    let (rows, columns) = (number("rows"), number("columns"));
    let mut state = given["seed"].as_u64().unwrap();
    let mut whole = || {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        ((state >> 16) % 128) as f64 - 64.0
    };
    let x: Vec<Vec<f64>> = (0..rows).map(|_| (0..columns).map(|_| whole()).collect()).collect();
    let offset = given["offset"].as_f64().unwrap_or(0.0);
    let rank = if number("rank") == 0 { columns } else { number("rank") };
    let mixed = |i: usize, j: usize| {
        let [a, b, c] = [0, 1, 2].map(|step| x[i][(j % rank + step) % columns]);
        (a + 2.0 * b + c) / 64.0 + offset
    };
    let copies = number("copies");
    let source = |i: usize| if i >= rows - copies { i + copies - rows } else { i };
    let data = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
    Features::new(rows, columns, data.map(|(i, j)| mixed(source(i), j)).collect()).unwrap()
}

fn cases() -> Vec<(Value, Features, Features)> {
    let cases = golden::load("testdata/scores.json");
    let read = |case: &Value| (case.clone(), features(&case["first"]), features(&case["second"]));
    cases.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn frechet_distances_are_those_of_pytorch_fid() {
    for (case, a, b) in cases() {
        let distance = frechet_distance(&a, &b).unwrap();
        assert_close(&[distance], &golden::numbers(&case["frechet"]), TOLERANCE);
        // From the samples themselves, where singular covariances cost pytorch-fid half its digits.
        assert_close(&[distance], &golden::numbers(&case["exact_frechet"]), 1e-9);
        assert_close(&[frechet_distance(&b, &a).unwrap()], &[distance], 1e-9);
        assert!(frechet_distance(&a, &a).unwrap() < TOLERANCE, "{}", case["name"]);
    }
}

/// As `sumi eval` reads them from a file: a covariance, and no samples to factor it by.
#[test]
fn stored_statistics_have_the_same_distance() {
    for (case, a, b) in cases() {
        let [a, b] = [a, b].map(|set| {
            let statistics = GaussianStatistics::from_features(&set).unwrap();
            let stored = statistics.covariance_matrix();
            GaussianStatistics::new(statistics.mean().to_vec(), stored).unwrap()
        });
        let expected = golden::numbers(&case["exact_frechet"]);
        assert_close(&[a.frechet(&b).unwrap()], &expected, 1e-9);
        assert!(a.frechet(&a).unwrap() < 1e-9, "{}", case["name"]);
    }
}

/// 600 features of rank 30, in more than one block and tile: singular to the last digit.
#[test]
fn wide_singular_covariances_are_exact() {
    let narrow = |seed: u64, rows: u64| {
        features(&serde_json::json!({"rows": rows, "columns": 40, "seed": seed, "rank": 30}))
    };
    let wide = |set: &Features| {
        let data = (0..set.rows()).flat_map(|i| (0..600).map(move |j| set.row(i)[j % 40]));
        Features::new(set.rows(), 600, data.collect()).unwrap()
    };
    let (a, b) = (narrow(21, 1300), narrow(22, 1200));
    let expected = 15.0 * frechet_distance(&a, &b).unwrap();
    let found = frechet_distance(&wide(&a), &wide(&b)).unwrap();
    assert_close(&[found], &[expected], 1e-9);
    assert!(frechet_distance(&wide(&a), &wide(&a)).unwrap() < 1e-9);
}

#[test]
fn threads_change_nothing() {
    let set = |seed: u64| {
        features(&serde_json::json!({"rows": 1200, "columns": 300, "seed": seed, "copies": 40}))
    };
    let (a, b) = (set(31), set(32));
    let scores = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = SubsetOptions { subsets: 3, size: 700, seed: 1 };
            (
                frechet_distance(&a, &b).unwrap().to_bits(),
                kernel_distance(&a, &b, &options).unwrap(),
                prdc(&a, &b, 3).unwrap(),
                projection(&a, &b).unwrap(),
            )
        })
    };
    let one = scores(1);
    assert_eq!(one, scores(3));
    assert_eq!(one, scores(8));
}

#[test]
fn kernel_distances_are_those_of_torch_fidelity() {
    for (case, a, b) in cases() {
        let size = case["kid_size"].as_u64().unwrap() as usize;
        let options = SubsetOptions { subsets: 10, size, seed: 2020 };
        let KernelDistance { mean, deviation, values } = kernel_distance(&a, &b, &options).unwrap();
        assert_close(&[mean, deviation], &golden::numbers(&case["kid"]), TOLERANCE);
        assert_eq!(values.len(), 10);
    }
}

#[test]
fn chosen_subsets_may_differ_in_size() {
    // x.y / 1 + 1 cubed: pairs of x: (0 + 1)^3 = 1; pairs of y: 3^3, 4^3, 7^3; across: 1 for x = 0, 2^3, 3^3, 4^3 for x = 1.
    let x = Features::new(3, 1, vec![0.0, 9.0, 1.0]).unwrap();
    let y = Features::new(3, 1, vec![1.0, 2.0, 3.0]).unwrap();
    let subset = Subset { first: vec![0, 2], second: vec![0, 1, 2] };
    let found = kernel_distance_of(&x, &y, &[subset]).unwrap();
    let expected = 1.0 + (27.0 + 64.0 + 343.0) / 3.0 - 2.0 * (3.0 + 8.0 + 27.0 + 64.0) / 6.0;
    assert_close(&[found.mean], &[expected], 1e-14);
    assert_eq!(found.deviation, 0.0);
}

#[test]
fn inception_scores_are_those_of_torch_fidelity() {
    for (case, a, _) in cases() {
        let logits = a.data().iter().map(|x| 4.0 * x).collect();
        let logits = Features::new(a.rows(), a.columns(), logits).unwrap();
        let unshuffled = SplitOptions { splits: 7, shuffle: None };
        for (i, options) in [SplitOptions::default(), unshuffled].iter().enumerate() {
            let found = inception_score(&logits, options).unwrap();
            let expected = golden::numbers(&case["inception"][i]);
            assert_close(&[found.mean, found.deviation], &expected, TOLERANCE);
        }
    }
}

#[test]
fn manifolds_are_those_of_prdc() {
    for (case, real, generated) in cases() {
        for (i, k) in [1, 5].into_iter().enumerate() {
            let found = prdc(&real, &generated, k).unwrap();
            let scores = [found.precision(), found.recall(), found.density(), found.coverage()];
            // Counts are the same, so only the divisions may round differently.
            assert_close(&scores, &golden::numbers(&case["manifolds"][i]), 1e-14);
        }
    }
}

#[test]
fn impossible_subsets_are_refused() {
    let three = Features::new(3, 1, vec![1.0, 2.0, 3.0]).unwrap();
    let two = three.filter(|i| i < 2);
    let message = |subsets, size| {
        let options = SubsetOptions { subsets, size, seed: 0 };
        kernel_distance(&three, &two, &options).unwrap_err().to_string()
    };
    assert_eq!(
        message(1, 3),
        "subsets of 3 samples cannot be drawn from the second set, which has 2; choose a subset size of at most 2"
    );
    assert_eq!(message(0, 2), "the kernel distance needs at least 1 pair of subsets, found 0");
    assert_eq!(message(1, 1), "a subset of the kernel distance needs at least 2 samples, found 1");
    let huge = Features::new(2, 1, vec![1e200, -1e200]).unwrap();
    let options = SubsetOptions { subsets: 1, size: 2, seed: 0 };
    assert_eq!(
        kernel_distance(&huge, &two, &options).unwrap_err().to_string(),
        "the kernel distance of these features is beyond the greatest number; divide them by a common number"
    );
    let subset = Subset { first: vec![0, 1], second: vec![1, 2] };
    assert_eq!(
        kernel_distance_of(&three, &two, &[subset]).unwrap_err().to_string(),
        "there is no sample 2: the set has 2, counted from 0"
    );
}
