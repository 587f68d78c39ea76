//! Label maps: DAVIS's colours, and numbers that come back.

use image::GrayImage;
use seg_data::output::{Overwrite, write_png};
use seg_data::{DecodeLimits, labels};

#[test]
fn colours_of_davis() {
    let palette = labels::palette();
    assert_eq!(&palette[..4], &[[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]);
    assert_eq!((palette[8], palette[22], palette[255]), ([64, 0, 0], [0, 192, 128], [224, 224, 192]));
}

#[test]
fn labels_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let map = GrayImage::from_fn(7, 3, |x, y| [(x * 40 + y) as u8].into());
    let path = dir.path().join("labels.png");
    std::fs::write(&path, labels::png(&map).unwrap()).unwrap();
    assert_eq!(labels::load(&path, &DecodeLimits::default()).unwrap(), Some(map));
    let limits = DecodeLimits { max_pixels: 20, ..DecodeLimits::default() };
    assert!(labels::load(&path, &limits).unwrap_err().to_string().contains("7x3"));
    write_png(dir.path().join("grey.png"), &GrayImage::new(2, 2), Overwrite::Refuse).unwrap();
    assert_eq!(labels::load(dir.path().join("grey.png"), &DecodeLimits::default()).unwrap(), None);
}

#[test]
fn packed_labels() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("packed.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 5, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(labels::palette()[..4].concat());
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0b0001_1011, 0b0100_0000, 0b1111_0000, 0b1000_0000]).unwrap();
    writer.finish().unwrap();
    let map = labels::load(&path, &DecodeLimits::default()).unwrap().unwrap();
    assert_eq!(map.into_raw(), [0, 1, 2, 3, 1, 3, 3, 0, 0, 2]);
}
