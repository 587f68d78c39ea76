//! COCO RLE against values from pycocotools, round trips, hostile strings.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{bytes, table};
use proptest::prelude::*;
use seg_data::Rle;
use seg_data::rle::CocoRle;

fn mask(kind: &str, w: u32, h: u32) -> Vec<u8> {
    let noise = bytes(u64::from(w * 1000 + h), (w * h) as usize);
    let (iw, ih) = (i64::from(w), i64::from(h));
    let radius = iw.min(ih) * 2 / 3;
    let inside = |x: i64, y: i64| match kind {
        "empty" => false,
        "full" => true,
        "checker" => (x + y) % 2 == 0,
        "disc" => (2 * x - iw).pow(2) + (2 * y - ih).pow(2) < radius * radius,
        "noise" => noise[(y * iw + x) as usize] < 128,
        "band" => x >= iw / 3 && x < 2 * iw / 3,
        other => panic!("{other}"),
    };
    (0..ih).flat_map(|y| (0..iw).map(move |x| (x, y))).map(|(x, y)| u8::from(inside(x, y))).collect()
}

#[test]
fn polygons_are_filled_as_pycocotools_fills_them() {
    let text = std::fs::read_to_string(common::data("coco_polygons.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let size: [u32; 2] = serde_json::from_value(case["size"].clone()).unwrap();
        let polygons: Vec<Vec<f64>> = serde_json::from_value(case["polygons"].clone()).unwrap();
        let masks: Vec<Rle> = polygons.iter().map(|xy| Rle::from_polygon(xy, size[0], size[1]).unwrap()).collect();
        let strings: Vec<String> = masks.iter().map(Rle::to_compressed).collect();
        assert_eq!(serde_json::json!(strings), case["each"], "{polygons:?}");
        assert_eq!(Rle::union(&masks).unwrap().to_compressed(), case["all"], "{polygons:?}");
    }
    let wrong = |xy: &[f64]| Rle::from_polygon(xy, 20, 20).unwrap_err().to_string();
    assert!(wrong(&[1., 1., 5., 5.]).contains("4 coordinates") && wrong(&[1.; 7]).contains("7 coordinates"));
    assert!(
        wrong(&[1., 1., 5., f64::NAN, 3., 3.]).contains("NaN") && wrong(&[1., 1., 5., 2e6, 3., 3.]).contains("2000000")
    );
    assert!(Rle::union(&[]).is_err());
    assert!(Rle::union(&[Rle::encode(&[0; 4], 2, 2).unwrap(), Rle::encode(&[0; 4], 4, 1).unwrap()]).is_err());
}

#[test]
fn strings_areas_boxes_and_ious_equal_pycocotools() {
    let rows = table("coco_rle.txt");
    assert_eq!(rows.len(), 38);
    for row in rows {
        let (kind, w, h) = (row[0].as_str(), row[1].parse().unwrap(), row[2].parse().unwrap());
        let pixels = mask(kind, w, h);
        let rle = Rle::encode(&pixels, w, h).unwrap();
        assert_eq!(rle.to_compressed(), row[6], "{kind} {w}x{h}");
        assert_eq!(rle.area().to_string(), row[3]);
        assert_eq!(rle.bbox().map(|v| v.to_string()).join(","), row[4], "{kind} {w}x{h}");
        let disc = Rle::encode(&mask("disc", w, h), w, h).unwrap();
        let iou: f64 = row[5].parse().unwrap();
        assert_eq!(rle.iou(&disc).unwrap(), iou, "{kind} {w}x{h}");
        let read = Rle::from_string(&row[6], w, h).unwrap();
        assert_eq!((read.decode(), read), (pixels, rle));
    }
}

#[test]
fn the_json_form_is_that_of_coco() {
    let rle = Rle::encode(&mask("disc", 12, 9), 12, 9).unwrap();
    let json = serde_json::to_string(&rle.to_coco()).unwrap();
    assert!(json.starts_with(r#"{"size":[9,12],"counts":""#), "{json}");
    let back: CocoRle = serde_json::from_str(&json).unwrap();
    assert_eq!(Rle::from_coco(&back).unwrap(), rle);
}

#[test]
fn malformed_encodings_are_refused_with_the_reason() {
    let reason = |s: &str, w, h| Rle::from_string(s, w, h).unwrap_err().to_string();
    assert!(reason("/", 4, 4).contains("expected 48 to 111"));
    assert!(reason("é", 4, 4).contains("expected 48 to 111"));
    assert!(reason("P", 4, 4).contains("middle of a number"));
    assert!(reason("oooooooooooooooo0", 4, 4).contains("too long"));
    assert!(reason("1", 4, 4).contains("add up to 1, expected 4x4 = 16"));
    assert!(reason("@0", 4, 4).contains("run 0 is -16"));
    assert!(reason("a0", 4, 4).contains("run 0 is 17, 16 remain"));
    assert!(reason("0", u32::MAX, u32::MAX).contains("at most"));
    assert!(Rle::from_counts(vec![u32::MAX; 3], 4, 4).is_err());
    assert!(Rle::encode(&[0; 5], 2, 3).is_err());
    let (a, b) = (Rle::encode(&[1; 6], 2, 3).unwrap(), Rle::encode(&[1; 6], 3, 2).unwrap());
    assert!(a.iou(&b).is_err());
}

#[test]
fn runs_of_length_zero_and_masks_without_pixels_are_harmless() {
    let rle = Rle::from_counts(vec![0, 0, 3, 0, 1, 2], 2, 3).unwrap();
    assert_eq!((rle.area(), rle.bbox()), (2, [1, 1, 1, 2]));
    assert_eq!(rle.decode(), [0, 0, 0, 1, 0, 1]);
    let none = Rle::encode(&[], 0, 7).unwrap();
    assert_eq!((none.area(), none.bbox(), none.decode().len()), (0, [0; 4], 0));
    assert_eq!(Rle::from_string(&none.to_compressed(), 0, 7).unwrap(), none);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masks_survive_the_round_trip(w in 1u32..150, h in 1u32..90, seed: u64, density in 0u8..=255) {
        let pixels: Vec<u8> = bytes(seed, (w * h) as usize).iter().map(|&v| u8::from(v < density)).collect();
        let rle = Rle::encode(&pixels, w, h).unwrap();
        prop_assert_eq!(rle.area(), pixels.iter().map(|&v| u64::from(v)).sum::<u64>());
        prop_assert_eq!(&Rle::from_string(&rle.to_compressed(), w, h).unwrap(), &rle);
        prop_assert_eq!(&Rle::from_counts(rle.counts().to_vec(), w, h).unwrap(), &rle);
        let full = Rle::encode(&vec![1; pixels.len()], w, h).unwrap();
        prop_assert_eq!(rle.intersection(&full).unwrap(), rle.area());
        prop_assert_eq!(rle.decode(), pixels);
    }

    #[test]
    fn any_string_is_an_error_or_a_sound_mask(s in "[0-o]{0,40}|.{0,20}", w in 0u32..2000, h in 0u32..2000) {
        if let Ok(rle) = Rle::from_string(&s, w, h) {
            let sum: u64 = rle.counts().iter().map(|&c| u64::from(c)).sum();
            prop_assert_eq!(sum, u64::from(w) * u64::from(h));
            prop_assert_eq!(rle.decode().iter().map(|&v| u64::from(v)).sum::<u64>(), rle.area());
        }
    }
}
