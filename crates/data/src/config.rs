use crate::{DataError, Fit, PointShape, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[data]` section of a config: where the pictures come from and how many are held out.
///
/// The section is flat. Keys that a kind does not know are refused by name:
///
/// ```toml
/// [data]
/// kind = "folder"        # digits | idx | folder | cifar10 | two-moons | eight-gaussians | swiss-roll
/// path = "pets"          # folder, cifar10
/// # images, labels       # idx
/// image_size_px = 32     # folder; optional for idx
/// channels = 3           # folder: 1 or 3, 3 if absent
/// fit = "centre-crop"    # folder, idx: pad | centre-crop | stretch | exact
/// # count = 20000        # two-moons, eight-gaussians, swiss-roll
/// flip = true            # train also on mirror images
/// held_out_fraction = 0.1
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct DataConfig {
    /// Where the pictures come from.
    pub source: Source,
    /// Whether training also sees the pictures mirrored left to right.
    pub flip: bool,
    /// The part of the pictures kept from training, in [0, 1); 0.2 for the digits and 0 for the
    /// rest where the config does not say.
    pub held_out_fraction: f64,
}

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The 1,797 digits that are part of the program.
    Digits,
    /// IDX files, as MNIST comes in, plain or gzipped.
    Idx {
        /// Pictures, `[N, H, W]` or `[N, H, W, C]`.
        images: PathBuf,
        /// Classes, `[N]`.
        labels: Option<PathBuf>,
        /// The side of the square that pictures are fitted to; their own size if absent.
        image_size_px: Option<usize>,
        /// How they are fitted; [`Fit::Pad`] if the config does not say.
        fit: Fit,
    },
    /// A folder of image files, by class where it has subfolders.
    Folder {
        /// The folder.
        path: PathBuf,
        /// The side of the square that pictures are fitted to.
        image_size_px: usize,
        /// 1 for grey, 3 for colour.
        channels: usize,
        /// How they are fitted; [`Fit::CentreCrop`] if the config does not say.
        fit: Fit,
    },
    /// The binary version of CIFAR-10.
    Cifar10 {
        /// The folder that holds `data_batch_1.bin` to `data_batch_5.bin`.
        path: PathBuf,
    },
    /// Points of the plane, as pictures of one pixel with two channels.
    Points {
        /// How they lie.
        shape: PointShape,
        /// How many.
        count: usize,
    },
}

impl Source {
    /// The names of the sources that need no file.
    pub const BUILT_IN: [&str; 4] = ["digits", "two-moons", "eight-gaussians", "swiss-roll"];

    /// The source of such a name, with `count` points where it is one of points.
    pub fn built_in(name: &str, count: usize) -> Option<Self> {
        let shapes = [PointShape::TwoMoons, PointShape::EightGaussians, PointShape::SwissRoll];
        let shape = shapes.into_iter().find(|&shape| Kind::from(shape).name() == name);
        let points = shape.map(|shape| Self::Points { shape, count });
        points.or_else(|| (name == Kind::Digits.name()).then_some(Self::Digits))
    }
}

/// Enough to fill their shapes.
const DEFAULT_POINTS: usize = 20_000;
/// More points would only repeat themselves.
const MAX_POINTS: usize = 10_000_000;
/// The largest side of a training picture, in pixels.
const MAX_SIZE_PX: usize = 4_096;

impl DataConfig {
    /// The embedded digits, a fifth of them held out.
    pub fn digits() -> Self {
        Self { source: Source::Digits, flip: false, held_out_fraction: 0.2 }
    }

