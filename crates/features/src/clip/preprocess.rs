//! What `preprocessor_config.json` asks for.

use super::{read_json, wrong};
use crate::Result;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use sumi_data::{Filter, Image, resize};

/// The longest side that pictures are brought to, in pixels: far past any published model.
const MAX_SIDE_PX: usize = 4096;

/// How a picture of any size becomes a network's input, as transformers' `CLIPImageProcessor` does it with Pillow:
/// resized, cut out of the middle, scaled, and normalised channel by channel, `(x factor - mean) / std`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Preprocess {
    do_resize: bool,
    size: Side,
    resample: u64,
    do_center_crop: bool,
    crop_size: Side,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f64; 3],
    image_std: [f64; 3],
}

/// A size in a `preprocessor_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// The shorter side to resize to, the other in proportion; or both sides to cut out.
    Short(usize),
    /// The shorter side to resize to, the other in proportion.
    Edge {
        /// In pixels.
        shortest_edge: usize,
    },
    /// Both sides.
    Both {
        /// In pixels.
        height: usize,
        /// In pixels.
        width: usize,
    },
}

impl Default for Preprocess {
    /// OpenAI's.
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Side::Short(224),
            resample: 3,
            do_center_crop: true,
            crop_size: Side::Short(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

impl Preprocess {
    /// That of a folder: of `preprocessor_config.json`, or of `processor_config.json`, which holds it among others, or
    /// OpenAI's where there is neither.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        for (name, inner) in
            [("preprocessor_config.json", None), ("processor_config.json", Some("image_processor"))]
        {
            let path = folder.join(name);
            let json = read_json(&path)?;
            let json = json.and_then(|mut json| match inner {
                None => Some(json),
                Some(key) => json.get_mut(key).map(Value::take),
            });
            if let Some(mut json) = json {
                // What is null says nothing.
                if let Some(fields) = json.as_object_mut() {
                    fields.retain(|_, value| !value.is_null());
                }
                return serde_json::from_value(json).map_err(|error| wrong(&path, error));
            }
        }
        Ok(Self::default())
    }

    /// Whether it makes of every picture one of `channels` and of `side_px` on both sides.
    pub(super) fn check(&self, channels: usize, side_px: usize) -> std::result::Result<(), String> {
        let expect = |holds: bool, field: &str, expected: String, found: String| match holds {
            true => Ok(()),
            false => Err(format!("{field}: expected {expected}, found {found}")),
        };
        let expected = "3, of colour pictures".to_owned();
        expect(channels == 3, "num_channels", expected, channels.to_string())?;
        let switch = "true, since pictures have any size".to_owned();
        expect(self.do_resize, "do_resize", switch, "false".into())?;
        let filters = "1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming)".to_owned();
        let filter = Filter::from_pil(self.resample);
        expect(filter.is_some(), "resample", filters, self.resample.to_string())?;
        for (field, size) in [("size", self.size), ("crop_size", self.crop_size)] {
            let [h, w] = size.both();
            let fits = [h, w].iter().all(|side| (1..=MAX_SIDE_PX).contains(side));
            expect(fits, field, format!("1 to {MAX_SIDE_PX} px"), format!("{w} x {h}"))?;
        }
        let cut = self.do_center_crop || matches!(self.size, Side::Both { .. });
        let expected = "true where size is that of one side".to_owned();
        expect(cut, "do_center_crop", expected, "false".into())?;
        let [_, h, w] = self.dims();
        let field = if self.do_center_crop { "crop_size" } else { "size" };
        let expected = format!("image_size, {side_px} x {side_px}");
        expect([h, w] == [side_px; 2], field, expected, format!("{w} x {h}"))?;
        let numbers = [self.rescale_factor].into_iter().chain(self.image_mean);
        let finite = numbers.chain(self.image_std).all(f64::is_finite);
        let found = format!("{} {:?} {:?}", self.rescale_factor, self.image_mean, self.image_std);
        let fits = finite && self.image_std.iter().all(|&std| std > 0.0);
        let expected = "numbers, and above 0 in image_std".to_owned();
        expect(fits, "rescale_factor, image_mean, image_std", expected, found)
    }

    /// Channels, height and width of what comes out.
    pub fn dims(&self) -> [usize; 3] {
        let size = if self.do_center_crop { self.crop_size } else { self.size };
        let [h, w] = size.both();
        [3, h, w]
    }

    /// The filter of the resize.
    pub fn filter(&self) -> Filter {
        Filter::from_pil(self.resample).unwrap_or(Filter::Bicubic)
    }

    /// The resize in words.
    pub fn describe(&self) -> String {
        let how = match self.size {
            Side::Both { height, width } => format!("to {width} x {height} px"),
            Side::Short(side) | Side::Edge { shortest_edge: side } => {
                format!("shorter side to {side} px")
            }
        };
        let [_, h, w] = self.dims();
        let cut =
            if self.do_center_crop { format!(", middle {w} x {h} px") } else { String::new() };
        format!("{how} ({} with antialiasing, as PIL's){cut}", self.filter().name())
    }

    /// A picture as the network takes it, `[3, H, W]`.
    ///
    /// # Errors
    /// A picture without pixels, or so narrow that its other side would have no bound.
    pub fn planes(&self, image: &Image) -> Result<Vec<f32>> {
        let own = [image.height_px, image.width_px];
        let size_px = self.size.of(own);
        let pixels = resize(&image.rgb, [own[0], own[1], 3], size_px, self.filter())?;
        let [_, height, width] = self.dims();
        let cut = [(size_px[0], height), (size_px[1], width)]
            .map(|(has, wanted)| (has as isize - wanted as isize).div_euclid(2));
        let mut planes = Vec::with_capacity(3 * height * width);
        for channel in 0..3 {
            let scaled = self.table(channel);
            for y in 0..height {
                for x in 0..width {
                    let [y, x] = [y as isize + cut[0], x as isize + cut[1]];
                    let inside = (0..size_px[0] as isize).contains(&y)
                        && (0..size_px[1] as isize).contains(&x);
                    // Beyond the picture there is black.
                    let value = match inside {
                        true => pixels[(y as usize * size_px[1] + x as usize) * 3 + channel],
                        false => 0,
                    };
                    planes.push(scaled[usize::from(value)]);
                }
            }
        }
        Ok(planes)
    }

    /// What each of the 256 values of a channel becomes.
    fn table(&self, channel: usize) -> [f32; 256] {
        let factor = if self.do_rescale { self.rescale_factor } else { 1.0 };
        let (mean, std) = match self.do_normalize {
            true => (self.image_mean[channel], self.image_std[channel]),
            false => (0.0, 1.0),
        };
        std::array::from_fn(|value| ((value as f64 * factor - mean) / std) as f32)
    }
}

impl Side {
    /// Both sides where it is a size to cut out.
    fn both(self) -> [usize; 2] {
        match self {
            Self::Short(side) | Self::Edge { shortest_edge: side } => [side; 2],
            Self::Both { height, width } => [height, width],
        }
    }

    /// The height and width that a picture is resized to.
    fn of(self, [h, w]: [usize; 2]) -> [usize; 2] {
        let long = |short: usize| short.saturating_mul(h.max(w)) / h.min(w).max(1);
        match self {
            Self::Both { height, width } => [height, width],
            Self::Short(side) | Self::Edge { shortest_edge: side } if w <= h => [long(side), side],
            Self::Short(side) | Self::Edge { shortest_edge: side } => [side, long(side)],
        }
    }
}
