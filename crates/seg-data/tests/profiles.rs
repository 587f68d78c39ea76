//! Colour profiles: found in every format, converted as LittleCMS does (`data/make_profiles.py`), kept in what is written.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{data, table};
use image::RgbImage;
use seg_data::output::png_with_profile;
use seg_data::{DecodeLimits, LoadedImage, decode_image, load_image};

/// Two conversions round in other places.
const LEVELS: u8 = 1;

fn load(name: &str) -> LoadedImage {
    load_image(data("profiles").join(name), &DecodeLimits::default()).unwrap()
}

/// The middle pixels of the picture's fields of 8x8.
fn fields(image: &RgbImage) -> Vec<u8> {
    (0..4).flat_map(|y| (0..6).flat_map(move |x| image.get_pixel(8 * x + 4, 8 * y + 4).0)).collect()
}

#[test]
fn colours_in_srgb_equal_little_cms() {
    for row in table("cms_profiles.txt") {
        let loaded = load(&row[0]);
        let expected: Vec<u8> = row[2..].iter().map(|v| v.parse().unwrap()).collect();
        if row[1] == "-" {
            assert!(loaded.to_srgb().is_none(), "{}: {:?}", row[0], loaded.profile);
            assert_eq!(fields(&loaded.image), expected, "{}", row[0]);
            continue;
        }
        let profile = loaded.profile.as_ref().unwrap();
        assert_eq!(profile.name().replace(' ', "_"), row[1], "{}", row[0]);
        assert!(!profile.is_srgb());
        let found = fields(&loaded.to_srgb().unwrap());
        let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= LEVELS, "{}: {worst} levels: {found:?}", row[0]);
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
}

#[test]
fn a_profile_that_cannot_be_used_is_said() {
    for (name, said) in [("part_missing.jpg", "colour profile is damaged"), ("cicp_pq.png", "of high dynamic range")] {
        let loaded = load(name);
        assert!(loaded.profile.is_none());
        assert!(loaded.notes.len() == 1 && loaded.notes[0].contains(said), "{name}: {:?}", loaded.notes);
    }
    assert!(load("none.png").profile.is_none() && load("none.png").notes.is_empty());
    assert!(load("srgb.jpg").profile.unwrap().is_srgb());
}

#[test]
fn what_is_written_keeps_the_profile() {
    let loaded = load("p3.jpg");
    let written = png_with_profile(&loaded.image, loaded.profile.as_ref()).unwrap();
    let again = decode_image(&written, "written", &DecodeLimits::default()).unwrap();
    assert_eq!(again.image, loaded.image);
    assert_eq!(again.profile.unwrap().icc(), loaded.profile.unwrap().icc());
}

/// A damaged or hostile profile costs the profile, not the picture.
#[test]
fn damaged_profiles_cost_nothing_else() {
    let file = std::fs::read(data("profiles/p3.tif")).unwrap();
    let whole = load("p3.tif").image;
    let start = file.windows(4).position(|w| w == b"acsp").unwrap() - 36;
    for at in (0..600).step_by(7) {
        let mut damaged = file.clone();
        damaged[start + at] ^= 0x5a;
        let loaded = decode_image(&damaged, "damaged", &DecodeLimits::default()).unwrap();
        assert_eq!(loaded.image, whole);
        let _ = loaded.to_srgb();
    }
}
