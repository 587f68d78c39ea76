//! Extents, distances and Otsu's threshold.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use seg_data::geometry::{distance, extent};
use seg_data::mask::otsu_threshold;

/// A mask of up to 17 × 13 pixels with few pixels inside.
fn masks() -> impl Strategy<Value = (u32, u32, Vec<u8>)> {
    (1u32..18, 1u32..14).prop_flat_map(|(w, h)| {
        let pixel = prop_oneof![6 => Just(0u8), 1 => Just(255u8)];
        (Just(w), Just(h), proptest::collection::vec(pixel, (w * h) as usize))
    })
}

proptest! {
    #[test]
    fn extents_and_distances_as_by_trying_all((w, h, mask) in masks()) {
        let inside: Vec<(u32, u32)> =
            (0..w * h).filter(|&i| mask[i as usize] != 0).map(|i| (i % w, i / w)).collect();
        let expected = (!inside.is_empty()).then(|| [
            inside.iter().map(|p| p.0).min().unwrap(),
            inside.iter().map(|p| p.1).min().unwrap(),
            inside.iter().map(|p| p.0).max().unwrap() + 1,
            inside.iter().map(|p| p.1).max().unwrap() + 1,
        ]);
        prop_assert_eq!(extent(&mask, w, h).unwrap(), expected);
        for (i, d) in distance(&mask, w, h).unwrap().into_iter().enumerate() {
            let (x, y) = (i as u32 % w, i as u32 / w);
            let nearest = inside.iter().map(|p| f64::from(p.0.abs_diff(x).pow(2) + p.1.abs_diff(y).pow(2)).sqrt());
            let expected = nearest.fold(f64::INFINITY, f64::min) as f32;
            prop_assert!(d == expected, "({}, {}): {} expected {}", x, y, d, expected);
        }
    }
}

#[test]
fn a_length_that_does_not_fit_is_refused() {
    let text = distance(&[0; 5], 2, 3).unwrap_err().to_string();
    assert!(text.contains('5') && text.contains("2x3"), "{text}");
    assert!(extent(&[0; 5], 2, 3).is_err());
}

#[test]
fn otsu_splits_two_heaps() {
    // as cv2.threshold(v, 0, 255, THRESH_OTSU) answers
    let heaps: Vec<u8> = [vec![10; 50], vec![12; 50], vec![200; 30], vec![210; 20]].concat();
    assert_eq!(otsu_threshold(&heaps), 12);
    assert_eq!(otsu_threshold(&[0, 0, 0, 255]), 0);
    assert_eq!(otsu_threshold(&[7; 9]), 0);
    assert_eq!(otsu_threshold(&[]), 0);
    let ramp: Vec<u8> = (0..=255).collect();
    assert_eq!(otsu_threshold(&ramp), 127);
}
