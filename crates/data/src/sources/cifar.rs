//! CIFAR-10, from its binary version.

use crate::{Pictures, Result};
use std::path::Path;
use sumi_formats::cifar::{PICTURE_BYTES, read_batch};

const SIZE_PX: usize = 32;

const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Loads the five training batches in a folder.
pub(super) fn load(folder: &Path) -> Result<Pictures> {
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for batch in 1..=5 {
        let records = read_batch(folder.join(format!("data_batch_{batch}.bin")))?;
        pixels.reserve_exact(records.len() * PICTURE_BYTES);
        for record in records {
            labels.push(u32::from(record.label));
            // The file holds channel after channel.
            let plane = SIZE_PX * SIZE_PX;
            for pixel in 0..plane {
                pixels.extend([0, 1, 2].map(|channel| record.pixels[channel * plane + pixel]));
            }
        }
    }
    Ok(Pictures {
        height_px: SIZE_PX,
        width_px: SIZE_PX,
        channels: 3,
        pixels,
        labels,
        class_names: CLASS_NAMES.map(str::to_owned).to_vec(),
        max_value: u8::MAX,
    })
}
