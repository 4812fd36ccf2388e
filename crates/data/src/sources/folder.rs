//! A folder of image files.

use super::one_class;
use crate::fit::{Fit, fit};
use crate::{DataError, Pictures, Result};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbImage};
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The file names that are taken for images, in lower case.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "webp", "gif"];

/// The most pixels an image may have before it is decoded.
const MAX_PIXELS: u64 = 1 << 27;

/// The most bytes that decoding one image may allocate: 8 bytes for each of [`MAX_PIXELS`].
const MAX_DECODED_BYTES: u64 = MAX_PIXELS * 8;

/// An image file and the class that its place gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its class, an index into the names of the classes.
    pub label: u32,
}

/// An image file as it is: 8-bit colour of its own size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its width, in pixels.
    pub width_px: usize,
    /// Its height, in pixels.
    pub height_px: usize,
    /// Red, green and blue, `[H, W, 3]`.
    pub rgb: Vec<u8>,
    /// Whether the file holds grey levels only.
    pub grey: bool,
    /// Whether the file has an alpha channel; it was laid on white.
    pub alpha: bool,
}

/// Loads every image below a folder; the order is that of the class names, then of the paths,
/// whatever the number of threads.
pub(super) fn load(folder: &Path, size_px: usize, channels: usize, how: Fit) -> Result<Pictures> {
    let (files, class_names) = image_files(folder)?;
    let length = size_px * size_px * channels;
    let mut pixels = vec![0; files.len() * length];
    pixels
        .par_chunks_exact_mut(length)
        .zip(&files)
        .map(|(place, file)| {
            place.copy_from_slice(&read(&file.path, [size_px; 2], channels, how)?.0);
            Ok(())
        })
        // Collected rather than stopped at the first: which error comes first would depend on the
        // threads.
        .collect::<Vec<Result<()>>>()
        .into_iter()
        .collect::<Result<()>>()?;
    Ok(Pictures {
        height_px: size_px,
        width_px: size_px,
        channels,
        pixels,
        labels: files.iter().map(|file| file.label).collect(),
        class_names,
        max_value: u8::MAX,
    })
}

/// Finds the image files below a folder and the classes: the subfolders that hold images, by name, or one
/// class where there are none. The order is that of the class names, then of the paths.
///
/// # Errors
/// A folder that cannot be listed or holds no images, an image beside the class folders.
pub fn image_files(folder: &Path) -> Result<(Vec<ImageFile>, Vec<String>)> {
    let mut class_names = Vec::new();
    let mut files = Vec::new();
    let mut loose = Vec::new();
    let mut seen = HashSet::new();
    for path in entries(folder)? {
        if !path.is_dir() {
            loose.extend(is_image(&path).then_some(path));
            continue;
        }
        let mut paths = Vec::new();
        collect(&path, &mut seen, &mut paths)?;
        if !paths.is_empty() {
            let label = class_names.len() as u32;
            files.extend(paths.into_iter().map(|path| ImageFile { path, label }));
            class_names.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    if files.is_empty() && loose.is_empty() {
        let expected = format!("image files ({})", EXTENSIONS.join(", "));
        return Err(DataError::mismatch(folder, "the folder's content", expected, "none"));
    }
    if class_names.is_empty() {
        files = loose.into_iter().map(|path| ImageFile { path, label: 0 }).collect();
        return Ok((files, one_class()));
    }
    if let Some(path) = loose.first() {
        let expected = format!("every image in a class folder, as in `{}`", class_names[0]);
        return Err(DataError::mismatch(
            path,
            "the image's place",
            expected,
            "an image beside them",
        ));
    }
    Ok((files, class_names))
}

/// Adds every image file below a folder, in the order of the paths.
fn collect(folder: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    // Links may lead in circles.
    let real = fs::canonicalize(folder).map_err(|e| DataError::io(folder, "open the folder", e))?;
    if !seen.insert(real) {
        return Ok(());
    }
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, seen, found)?;
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// A folder's entries by name, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| DataError::io(folder, "list the folder", error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    EXTENSIONS.contains(&&*extension)
}

/// Reads one image file as a picture of `size_px`, height and width, and says what size it had: a small
/// set of one picture.
///
/// # Errors
/// A file that cannot be read or decoded, a size that `how` does not allow.
pub fn read_picture(
    path: &Path,
    size_px: [usize; 2],
    channels: usize,
    how: Fit,
) -> Result<(Pictures, [usize; 2])> {
    let (pixels, found) = read(path, size_px, channels, how)?;
    let [height_px, width_px] = size_px;
    let (labels, class_names) = (vec![0], one_class());
    let max_value = u8::MAX;
    Ok((Pictures { height_px, width_px, channels, pixels, labels, class_names, max_value }, found))
}

/// Reads one image file as a picture of its own size.
///
/// # Errors
/// A file that cannot be read or decoded.
pub fn read_own_size(path: &Path, channels: usize) -> Result<Pictures> {
    let colour = on_white(decode(path)?);
    let size_px = [colour.height() as usize, colour.width() as usize];
    let pixels = match channels {
        1 => DynamicImage::ImageRgb8(colour).into_luma8().into_raw(),
        _ => colour.into_raw(),
    };
    let [height_px, width_px] = size_px;
    let (labels, class_names) = (vec![0], one_class());
    let max_value = u8::MAX;
    Ok(Pictures { height_px, width_px, channels, pixels, labels, class_names, max_value })
}

/// Reads one image file as it is.
///
/// # Errors
/// A file that cannot be read or decoded.
pub fn read_image(path: &Path) -> Result<Image> {
    let image = decode(path)?;
    let (grey, alpha) = (!image.color().has_color(), image.color().has_alpha());
    let colour = on_white(image);
    let (width_px, height_px) = (colour.width() as usize, colour.height() as usize);
    Ok(Image { width_px, height_px, rgb: colour.into_raw(), grey, alpha })
}

/// Decodes one image into one of `size_px`, `[H, W, C]`, and says its own height and width.
fn read(
    path: &Path,
    size_px: [usize; 2],
    channels: usize,
    how: Fit,
) -> Result<(Vec<u8>, [usize; 2])> {
    let image = decode(path)?;
    let own = [image.height() as usize, image.width() as usize];
    let found = format!("{} x {}", image.width(), image.height());
    let mismatch = |expected| DataError::mismatch(path, "image size", expected, found.clone());
    let colour = on_white(image);
    let fitted = if channels == 1 {
        let grey = DynamicImage::ImageRgb8(colour).into_luma8();
        fit(grey, size_px, how).map_err(mismatch)?.into_raw()
    } else {
        fit(colour, size_px, how).map_err(mismatch)?.into_raw()
    };
    Ok((fitted, own))
}

/// Decodes an image, or the first frame of an animation, the way up that its camera noted.
fn decode(path: &Path) -> Result<DynamicImage> {
    let image_error = |source: ImageError| DataError::Image { path: path.to_owned(), source };
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| DataError::io(path, "read the image", e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(image_error)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MAX_PIXELS {
        let expected = format!("1 to {MAX_PIXELS} pixels");
        return Err(DataError::mismatch(
            path,
            "image size",
            expected,
            format!("{width} x {height}"),
        ));
    }
    let orientation = decoder.orientation().map_err(image_error)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(image_error)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Lays an image with an alpha channel on white: `c a + 255 (1 - a)`, rounded. An image without
/// one only becomes 8-bit RGB.
fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        let alpha = u32::from(alpha);
        let blend =
            |value: u8| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        image::Rgb([red, green, blue].map(blend))
    })
}
