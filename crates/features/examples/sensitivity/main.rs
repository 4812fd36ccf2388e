//! What the scores say to five strengths each of five faults of real pictures, as the table of docs/metrics.md.
//!
//! ```text
//! cargo xtask data mnist
//! cargo xtask data efficientnet-lite0
//! cargo run --release -p sumi-features --example sensitivity
//! ```

mod ladder;

use burn::tensor::Device;
use ladder::{FAULTS, Ladder};
use std::error::Error;
use sumi_data::{DataConfig, Fit, Source};
use sumi_features::{Extractor, Kind, Resize, find_weights};

/// Real pictures, and spoiled ones; the pool behind them has 500 of every class.
const COUNTS: (usize, usize) = (1000, 500);
const PICTURES: usize = 6600;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::Idx {
        images: "data/mnist/t10k-images-idx3-ubyte".into(),
        labels: Some("data/mnist/t10k-labels-idx1-ubyte".into()),
        image_size_px: None,
        fit: Fit::Pad,
    };
    let pictures = sumi_data::load(&DataConfig { source, flip: false, held_out_fraction: 0.0 })?;
    let pictures = pictures.subset(&(0..PICTURES.min(pictures.len())).collect::<Vec<_>>());
    let weights = find_weights(Kind::EfficientNetLite0)?;
    let extractor = Extractor::open(&weights, Resize::default(), &Device::flex())?;
    let ladder = Ladder::new(&pictures, COUNTS, &extractor)?;
    println!("| fault | strength | FID | KID | precision | recall | density | coverage |");
    println!("|---|---|---|---|---|---|---|---|");
    for fault in FAULTS {
        for rung in ladder.climb(fault)? {
            let [precision, recall, density, coverage] =
                rung.prdc.map(|score| format!("{score:.3}"));
            println!(
                "| {} | {} | {:.2} | {:.4} | {precision} | {recall} | {density} | {coverage} |",
                rung.fault, rung.strength, rung.fid, rung.kid
            );
        }
    }
    Ok(())
}
