//! Every kind of source, from files that the tests write.

use flate2::{Compression, write::GzEncoder};
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs;
use std::io::Write;
use std::path::Path;
use sumi_data::{DataConfig, DataError, Fit, Pictures, Source, load, load_split};

fn config(source: Source) -> DataConfig {
    DataConfig { source, flip: false, held_out_fraction: 0.0 }
}

fn folder(path: &Path, channels: usize, fit: Fit) -> DataConfig {
    config(Source::Folder { path: path.to_owned(), image_size_px: 4, channels, fit })
}

fn idx_bytes(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn solid(colour: [u8; 3], width: u32, height: u32) -> DynamicImage {
    RgbImage::from_pixel(width, height, Rgb(colour)).into()
}

fn error(config: &DataConfig) -> String {
    load(config).unwrap_err().to_string()
}

#[test]
fn digits_are_split_the_same_way_for_ever() {
    let (train, held_out) = load_split(&DataConfig::digits()).unwrap();
    assert_eq!((train.len(), held_out.len()), (1_438, 359));
    let every_class = |pictures: &Pictures| pictures.class_counts().iter().all(|&count| count > 20);
    assert!(every_class(&train) && every_class(&held_out));
    assert!(train.scaled(0).all(|value| (-1.0..=1.0).contains(&value)));
}

#[test]
fn mnist_is_read_plain_or_gzipped_and_padded() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels.gz"));
    fs::write(&images, idx_bytes(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
    fs::write(&labels, gzip(&idx_bytes(&[2], &[3, 1]))).unwrap();
    let source = |labels: Option<&Path>, image_size_px, fit| {
        config(Source::Idx {
            images: images.clone(),
            labels: labels.map(Path::to_owned),
            image_size_px,
            fit,
        })
    };
    let pictures = load(&source(Some(&labels), Some(4), Fit::Pad)).unwrap();
    assert_eq!((pictures.height_px, pictures.width_px, pictures.channels), (4, 4, 1));
    assert_eq!(pictures.labels, [3, 1]);
    assert_eq!(pictures.class_names, ["0", "1", "2", "3"]);
    assert_eq!(pictures.picture(1), [0, 0, 0, 0, 0, 5, 6, 0, 0, 7, 8, 0, 0, 0, 0, 0]);

    let pictures = load(&source(None, None, Fit::Pad)).unwrap();
    assert_eq!((pictures.width_px, &pictures.class_names[..]), (2, &["all".to_owned()][..]));

    let text = error(&source(None, Some(4), Fit::Exact));
    assert!(text.contains("images: image size: expected 4 x 4 pixels"), "{text}");
    fs::write(&labels, idx_bytes(&[3], &[0, 1, 2])).unwrap();
    let text = error(&source(Some(&labels), None, Fit::Pad));
    assert!(text.contains("dimensions: expected [2], one a picture, found [3]"), "{text}");
    fs::write(&images, idx_bytes(&[0, 2, 2], &[])).unwrap();
    assert!(error(&source(None, None, Fit::Pad)).contains("at least one of each"));
    fs::write(&images, idx_bytes(&[4], &[1, 2, 3, 4])).unwrap();
    assert!(error(&source(None, None, Fit::Pad)).contains("expected [N, H, W]"));
    fs::remove_file(&images).unwrap();
    assert!(error(&source(None, None, Fit::Pad)).contains("images: cannot open the file"));
}

#[test]
fn a_folder_of_folders_is_a_class_each() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["dogs/small", "cats", "empty", ".hidden"] {
        fs::create_dir_all(dir.path().join(class)).unwrap();
    }
    solid([10, 20, 30], 4, 4).save(dir.path().join("dogs/small/a.bmp")).unwrap();
    solid([40, 50, 60], 8, 4).save(dir.path().join("dogs/b.PNG")).unwrap();
    solid([70, 80, 90], 4, 9).save(dir.path().join("cats/c.webp")).unwrap();
    solid([1, 1, 1], 4, 4).save(dir.path().join(".hidden/d.png")).unwrap();
    fs::write(dir.path().join("cats/notes.txt"), "not an image").unwrap();

    let pictures = load(&folder(dir.path(), 3, Fit::CentreCrop)).unwrap();
    assert_eq!(pictures.class_names, ["cats", "dogs"]);
    assert_eq!(pictures.labels, [0, 1, 1]);
    let first: Vec<_> = pictures.iter().map(|item| item.pixels[..3].to_vec()).collect();
    assert_eq!(first, [[70, 80, 90], [40, 50, 60], [10, 20, 30]]);

    let text = error(&folder(dir.path(), 3, Fit::Exact));
    assert!(text.contains("c.webp: image size: expected 4 x 4 pixels"), "{text}");
    assert!(text.ends_with("found 4 x 9"), "{text}");

    solid([1, 1, 1], 4, 4).save(dir.path().join("loose.png")).unwrap();
    let text = error(&folder(dir.path(), 3, Fit::CentreCrop));
    assert!(text.contains("loose.png") && text.contains("class folder, as in `cats`"), "{text}");
}

#[test]
fn grey_and_transparent_images_become_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let grey: DynamicImage = GrayImage::from_pixel(4, 4, Luma([77])).into();
    grey.save(dir.path().join("a.png")).unwrap();
    let clear: DynamicImage = RgbaImage::from_pixel(4, 4, Rgba([0, 100, 200, 0])).into();
    clear.save(dir.path().join("b.png")).unwrap();
    let half: DynamicImage = RgbaImage::from_pixel(4, 4, Rgba([0, 100, 200, 51])).into();
    half.save(dir.path().join("c.png")).unwrap();
    let colour = load(&folder(dir.path(), 3, Fit::Exact)).unwrap();
    let first: Vec<_> = colour.iter().map(|item| item.pixels[..3].to_vec()).collect();
    assert_eq!(first, [[77, 77, 77], [255, 255, 255], [204, 224, 244]]);
    let grey = load(&folder(dir.path(), 1, Fit::Exact)).unwrap();
    assert_eq!((grey.channels, grey.picture(0)[0], grey.picture(1)[0]), (1, 77, 255));
}

