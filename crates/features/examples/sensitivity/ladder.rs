//! Five strengths each of five faults, and what every score says to them.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage, imageops, load_from_memory_with_format};
use sumi_data::{Image, Pictures};
use sumi_features::{Collect, Extractor, FeatureError, Images, collect};
use sumi_metrics::{
    Features, Labelled, Subset, SubsetOptions, frechet_by_class, frechet_distance, kernel_distance,
    kernel_distance_of, prdc, score_by_class,
};
use sumi_random::Philox;

/// What can be wrong with pictures, from the weakest strength to the strongest.
pub const FAULTS: [&str; 5] = ["blur", "noise", "JPEG", "mode dropping", "label mixing"];
/// Standard deviations of a blur, in pixels.
const BLURS: [f32; 5] = [0.35, 0.5, 0.7, 1.0, 1.4];
/// Standard deviations of noise, in levels of 255.
const NOISES: [f32; 5] = [8.0, 16.0, 32.0, 64.0, 96.0];
/// Qualities of JPEG.
const QUALITIES: [u8; 5] = [60, 40, 20, 10, 5];
/// Classes that are left out, of ten.
const DROPPED: [usize; 5] = [1, 3, 5, 7, 9];
/// Shares of the pictures whose class is a random one.
const MIXED: [f64; 5] = [0.1, 0.2, 0.4, 0.6, 0.9];
const CLASSES: usize = 10;
/// Neighbours of precision and recall.
const NEIGHBOURS: usize = 5;

/// A row of the table. For mixed labels the distances are means over the classes.
#[derive(Clone, Debug)]
pub struct Rung {
    /// One of [`FAULTS`].
    pub fault: &'static str,
    /// How strong it is, in words; "none" for the weakest.
    pub strength: String,
    /// Frechet distance.
    pub fid: f64,
    /// Kernel distance.
    pub kid: f64,
    /// Precision, recall, density, coverage.
    pub prdc: [f64; 4],
}

/// Real pictures, a pool of others without fault, and how they are seen.
pub struct Ladder<'a> {
    extractor: &'a Extractor,
    real: Features,
    real_labels: Vec<usize>,
    pool: Pictures,
    pool_features: Features,
    count: usize,
}

impl<'a> Ladder<'a> {
    /// Of the pictures in random order, the first `real` are the reference, and `count` of the rest are spoiled.
    pub fn new(
        pictures: &Pictures,
        (real, count): (usize, usize),
        extractor: &'a Extractor,
    ) -> Result<Self, FeatureError> {
        // A set comes in the order in which it was gathered.
        let mut order: Vec<usize> = (0..pictures.len()).collect();
        Philox::new(5, 0).shuffle(&mut order);
        let reference = pictures.subset(&order[..real]);
        let pool = pictures.subset(&order[real..]);
        let real_labels = reference.labels.iter().map(|&label| label as usize).collect();
        let real = seen(extractor, reference)?;
        let pool_features = seen(extractor, pool.clone())?;
        Ok(Self { extractor, real, real_labels, pool, pool_features, count })
    }

    /// The faultless pictures first, then the five strengths of `fault`.
    pub fn climb(&self, fault: &'static str) -> Result<Vec<Rung>, FeatureError> {
        (0..=5).map(|strength| self.rung(fault, strength)).collect()
    }

    fn rung(&self, fault: &'static str, strength: usize) -> Result<Rung, FeatureError> {
        let words = match (fault, strength.checked_sub(1)) {
            (_, None) => "none".into(),
            ("blur", Some(i)) => format!("{} px", BLURS[i]),
            ("noise", Some(i)) => format!("{} of 255", NOISES[i]),
            ("JPEG", Some(i)) => format!("quality {}", QUALITIES[i]),
            ("mode dropping", Some(i)) => format!("{} of {CLASSES} classes", DROPPED[i]),
            (_, Some(i)) => format!("{:.0} %", 100.0 * MIXED[i]),
        };
        let all: Vec<usize> = (0..self.count).collect();
        if fault == "label mixing" {
            return self.mixed(strength.checked_sub(1).map_or(0.0, |i| MIXED[i]), words);
        }
        let features = match (fault, strength.checked_sub(1)) {
            ("mode dropping", i) => {
                // As many pictures whatever is dropped, or the count would move the scores too.
                let from = |class: usize| {
                    let pool = 0..self.pool.len();
                    pool.filter(move |&at| self.pool.labels[at] as usize >= class)
                };
                let count = from(DROPPED[DROPPED.len() - 1]).take(self.count).count();
                let rows: Vec<usize> = from(i.map_or(0, |i| DROPPED[i])).take(count).collect();
                self.pool_features.select(&rows)?
            }
            (_, None) => self.pool_features.select(&all)?,
            (fault, Some(i)) => {
                let mut random = Philox::new(7, strength as u64);
                let mut pictures = self.pool.subset(&all);
                let each = pictures.picture_len();
                for at in 0..all.len() {
                    let spoiled = self.spoiled(fault, i, &picture(&pictures, at), &mut random);
                    let grey = pictures.channels == 1;
                    let values =
                        spoiled.rgb.chunks_exact(3).flat_map(|p| if grey { &p[..1] } else { p });
                    let values: Vec<u8> = values.copied().collect();
                    pictures.pixels[at * each..(at + 1) * each].copy_from_slice(&values);
                }
                pictures.max_value = u8::MAX;
                seen(self.extractor, pictures)?
            }
        };
        let found = prdc(&self.real, &features, NEIGHBOURS)?;
        Ok(Rung {
            fault,
            strength: words,
            fid: frechet_distance(&self.real, &features)?,
            kid: kid(&self.real, &features)?,
            prdc: [found.precision(), found.recall(), found.density(), found.coverage()],
        })
    }

