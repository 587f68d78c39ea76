//! Pictures that other words than EXIF's alone turn: files that `data/make_orientation.py` made, with how Pillow 13.0's `exif_transpose` and
//! OpenCV 4.14 turn them.
#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod common;

use common::data;
use seg_data::{DecodeLimits, MaskReader, MaskRole, load_image, load_levels};

/// File, orientation by Pillow, by OpenCV.
const FILES: [(&str, u8, u8); 17] = [
    ("xmp8.jpg", 8, 1),
    ("xmp_element3.jpg", 3, 1),
    ("exif1_xmp6.jpg", 1, 1),
    ("exif_other_xmp6.jpg", 6, 1),
    ("xmp0.jpg", 1, 1),
    ("raw_profile6.png", 6, 1),
    ("raw_profile6_plain.png", 6, 1),
    ("raw_profile6_behind.png", 6, 1),
    ("raw_profile_app1.png", 1, 1),
    ("exif3_raw_profile6.png", 3, 3),
    ("xmp8.png", 8, 1),
    ("xmp5_packed.png", 5, 1),
    ("exif_other_xmp7.png", 7, 1),
    ("xmp6.webp", 6, 1),
    ("exif8_animated.webp", 8, 8),
    ("xmp6.tif", 6, 1),
    ("tag3_xmp6.tif", 3, 3),
];

/// The picture is 24x16: 20, 90, 240 above 150, 60, 200; what its first and last corners are after a turn.
fn corners(orientation: u8) -> (bool, [u8; 2]) {
    match orientation {
        1 => (false, [20, 200]),
        2 => (false, [240, 150]),
        3 => (false, [200, 20]),
        4 => (false, [150, 240]),
        5 => (true, [20, 200]),
        6 => (true, [150, 240]),
        7 => (true, [200, 20]),
        _ => (true, [240, 150]),
    }
}

#[track_caller]
fn is_turned(name: &str, (width, height): (u32, u32), levels: &[u8], orientation: u8) {
    let (upright, corners) = corners(orientation);
    assert_eq!((width, height), if upright { (16, 24) } else { (24, 16) }, "{name}");
    let found = [levels[0], levels[levels.len() - 1]];
    assert!(found.iter().zip(corners).all(|(a, b)| a.abs_diff(b) < 20), "{name}: {found:?}, expected {corners:?}");
}

#[test]
fn photos_are_turned_as_by_pillow() {
    for (name, pillow, _) in FILES {
        let photo = load_image(data("orientation").join(name), &DecodeLimits::default()).unwrap();
        let levels: Vec<u8> = photo.image.pixels().map(|p| p.0[0]).collect();
        is_turned(name, photo.dimensions(), &levels, pillow);
        assert_eq!(photo.orientation.to_exif(), pillow, "{name}");
    }
}

#[test]
fn masks_are_turned_as_by_opencv_where_a_protocol_reads_with_it() {
    for (name, pillow, opencv) in FILES {
        for (reader, expected) in [(MaskReader::OpenCv, opencv), (MaskReader::Meaning, pillow)] {
            let path = data("orientation").join(name);
            let mask = load_levels(&path, MaskRole::Prediction, reader, &DecodeLimits::default()).unwrap();
            is_turned(name, mask.levels.dimensions(), mask.levels.as_raw(), expected);
        }
    }
}
