//! Pixels as Pillow gives them, orientation, bit depths, mask prompts.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use std::io::Cursor;

use common::{data, fnv, table};
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use seg_data::{
    DecodeLimits, ImageLoader, MaskReader, MaskRole, decode_image, decode_mask, load_image, load_labels, load_levels,
    load_mask,
};

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// JPEG in three samplings, baseline and progressive, grey, CMYK, YCCK; WebP lossy and lossless; PNG of six kinds;
/// BMP, TIFF, GIF.
#[test]
fn pixels_equal_pillow_bit_for_bit() {
    let rows = table("pil_decode.txt");
    assert_eq!(rows.len(), std::fs::read_dir(data("decode")).unwrap().count());
    for row in rows {
        let loaded = load_image(data("decode").join(&row[0]), &limits()).unwrap();
        let (w, h) = loaded.dimensions();
        assert_eq!([w.to_string(), h.to_string(), fnv(loaded.image.as_raw())], row[1..4], "{}", row[0]);
        assert_eq!(loaded.orientation, Orientation::NoTransforms);
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
}

/// Puts an APP1 segment with an EXIF orientation behind the first marker of a JPEG.
fn with_orientation(jpeg: &[u8], value: u8, big_endian: bool) -> Vec<u8> {
    let mut tiff = Vec::new();
    if big_endian {
        tiff.extend(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0");
        tiff.extend([value, 0, 0, 0, 0, 0, 0]);
    } else {
        tiff.extend(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0");
        tiff.extend([value, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut out = jpeg[..2].to_vec();
    let length = (2 + 6 + tiff.len()) as u16;
    out.extend([0xff, 0xe1]);
    out.extend(length.to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(&tiff);
    out.extend(&jpeg[2..]);
    out
}

#[test]
fn a_loader_keeps_memory_and_nothing_else() {
    let mut loader = ImageLoader::new(limits());
    let paths = |folder: &str| {
        let mut all: Vec<_> = std::fs::read_dir(data(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    for path in [paths("jpeg"), paths("decode"), paths("jpeg")].concat() {
        let (alone, loaded) = (load_image(&path, &limits()).unwrap(), loader.load(&path).unwrap());
        assert_eq!(loaded.dimensions(), alone.dimensions(), "{}", path.display());
        assert_eq!(fnv(loaded.image.as_raw()), fnv(alone.image.as_raw()), "{}", path.display());
        assert_eq!((loaded.format, loaded.orientation, &loaded.notes), (alone.format, alone.orientation, &alone.notes));
        loader.give_back(loaded.image);
        assert!(loader.load(data("no such file")).is_err());
    }
    let path = data("jpeg/rst.jpg");
    let first = loader.load(&path).unwrap().image;
    let place = first.as_ptr();
    loader.give_back(first);
    assert_eq!(loader.load(&path).unwrap().image.as_ptr(), place);
}

#[test]
fn all_eight_orientations_are_applied() {
    let jpeg = std::fs::read(data("decode/rgb_444_baseline.jpg")).unwrap();
    let stored = decode_image(&jpeg, "stored", &limits()).unwrap().image;
    let (w, h) = stored.dimensions();
    // where the pixel shown at (x, y) is stored, by the EXIF standard's table of what row 0 and column 0 are
    type Source = fn(u32, u32, u32, u32) -> (u32, u32);
    let expected: [Source; 8] = [
        |x, y, _, _| (x, y),
        |x, y, w, _| (w - 1 - x, y),
        |x, y, w, h| (w - 1 - x, h - 1 - y),
        |x, y, _, h| (x, h - 1 - y),
        |x, y, _, _| (y, x),
        |x, y, _, h| (y, h - 1 - x),
        |x, y, w, h| (w - 1 - y, h - 1 - x),
        |x, y, w, _| (w - 1 - y, x),
    ];
    for (i, source) in expected.into_iter().enumerate() {
        let mask = image::GrayImage::from_fn(w, h, |x, _| Luma([if x < w / 2 { 255 } else { 0 }]));
        let mask = encode(&DynamicImage::ImageLuma8(mask), ImageFormat::Jpeg);
        for big_endian in [false, true] {
            let value = i as u8 + 1;
            let file = with_orientation(&jpeg, value, big_endian);
            let shown = decode_image(&file, "turned", &limits()).unwrap();
            assert_eq!(shown.orientation.to_exif(), value);
            let size = if value >= 5 { (h, w) } else { (w, h) };
            assert_eq!(shown.dimensions(), size, "orientation {value}");
            for (x, y, pixel) in shown.image.enumerate_pixels() {
                let (sx, sy) = source(x, y, w, h);
                assert_eq!(pixel, stored.get_pixel(sx, sy), "orientation {value} at {x},{y}");
            }
            let file = with_orientation(&mask, value, big_endian);
            assert_eq!(decode_mask(&file, "turned", &limits()).unwrap().levels.dimensions(), size);
        }
    }
    for nonsense in [0, 9, 255] {
        let file = with_orientation(&jpeg, nonsense, false);
        assert_eq!(decode_image(&file, "odd", &limits()).unwrap().image, stored);
    }
}

#[test]
fn sixteen_bits_are_rounded_and_alpha_is_dropped() {
    let values = [0u16, 128, 129, 255, 256, 385, 386, 32767, 32768, 65407, 65535];
    let grey = image::ImageBuffer::from_fn(values.len() as u32, 1, |x, _| Luma([values[x as usize]]));
    let file = encode(&DynamicImage::ImageLuma16(grey), ImageFormat::Png);
    let loaded = decode_image(&file, "16.png", &limits()).unwrap().image;
    for (x, &v) in values.iter().enumerate() {
        let expected = (f64::from(v) * 255.0 / 65535.0).round() as u8;
        assert_eq!(loaded.get_pixel(x as u32, 0).0, [expected; 3], "{v}");
    }
    let rgba = image::ImageBuffer::from_pixel(2, 2, Rgba([10u8, 20, 30, 0]));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let file = encode(&DynamicImage::ImageRgba8(rgba.clone()), format);
        assert_eq!(decode_image(&file, "a", &limits()).unwrap().image, RgbImage::from_pixel(2, 2, Rgb([10, 20, 30])));
    }
}

#[test]
fn a_mask_prompt_is_inside_from_128() {
    let grey = image::GrayImage::from_fn(256, 1, |x, _| Luma([x as u8]));
    let file = encode(&DynamicImage::ImageLuma8(grey), ImageFormat::Png);
    let mask = decode_mask(&file, "m.png", &limits()).unwrap().levels;
    for (x, v) in mask.iter().enumerate() {
        assert_eq!(*v, if x >= 128 { 255 } else { 0 });
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.webp");
    std::fs::write(
        &path,
        encode(&DynamicImage::ImageRgb8(RgbImage::from_pixel(5, 4, Rgb([255; 3]))), ImageFormat::WebP),
    )
    .unwrap();
    let mask = load_mask(&path, &limits()).unwrap().levels;
    assert_eq!((mask.dimensions(), mask.iter().all(|&v| v == 255)), ((5, 4), true));
}

#[test]
fn the_content_decides_not_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("really_a_jpeg.png");
    std::fs::copy(data("decode/rgb_420_progressive.jpg"), &path).unwrap();
    assert_eq!(load_image(&path, &limits()).unwrap().format, ImageFormat::Jpeg);
}

#[test]
fn tensors_have_channels_first_and_the_stated_range() {
    use seg_data::tensor::{ValueRange, luma_to_tensor, to_tensor};
    let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, 100 + y as u8, 255]));
    let device = candle_core::Device::Cpu;
    let bytes = to_tensor(&image, ValueRange::Byte, &device).unwrap().to_vec3::<f32>().unwrap();
    assert_eq!(bytes, [[[0., 1., 2.]; 2].to_vec(), vec![[100.; 3], [101.; 3]], [[255.; 3]; 2].to_vec()]);
    let unit = to_tensor(&image, ValueRange::Unit, &device).unwrap().to_vec3::<f32>().unwrap();
    assert_eq!(unit[1][1][2], 101f32 / 255.0);
    let grey = image::GrayImage::from_raw(2, 1, vec![0, 51]).unwrap();
    let tensor = luma_to_tensor(&grey, ValueRange::Unit, &device).unwrap();
    assert_eq!(tensor.to_vec3::<f32>().unwrap(), [[[0.0, 0.2]]]);
}

#[test]
fn gray_as_evaluation_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, image: DynamicImage| {
        let path = dir.path().join(name);
        std::fs::write(&path, encode(&image, ImageFormat::Png)).unwrap();
        path
    };
    let opencv = |path| load_levels(path, MaskRole::Truth, MaskReader::OpenCv, &limits()).unwrap().levels;
    let deep = image::ImageBuffer::from_fn(256, 1, |x, _| Luma([(x as u16) << 8 | 0xff]));
    let path = write("deep.png", DynamicImage::ImageLuma16(deep));
    // the low byte is cut off, not rounded
    assert_eq!(opencv(path).into_raw(), (0..=255).collect::<Vec<u8>>());
    let colour = RgbImage::from_fn(3, 1, |x, _| Rgb([[255, 0, 0], [0, 255, 0], [9, 9, 9]][x as usize]));
    let path = write("colour.png", DynamicImage::ImageRgb8(colour));
    assert_eq!(opencv(path).into_raw(), [76, 149, 9]);
}

#[test]
fn labels_are_palette_indices() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.png");
    for (depth, packed) in [
        (png::BitDepth::Eight, vec![0, 2, 3, 1, 1, 0]),
        (png::BitDepth::Two, vec![0b00_10_11_00, 0b01_01_00_00]),
        (png::BitDepth::Four, vec![0x02, 0x30, 0x11, 0x00]),
    ] {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 3, 2);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200]);
        encoder.write_header().unwrap().write_image_data(&packed).unwrap();
        std::fs::write(&path, out).unwrap();
        assert_eq!(load_labels(&path, &limits()).unwrap().labels.into_raw(), [0, 2, 3, 1, 1, 0], "{depth:?}");
    }
    for (depth, packed, factor) in [(png::BitDepth::Two, 0b10_00_00_00, 85), (png::BitDepth::Eight, 3, 1)] {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(&[packed]).unwrap();
        std::fs::write(&path, out).unwrap();
        let found = load_labels(&path, &limits()).unwrap();
        assert_eq!((found.labels.into_raw(), found.pillow_factor), (vec![packed >> (8 - depth as u8)], factor));
    }
    std::fs::write(&path, encode(&DynamicImage::new_rgb8(2, 2), ImageFormat::Png)).unwrap();
    assert!(load_labels(&path, &limits()).unwrap_err().to_string().contains("palette"));
}