    /// Holds the values against their ranges.
    pub(crate) fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.held_out_fraction) {
            let expected = "at least 0 and below 1";
            return Err(DataError::value("held_out_fraction", expected, self.held_out_fraction));
        }
        let (size_px, channels) = match &self.source {
            Source::Idx { image_size_px, .. } => (*image_size_px, 1),
            Source::Folder { image_size_px, channels, .. } => (Some(*image_size_px), *channels),
            Source::Digits | Source::Cifar10 { .. } | Source::Points { .. } => (None, 3),
        };
        if let Source::Points { count, .. } = &self.source
            && !(1..=MAX_POINTS).contains(count)
        {
            return Err(DataError::value("count", format!("1 to {MAX_POINTS}"), count));
        }
        if let Some(size_px) = size_px.filter(|size_px| !(1..=MAX_SIZE_PX).contains(size_px)) {
            return Err(DataError::value("image_size_px", format!("1 to {MAX_SIZE_PX}"), size_px));
        }
        if ![1, 3].contains(&channels) {
            return Err(DataError::value("channels", "1 or 3", channels));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Digits,
    Idx,
    Folder,
    Cifar10,
    TwoMoons,
    EightGaussians,
    SwissRoll,
}

impl From<PointShape> for Kind {
    fn from(shape: PointShape) -> Self {
        match shape {
            PointShape::TwoMoons => Self::TwoMoons,
            PointShape::EightGaussians => Self::EightGaussians,
            PointShape::SwissRoll => Self::SwissRoll,
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Cifar10 => "cifar10",
            Self::TwoMoons => "two-moons",
            Self::EightGaussians => "eight-gaussians",
            Self::SwissRoll => "swiss-roll",
        }
    }

    /// The keys that this kind knows beside `kind`, `flip` and `held_out_fraction`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Digits => &[],
            Self::Idx => &["images", "labels", "image_size_px", "fit"],
            Self::Folder => &["path", "image_size_px", "channels", "fit"],
            Self::Cifar10 => &["path"],
            Self::TwoMoons | Self::EightGaussians | Self::SwissRoll => &["count"],
        }
    }
}

/// The section as it is written: every key of every kind.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_size_px: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fit: Option<Fit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(default)]
    flip: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_out_fraction: Option<f64>,
}

impl Flat {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            path: None,
            images: None,
            labels: None,
            image_size_px: None,
            channels: None,
            fit: None,
            count: None,
            flip: false,
            held_out_fraction: None,
        }
    }

    /// Refuses keys that belong to other kinds.
    fn check_keys(&self) -> std::result::Result<(), String> {
        let given = [
            ("path", self.path.is_some()),
            ("images", self.images.is_some()),
            ("labels", self.labels.is_some()),
            ("image_size_px", self.image_size_px.is_some()),
            ("channels", self.channels.is_some()),
            ("fit", self.fit.is_some()),
            ("count", self.count.is_some()),
        ];
        let keys = self.kind.keys();
        match given.iter().find(|(key, given)| *given && !keys.contains(key)) {
            None => Ok(()),
            Some((key, _)) => {
                let known = [keys, &["flip", "held_out_fraction"]].concat().join("`, `");
                let kind = self.kind.name();
                Err(format!(
                    "data.{key} does not belong to kind = \"{kind}\", which knows `{known}`"
                ))
            }
        }
    }

    /// A key that the kind cannot do without.
    fn need<T>(&self, key: &str, value: Option<T>) -> std::result::Result<T, String> {
        value.ok_or_else(|| {
            format!("data.{key} is missing: kind = \"{}\" needs it", self.kind.name())
        })
    }
}

impl TryFrom<Flat> for DataConfig {
    type Error = String;

    fn try_from(flat: Flat) -> std::result::Result<Self, String> {
        flat.check_keys()?;
        let points = |shape| Source::Points { shape, count: flat.count.unwrap_or(DEFAULT_POINTS) };
        let source = match flat.kind {
            Kind::Digits => Source::Digits,
            Kind::Idx => Source::Idx {
                images: flat.need("images", flat.images.clone())?,
                labels: flat.labels,
                image_size_px: flat.image_size_px,
                fit: flat.fit.unwrap_or(Fit::Pad),
            },
            Kind::Folder => Source::Folder {
                path: flat.need("path", flat.path.clone())?,
                image_size_px: flat.need("image_size_px", flat.image_size_px)?,
                channels: flat.channels.unwrap_or(3),
                fit: flat.fit.unwrap_or(Fit::CentreCrop),
            },
            Kind::Cifar10 => Source::Cifar10 { path: flat.need("path", flat.path.clone())? },
            Kind::TwoMoons => points(PointShape::TwoMoons),
            Kind::EightGaussians => points(PointShape::EightGaussians),
            Kind::SwissRoll => points(PointShape::SwissRoll),
        };
        let default_held_out = if flat.kind == Kind::Digits { 0.2 } else { 0.0 };
        let config = Self {
            source,
            flip: flat.flip,
            held_out_fraction: flat.held_out_fraction.unwrap_or(default_held_out),
        };
        match config.check() {
            Ok(()) => Ok(config),
            Err(error) => Err(format!("data.{error}")),
        }
    }
}