#[test]
fn a_folder_that_cannot_be_used_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let config = folder(dir.path(), 3, Fit::CentreCrop);
    let text = error(&config);
    assert!(
        text.contains("expected image files (png, jpg, jpeg, bmp, webp, gif), found none"),
        "{text}"
    );
    fs::write(dir.path().join("a.png"), b"\x89PNG\r\n\x1a\nnonsense").unwrap();
    assert!(matches!(load(&config), Err(DataError::Image { path, .. }) if path.ends_with("a.png")));
    // A header that claims 65,535 x 65,535 pixels is refused before anything is decoded.
    let mut gif = b"GIF89a\xff\xff\xff\xff\x80\x00\x00\0\0\0\xff\xff\xff".to_vec();
    gif.extend_from_slice(b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;");
    fs::remove_file(dir.path().join("a.png")).unwrap();
    fs::write(dir.path().join("a.gif"), gif).unwrap();
    let text = error(&config);
    assert!(text.contains("a.gif: image size: expected 1 to 134217728 pixels"), "{text}");
    let text = error(&folder(&dir.path().join("absent"), 3, Fit::CentreCrop));
    assert!(text.contains("absent: cannot list the folder"), "{text}");
}

#[test]
fn the_order_does_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..24_u8 {
        solid([index, 0, 0], 4, 4).save(dir.path().join(format!("{index:02}.png"))).unwrap();
    }
    let config = folder(dir.path(), 3, Fit::Exact);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| load(&config).unwrap())
    };
    let pictures = with(1);
    assert!(pictures.iter().enumerate().all(|(index, item)| item.pixels[0] == index as u8));
    assert_eq!(with(5), pictures);
}

#[test]
fn cifar_is_turned_from_planes_to_pixels() {
    let dir = tempfile::tempdir().unwrap();
    for batch in 1..=5_u8 {
        let mut record = vec![batch];
        for channel in 0..3 {
            record.extend((0..1024).map(|pixel| (pixel % 80 + 80 * channel) as u8));
        }
        fs::write(dir.path().join(format!("data_batch_{batch}.bin")), record).unwrap();
    }
    let config = config(Source::Cifar10 { path: dir.path().to_owned() });
    let pictures = load(&config).unwrap();
    pictures.check().unwrap();
    assert_eq!((pictures.len(), pictures.width_px, pictures.channels), (5, 32, 3));
    assert_eq!(pictures.labels, [1, 2, 3, 4, 5]);
    assert_eq!(pictures.class_names[1], "automobile");
    assert_eq!(pictures.picture(4)[..6], [0, 80, 160, 1, 81, 161]);
    let held_out = DataConfig { held_out_fraction: 0.99, ..config.clone() };
    assert!(load_split(&held_out).unwrap_err().to_string().contains("left to train on"));
    fs::remove_file(dir.path().join("data_batch_3.bin")).unwrap();
    assert!(error(&config).contains("data_batch_3.bin: cannot open the file"));
}