    /// Some pictures go under the name of a random class; each class is held against the real one.
    fn mixed(&self, share: f64, strength: String) -> Result<Rung, FeatureError> {
        let all: Vec<usize> = (0..self.count).collect();
        let features = self.pool_features.select(&all)?;
        let mut random = Philox::new(11, 0);
        let mut labels: Vec<usize> = Vec::with_capacity(self.count);
        for at in all {
            // Drawn for every picture, so that a stronger mixture contains the weaker.
            let (chance, class) = (random.uniform_f64(), random.below(CLASSES as u32) as usize);
            labels.push(if chance < share { class } else { self.pool.labels[at] as usize });
        }
        let real = Labelled::new(&self.real, &self.real_labels)?;
        let fake = Labelled::new(&features, &labels)?;
        let fid = frechet_by_class(real, fake, 2)?.mean.unwrap_or(f64::NAN);
        // All pictures of a class at once: subsets of so few would say more about themselves.
        let by_class = score_by_class(real, fake, 4, |a, b| {
            let whole = Subset { first: (0..a.rows()).collect(), second: (0..b.rows()).collect() };
            Ok(kernel_distance_of(a, b, &[whole])?.mean)
        })?;
        let found = prdc(&self.real, &features, NEIGHBOURS)?;
        Ok(Rung {
            fault: "label mixing",
            strength,
            fid,
            kid: by_class.mean.unwrap_or(f64::NAN),
            prdc: [found.precision(), found.recall(), found.density(), found.coverage()],
        })
    }

    fn spoiled(&self, fault: &str, i: usize, image: &Image, random: &mut Philox) -> Image {
        let (width, height) = (image.width_px as u32, image.height_px as u32);
        let own = RgbImage::from_raw(width, height, image.rgb.clone()).unwrap_or_default();
        let rgb = match fault {
            "blur" => imageops::blur(&own, BLURS[i]).into_raw(),
            "noise" => noisy(image, NOISES[i], random),
            _ => {
                let mut bytes = Vec::new();
                let encoded =
                    JpegEncoder::new_with_quality(&mut bytes, QUALITIES[i]).encode_image(&own);
                let decoded = load_from_memory_with_format(&bytes, ImageFormat::Jpeg);
                match (encoded, decoded) {
                    (Ok(()), Ok(decoded)) => decoded.into_rgb8().into_raw(),
                    _ => Vec::new(),
                }
            }
        };
        Image { rgb, ..image.clone() }
    }
}

/// Gaussian noise, the same for the three channels of a grey picture.
fn noisy(image: &Image, deviation: f32, random: &mut Philox) -> Vec<u8> {
    let mut noise = [0.0f32; 3];
    let mut rgb = Vec::with_capacity(image.rgb.len());
    for pixel in image.rgb.chunks_exact(3) {
        for value in &mut noise {
            // Twelve uniforms, less 6: a normal but for its far tails.
            *value = (0..12).map(|_| random.uniform_f32()).sum::<f32>() - 6.0;
        }
        for (channel, &value) in pixel.iter().enumerate() {
            let noise = noise[if image.grey { 0 } else { channel }];
            rgb.push((f32::from(value) + deviation * noise).round().clamp(0.0, 255.0) as u8);
        }
    }
    rgb
}

/// Picture `at` of a set as 8-bit colour.
fn picture(pictures: &Pictures, at: usize) -> Image {
    let white = u32::from(pictures.max_value);
    let level = |&value: &u8| ((u32::from(value) * 255 + white / 2) / white) as u8;
    let values = pictures.picture(at).iter().map(level);
    let grey = pictures.channels == 1;
    let rgb = if grey { values.flat_map(|value| [value; 3]).collect() } else { values.collect() };
    let (width_px, height_px) = (pictures.width_px, pictures.height_px);
    Image { width_px, height_px, rgb, grey, alpha: false }
}

fn seen(extractor: &Extractor, pictures: Pictures) -> Result<Features, FeatureError> {
    let mut images = Images::pictures("pictures".as_ref(), pictures)?;
    Ok(collect(&mut images, extractor, &Collect::default(), &mut |_| Ok(()))?.features)
}

fn kid(real: &Features, fake: &Features) -> Result<f64, FeatureError> {
    let size = real.rows().min(fake.rows()) / 2;
    let options = SubsetOptions { subsets: 50, size, ..SubsetOptions::default() };
    Ok(kernel_distance(real, fake, &options)?.mean)
}
