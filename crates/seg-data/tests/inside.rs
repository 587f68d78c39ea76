//! What mask files mean, and what the readers of evaluation toolkits make of them.
//!
//! Expected levels of OpenCV 4.14 and Pillow 13.0 were printed by them for the same pixels.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use seg_data::{DataError, DecodeLimits, MaskReader, MaskRole, Meaning, decode_mask, inside, load_image, load_levels};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/masks").join(name)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
        let path = self.0.path().join(name);
        image.into().save_with_format(&path, ImageFormat::from_path(&path).unwrap()).unwrap();
        path
    }
}

fn read(path: &PathBuf, role: MaskRole) -> (Meaning, Vec<u8>) {
    let read = load_levels(path, role, MaskReader::Meaning, &DecodeLimits::default()).unwrap();
    (read.meaning, read.levels.into_raw())
}

fn by(reader: MaskReader, path: &PathBuf) -> Vec<u8> {
    load_levels(path, MaskRole::Truth, reader, &DecodeLimits::default()).unwrap().levels.into_raw()
}

fn inside(levels: &[u8]) -> usize {
    levels.iter().filter(|&&v| v >= 128).count()
}

/// 30x20 pixels of 64x48 are inside in each of these.
#[test]
fn the_box_is_inside_however_it_is_stored() {
    for (name, meaning) in [
        ("u16_gt1.png", Meaning::TwoLevels(1)),
        ("u16_gt255.png", Meaning::Bits(8)),
        ("u16_gt257.png", Meaning::TwoLevels(257)),
        ("u16_pred.png", Meaning::Levels),
        ("zero_one.png", Meaning::TwoLevels(1)),
        ("palette.png", Meaning::Palette),
        ("palette_pred.png", Meaning::Levels),
        ("alpha.png", Meaning::Alpha),
    ] {
        for role in [MaskRole::Prediction, MaskRole::Truth, MaskRole::Prompt] {
            let (found, levels) = read(&data(name), role);
            assert_eq!(found, meaning, "{name} as {role:?}");
            assert!(levels.iter().all(|v| [0, 255].contains(v)), "{name}");
            let boxes = if name.starts_with("u16") || name.starts_with("palette") { None } else { Some(600) };
            assert_eq!(inside(&levels), boxes.unwrap_or(inside(&levels)), "{name}");
            assert!(inside(&levels) > 0 && inside(&levels) < levels.len(), "{name}");
        }
    }
    // files of one picture
    let same = |a: &str, b: &str| assert_eq!(read(&data(a), MaskRole::Truth).1, read(&data(b), MaskRole::Truth).1);
    same("u16_gt1.png", "u16_gt255.png");
    same("u16_gt257.png", "u16_gt255.png");
    same("u16_gt255.png", "u16_pred.png");
    same("palette.png", "palette_pred.png");
}

#[test]
fn soft_maps_stay_soft() {
    let folder = Folder::new();
    let ramp: Vec<u8> = (0..=255).collect();
    let eight = folder.write("eight.png", GrayImage::from_raw(16, 16, ramp.clone()).unwrap());
    assert_eq!(read(&eight, MaskRole::Prediction), (Meaning::Levels, ramp.clone()));
    let deep = ImageBuffer::from_fn(16, 16, |x, y| Luma([257 * (16 * y + x) as u16]));
    let deep = folder.write("deep.png", DynamicImage::ImageLuma16(deep));
    assert_eq!(read(&deep, MaskRole::Prediction), (Meaning::Levels, ramp.clone()));
    let twelve = ImageBuffer::from_fn(64, 64, |x, y| Luma([(64 * y + x) as u16]));
    let twelve = folder.write("twelve.png", DynamicImage::ImageLuma16(twelve));
    let (meaning, levels) = read(&twelve, MaskRole::Prediction);
    assert_eq!((meaning, levels[0], levels[4095], inside(&levels)), (Meaning::Bits(12), 0, 255, 2048));
    // an unsure model's few low levels are no labels; a truth's are
    let low = folder.write("low.png", GrayImage::from_fn(8, 8, |x, _| Luma([x as u8])));
    assert_eq!(read(&low, MaskRole::Prediction).0, Meaning::Levels);
    let (meaning, levels) = read(&low, MaskRole::Truth);
    assert_eq!((meaning, inside(&levels)), (Meaning::Labels(7), 56));
    // noise of a compressed mask
    let noisy =
        GrayImage::from_fn(32, 32, |x, y| Luma([if x < 16 { (x ^ y) as u8 % 9 } else { 255 - (x ^ y) as u8 % 9 }]));
    let noisy = folder.write("noisy.png", noisy);
    let (meaning, levels) = read(&noisy, MaskRole::Truth);
    assert_eq!((meaning, inside(&levels)), (Meaning::Levels, 512));
}

