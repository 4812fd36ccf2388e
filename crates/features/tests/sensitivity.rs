//! Scores notice what is wrong with pictures, and the more the worse it is.

#[path = "../examples/sensitivity/ladder.rs"]
mod ladder;

use ladder::{FAULTS, Ladder, Rung};
use sumi_data::DataConfig;
use sumi_features::{Extractor, Pixels};

/// On the pixels of the handwritten digits. The features of a network on MNIST are docs/metrics.md's.
#[test]
fn scores_follow_the_strength_of_every_fault() {
    let digits = DataConfig { held_out_fraction: 0.0, ..DataConfig::digits() };
    let pictures = sumi_data::load(&digits).unwrap();
    let extractor = Extractor::pixels(Pixels { width_px: 8, height_px: 8, channels: 1 });
    let ladder = Ladder::new(&pictures, (800, 400), &extractor).unwrap();
    for fault in FAULTS {
        let rungs = ladder.climb(fault).unwrap();
        for pair in rungs.windows(2) {
            assert_eq!(pair[0].fault, fault);
            let words = [&pair[0].strength, &pair[1].strength];
            assert!(pair[0].fid < pair[1].fid, "{words:?} {pair:?}");
            assert!(pair[0].kid < pair[1].kid, "{pair:?}");
        }
        let [first, .., last] = rungs.as_slice() else { panic!("{rungs:?}") };
        let falls = |which: usize| {
            let score = |rung: &Rung| rung.prdc[which];
            assert!(score(last) < score(first) - 0.3, "{fault}: {first:?} {last:?}");
            // Two standard errors of a share of 400 near its end: the weakest noise is below the digits' own 17 levels.
            rungs.windows(2).all(|pair| score(&pair[1]) <= score(&pair[0]) + 0.02)
        };
        match fault {
            "noise" => assert!(falls(0), "precision: {rungs:?}"),
            "mode dropping" => assert!(falls(1), "recall: {rungs:?}"),
            _ => {}
        }
    }
}