impl From<DataConfig> for Flat {
    fn from(config: DataConfig) -> Self {
        let flat = match config.source {
            Source::Digits => Self::new(Kind::Digits),
            Source::Idx { images, labels, image_size_px, fit } => Self {
                images: Some(images),
                labels,
                image_size_px,
                fit: Some(fit),
                ..Self::new(Kind::Idx)
            },
            Source::Folder { path, image_size_px, channels, fit } => Self {
                path: Some(path),
                image_size_px: Some(image_size_px),
                channels: Some(channels),
                fit: Some(fit),
                ..Self::new(Kind::Folder)
            },
            Source::Cifar10 { path } => Self { path: Some(path), ..Self::new(Kind::Cifar10) },
            Source::Points { shape, count } => {
                Self { count: Some(count), ..Self::new(shape.into()) }
            }
        };
        Self { flip: config.flip, held_out_fraction: Some(config.held_out_fraction), ..flat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<DataConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_survives_a_round_trip() {
        for text in [
            "kind = \"digits\"",
            "kind = \"idx\"\nimages = \"a.gz\"\nlabels = \"b.gz\"\nimage_size_px = 32\nflip = true",
            "kind = \"idx\"\nimages = \"a\"\nfit = \"exact\"",
            "kind = \"folder\"\npath = \"pets\"\nimage_size_px = 32\nflip = true",
            "kind = \"folder\"\npath = \"p\"\nimage_size_px = 8\nchannels = 1\nfit = \"stretch\"",
            "kind = \"cifar10\"\npath = \"cifar\"\nheld_out_fraction = 0.1",
            "kind = \"two-moons\"",
            "kind = \"eight-gaussians\"\ncount = 512",
            "kind = \"swiss-roll\"",
        ] {
            let config = parse(text).unwrap();
            let written = toml::to_string(&config).unwrap();
            assert_eq!(parse(&written).unwrap(), config, "{written}");
        }
        assert_eq!(parse("kind = \"digits\"").unwrap(), DataConfig::digits());
    }

    #[test]
    fn sources_without_files_have_names() {
        for name in Source::BUILT_IN {
            let source = Source::built_in(name, 20_000).unwrap();
            assert_eq!(parse(&format!("kind = \"{name}\"")).unwrap().source, source);
        }
        assert_eq!(Source::built_in("cifar10", 1), None);
    }

    #[test]
    fn what_does_not_belong_is_refused_by_name() {
        for (text, expected) in [
            ("path = \"p\"", "missing field `kind`"),
            ("kind = \"digit\"", "unknown variant `digit`"),
            ("kind = \"digits\"\npaht = 1", "unknown field `paht`"),
            ("kind = \"cifar10\"", "data.path is missing: kind = \"cifar10\" needs it"),
            ("kind = \"folder\"\npath = \"p\"", "data.image_size_px is missing"),
            (
                "kind = \"folder\"\npath = \"p\"\nlabels = \"l\"",
                "data.labels does not belong to kind = \"folder\", which knows `path`",
            ),
            (
                "kind = \"digits\"\nheld_out_fraction = 1.0",
                "data.held_out_fraction: expected at least 0",
            ),
            (
                "kind = \"folder\"\npath = \"p\"\nimage_size_px = 0",
                "data.image_size_px: expected 1 to",
            ),
            (
                "kind = \"folder\"\npath = \"p\"\nimage_size_px = 8\nchannels = 4",
                "data.channels: expected 1 or 3, found 4",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