#[test]
fn alpha_is_the_mask_of_a_cut_out() {
    let folder = Folder::new();
    // a photo's colours, cut out
    let cut =
        ImageBuffer::from_fn(8, 4, |x, y| Rgba([90 + 10 * x as u8, 40 * y as u8, 77, if x < 3 { 255 } else { 0 }]));
    let path = folder.write("cut.png", DynamicImage::ImageRgba8(cut));
    let (meaning, levels) = read(&path, MaskRole::Prediction);
    assert_eq!((meaning, inside(&levels)), (Meaning::Alpha, 12));
    // a black silhouette
    let dark = ImageBuffer::from_fn(8, 4, |x, _| LumaA([0, if x < 3 { 255 } else { 0 }]));
    let path = folder.write("dark.png", DynamicImage::ImageLumaA8(dark));
    assert_eq!(inside(&read(&path, MaskRole::Prompt).1), 12);
    // alpha that says nothing
    let opaque = ImageBuffer::from_fn(8, 4, |x, _| {
        let v = if x < 5 { 255 } else { 0 };
        Rgba([v, v, v, 255])
    });
    let path = folder.write("opaque.png", DynamicImage::ImageRgba8(opaque));
    assert_eq!(inside(&read(&path, MaskRole::Truth).1), 20);
    // a black and white mask of which a part was rubbed out
    let both = ImageBuffer::from_fn(8, 4, |x, y| LumaA([if x < 4 { 255 } else { 0 }, if y == 0 { 0 } else { 255 }]));
    let path = folder.write("both.png", DynamicImage::ImageLumaA8(both));
    let (meaning, levels) = read(&path, MaskRole::Truth);
    assert_eq!((meaning, inside(&levels)), (Meaning::AlphaAndGrey, 12));
}

#[test]
fn colours_on_black_are_inside() {
    let folder = Folder::new();
    let red = RgbImage::from_fn(8, 4, |x, _| if x < 3 { Rgb([128, 0, 0]) } else { Rgb([0; 3]) });
    let path = folder.write("red.png", red.clone());
    let (meaning, levels) = read(&path, MaskRole::Truth);
    assert_eq!((meaning, inside(&levels)), (Meaning::Colours, 12));
    let wide = image::imageops::resize(&red, 64, 32, image::imageops::FilterType::Nearest);
    let path = folder.write("red.jpg", wide);
    // compression has made many colours of it
    let (meaning, levels) = read(&path, MaskRole::Prompt);
    assert!(meaning == Meaning::Brightest || meaning == Meaning::Colours, "{meaning:?}");
    let share = inside(&levels) as f64 / levels.len() as f64;
    assert!((share - 0.375).abs() < 0.06 || meaning == Meaning::Brightest && share < 0.4, "{share}");
    // a photo is no mask
    let photo = RgbImage::from_fn(40, 40, |x, y| Rgb([60 + x as u8 * 2, 200 - y as u8, 90]));
    let path = folder.write("photo.png", photo);
    let error = load_levels(&path, MaskRole::Truth, MaskReader::Meaning, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, DataError::MaskMeaning { .. }), "{error}");
}

#[test]
fn readers_of_toolkits() {
    let folder = Folder::new();
    let row = |values: &[u16]| ImageBuffer::from_fn(values.len() as u32, 1, |x, _| Luma([values[x as usize]]));
    let (opencv, pillow) = (MaskReader::OpenCv, MaskReader::Pillow);
    for ending in ["png", "tif"] {
        let wide = row(&[0, 256, 257, 300, 32767, 32768, 40000, 65535]);
        let wide = folder.write(&format!("wide.{ending}"), DynamicImage::ImageLuma16(wide));
        assert_eq!(by(opencv, &wide), [0, 1, 1, 1, 127, 128, 156, 255], "{ending}");
        assert_eq!(by(pillow, &wide), [0, 255, 255, 255, 255, 255, 255, 255], "{ending}");
        let small = row(&[0, 1, 2, 100, 127, 128, 200, 255]);
        let small = folder.write(&format!("small.{ending}"), DynamicImage::ImageLuma16(small));
        assert_eq!(by(opencv, &small), [0; 8], "{ending}");
        assert_eq!(by(pillow, &small), [0, 1, 2, 100, 127, 128, 200, 255], "{ending}");
    }
    let levels = [0u8, 1, 2, 100, 127, 128, 200, 255];
    let colour = RgbImage::from_fn(8, 1, |x, _| Rgb([levels[x as usize], 0, levels[7 - x as usize]]));
    let colour = folder.write("colour.png", colour);
    assert_eq!(by(opencv, &colour), [29, 23, 15, 44, 49, 38, 59, 76]);
    assert_eq!(by(pillow, &colour), [29, 23, 15, 44, 49, 38, 60, 76]);
    let rgb16 = [0u16, 256, 300, 32768, 65535, 1, 255, 128];
    let rgb16 = ImageBuffer::from_fn(8, 1, |x, _| Rgb([rgb16[x as usize]; 3]));
    let rgb16 = folder.write("rgb16.png", DynamicImage::ImageRgb16(rgb16));
    let alpha = ImageBuffer::from_fn(8, 1, |x, _| LumaA([200, levels[x as usize]]));
    let alpha = folder.write("alpha.png", DynamicImage::ImageLumaA8(alpha));
    for reader in [opencv, pillow] {
        assert_eq!(by(reader, &rgb16), [0, 1, 1, 128, 255, 0, 0, 0], "{reader:?}");
        assert_eq!(by(reader, &alpha), [200; 8], "{reader:?}");
    }
}

