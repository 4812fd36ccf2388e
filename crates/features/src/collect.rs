//! Every picture of a source through an extractor, once.

use crate::{Extracted, Extractor, FeatureError, Info, Item, Result, Source};
use std::collections::BTreeMap;
use std::path::PathBuf;
use sumi_data::{Filter, Image, resize};
use sumi_metrics::Features;

/// The share of pictures that may be unreadable and only be passed over and said.
pub const MAX_UNREADABLE_SHARE: f64 = 0.01;

/// How a source is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Pictures at a time; the features do not depend on it.
    pub batch: usize,
    /// How many small pictures are kept for the eye, from the first on.
    pub thumbnails: usize,
    /// Their side at most, in pixels.
    pub thumbnail_px: usize,
}

impl Default for Collect {
    fn default() -> Self {
        Self { batch: 32, thumbnails: 0, thumbnail_px: 64 }
    }
}

/// What was seen of a source: a vector a picture.
#[derive(Clone, Debug)]
pub struct Collected {
    /// `[N, D]`.
    pub features: Features,
    /// Everything else.
    pub seen: Seen,
}

/// What was seen of a source beside the vectors.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The network's opinion on what each picture shows, before the softmax, `[N, C]`; without columns where it has
    /// none.
    pub scores: Features,
    /// The class of each, an index into `class_names`; all 0 where there are none.
    pub labels: Vec<usize>,
    /// The names of the classes; none for a set without classes.
    pub class_names: Vec<String>,
    /// The file of each, where it is one.
    pub paths: Vec<Option<PathBuf>>,
    /// The first pictures, small and square.
    pub thumbnails: Vec<Image>,
    /// What is to be said of the set.
    pub facts: Facts,
}

/// What is to be said of a set beside its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Pictures that were measured.
    pub count: usize,
    /// How many had each size, width and height.
    pub sizes: BTreeMap<(usize, usize), usize>,
    /// How many hold grey levels only.
    pub grey: usize,
    /// How many have an alpha channel, and were laid on white.
    pub alpha: usize,
    /// How many were resized.
    pub resized: usize,
    /// Why each that could not be read could not.
    pub unreadable: Vec<String>,
}

/// Leads every picture of `source` through `extractor`. `tell` is told how many more are done and may stop it.
///
/// Only the vectors are kept, and as many small pictures as `options` wishes.
///
/// # Errors
/// A source that cannot go on, more than 1 % of unreadable pictures, features that are not finite, `tell`'s own.
pub fn collect(
    source: &mut dyn Source,
    extractor: &Extractor,
    options: &Collect,
    tell: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Collected> {
    let mut facts = Facts::default();
    let (mut features, mut scores) = (Vec::new(), Vec::new());
    let (mut labels, mut paths, mut thumbnails) = (Vec::new(), Vec::new(), Vec::new());
    let allowed = (source.count() as f64 * MAX_UNREADABLE_SHARE) as usize;
    loop {
        let items = source.next(options.batch.max(1))?;
        if items.is_empty() {
            break;
        }
        let met = items.len();
        let mut images = Vec::with_capacity(met);
        for Item { image, label, path } in items {
            match image {
                Ok(image) => {
                    facts.add(&image, extractor.info());
                    images.push(image);
                    labels.push(label as usize);
                    paths.push(path);
                }
                Err(why) => facts.unreadable.push(why),
            }
        }
        if facts.unreadable.len() > allowed {
            return Err(unreadable(&facts, source.count()));
        }
        if !images.is_empty() {
            let Extracted { features: batch, scores: opinions } = extractor.extract(&images)?;
            features.extend(batch.into_iter().map(f64::from));
            scores.extend(opinions.into_iter().map(f64::from));
        }
        let room = options.thumbnails - thumbnails.len().min(options.thumbnails);
        for image in images.iter().take(room) {
            thumbnails.push(thumbnail(image, options.thumbnail_px)?);
        }
        tell(met)?;
    }
    let rows = facts.count;
    let features = Features::new(rows, extractor.info().dims, features)?;
    let scores = Features::new(rows, scores.len() / rows.max(1), scores)?;
    let class_names = source.class_names().to_vec();
    Ok(Collected { features, seen: Seen { scores, labels, class_names, paths, thumbnails, facts } })
}

fn unreadable(facts: &Facts, count: usize) -> FeatureError {
    let first = facts.unreadable.first().cloned().unwrap_or_default();
    FeatureError::Unreadable { unreadable: facts.unreadable.len(), count, first }
}

impl Facts {
    fn add(&mut self, image: &Image, info: &Info) {
        let size = (image.width_px, image.height_px);
        self.count += 1;
        *self.sizes.entry(size).or_default() += 1;
        self.grey += usize::from(image.grey);
        self.alpha += usize::from(image.alpha);
        self.resized += usize::from(size != info.input_px);
    }
}

/// The middle square of a picture, `side_px` wide at most.
fn thumbnail(image: &Image, side_px: usize) -> Result<Image> {
    let side = image.width_px.min(image.height_px);
    let (left, top) = ((image.width_px - side) / 2, (image.height_px - side) / 2);
    let row = |y: usize| &image.rgb[3 * ((top + y) * image.width_px + left)..][..3 * side];
    let rgb: Vec<u8> = (0..side).flat_map(row).copied().collect();
    let square = Image { width_px: side, height_px: side, rgb, ..*image };
    if side <= side_px {
        return Ok(square);
    }
    let rgb = resize(&square.rgb, [side, side, 3], [side_px; 2], Filter::Box)?;
    Ok(Image { width_px: side_px, height_px: side_px, rgb, ..square })
}