/// A palette PNG of 8 bits, 3x2, with an `eXIf` chunk of orientation 6.
fn turned_palette(colours: &[[u8; 3]], indices: [u8; 6]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 3, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(colours.concat());
    let mut writer = encoder.write_header().unwrap();
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    writer.write_chunk(png::chunk::eXIf, exif).unwrap();
    writer.write_image_data(&indices).unwrap();
    writer.finish().unwrap();
    out
}

#[test]
fn palettes_turned_by_exif() {
    let folder = Folder::new();
    let path = folder.0.path().join("turned.png");
    // 1 0 0      the first row becomes the last column: 0 1
    // 0 0 2                                             0 0
    let shown = [0, 255, 0, 0, 255, 0]; //               2 0
    for (colours, meaning) in [
        (vec![[0, 0, 0], [128, 0, 0], [0, 128, 0]], Meaning::Palette),
        // the first colour twice
        (vec![[0, 0, 0], [128, 0, 0], [0, 128, 0], [0, 0, 0]], Meaning::Palette),
        (vec![[200, 9, 9], [128, 0, 0], [0, 128, 0]], Meaning::Palette),
    ] {
        std::fs::write(&path, turned_palette(&colours, [1, 0, 0, 0, 0, 2])).unwrap();
        assert_eq!(read(&path, MaskRole::Truth), (meaning, shown.to_vec()), "{colours:?}");
        let labels = seg_data::labels::load(&path, &DecodeLimits::default()).unwrap().unwrap();
        assert_eq!((labels.dimensions(), labels.into_raw()), ((2, 3), vec![0, 1, 0, 0, 2, 0]), "{colours:?}");
    }
    // black is another index: all but black
    let colours = [[9, 200, 9], [0, 0, 0], [0, 128, 0]];
    std::fs::write(&path, turned_palette(&colours, [1, 0, 0, 0, 0, 2])).unwrap();
    assert_eq!(read(&path, MaskRole::Truth), (Meaning::Colours, vec![255, 0, 255, 255, 255, 255]));
}

#[test]
fn prompts_with_nothing_or_everything_inside() {
    let file = |levels: Vec<u8>| {
        let mut out = std::io::Cursor::new(Vec::new());
        GrayImage::from_raw(4, 2, levels).unwrap().write_to(&mut out, ImageFormat::Png).unwrap();
        out.into_inner()
    };
    let limits = DecodeLimits::default();
    for levels in [vec![0; 8], vec![0, 10, 20, 40, 60, 80, 100, 120]] {
        let error = decode_mask(&file(levels), "m.png", &limits).unwrap_err();
        assert!(matches!(error, DataError::NothingInside { .. }) && error.to_string().contains("m.png"), "{error}");
    }
    let all = decode_mask(&file(vec![255; 8]), "m.png", &limits).unwrap();
    assert!(all.notes.iter().any(|note| note.contains("whole image")), "{:?}", all.notes);
    let one = decode_mask(&file(vec![0, 1, 0, 1, 0, 0, 0, 1]), "m.png", &limits).unwrap();
    assert_eq!((one.levels.into_raw(), one.notes.len()), (vec![0, 255, 0, 255, 0, 0, 0, 255], 1));
    // the same for masks that a program hands over
    let held = |levels: &[u8]| inside::binary(&GrayImage::from_raw(4, 1, levels.to_vec()).unwrap());
    assert_eq!(held(&[0, 1, 1, 0]).unwrap(), [0, 1, 1, 0]);
    assert_eq!(held(&[0, 127, 128, 255]).unwrap(), [0, 0, 1, 1]);
    assert!(held(&[0; 4]).is_err());
}

#[test]
fn a_photos_transparency_is_kept() {
    let folder = Folder::new();
    let photo = ImageBuffer::from_fn(6, 2, |x, _| Rgba([50, 60, 70, if x < 2 { 0 } else { 255 }]));
    let path = folder.write("photo.png", DynamicImage::ImageRgba8(photo));
    let loaded = load_image(&path, &DecodeLimits::default()).unwrap();
    let alpha = loaded.alpha.expect("transparent pixels");
    let shown = seg_data::render::within_alpha(&GrayImage::from_pixel(6, 2, Luma([200])), &alpha).unwrap();
    assert_eq!(shown.into_raw(), [0, 0, 200, 200, 200, 200].repeat(2));
    let opaque = folder.write("opaque.png", RgbImage::new(2, 2));
    assert!(load_image(&opaque, &DecodeLimits::default()).unwrap().alpha.is_none());
}
