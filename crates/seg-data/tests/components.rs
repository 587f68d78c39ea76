//! Components against a flood fill, and SAM 2's clean-up of logits.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::bytes;
use seg_data::components::{clean_logits, components, fill_holes, remove_sprinkles, small_components};

/// Flood fill in raster order with an explicit stack: slow and plain.
fn flood(mask: &[u8], w: usize, h: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut labels, mut areas) = (vec![0u32; mask.len()], Vec::new());
    for start in 0..mask.len() {
        if mask[start] == 0 || labels[start] != 0 {
            continue;
        }
        areas.push(0);
        let label = areas.len() as u32;
        labels[start] = label;
        let mut stack = vec![start];
        while let Some(i) = stack.pop() {
            areas[label as usize - 1] += 1;
            let (x, y) = (i % w, i / w);
            for ny in y.saturating_sub(1)..(y + 2).min(h) {
                for nx in x.saturating_sub(1)..(x + 2).min(w) {
                    let n = ny * w + nx;
                    if mask[n] != 0 && labels[n] == 0 {
                        labels[n] = label;
                        stack.push(n);
                    }
                }
            }
        }
    }
    (labels, areas)
}

#[test]
fn labels_and_areas_equal_a_flood_fill() {
    for (seed, (w, h)) in [(1, 1), (1, 40), (40, 1), (2, 2), (17, 23), (64, 64), (100, 37)].into_iter().enumerate() {
        for density in [0u8, 20, 60, 90, 105, 128, 200, 255] {
            let noise = bytes(seed as u64 * 1000 + u64::from(density), w * h);
            let mask: Vec<u8> = noise.iter().map(|&v| u8::from(v < density) * 7).collect();
            let (labels, areas) = flood(&mask, w, h);
            let found = components(&mask, w as u32, h as u32).unwrap();
            assert_eq!((&found.labels, &found.areas), (&labels, &areas), "{w}x{h} at {density}");
            let small = small_components(&mask, w as u32, h as u32, 5).unwrap();
            let expected: Vec<u8> =
                labels.iter().map(|&l| u8::from(l > 0 && areas[l.max(1) as usize - 1] <= 5)).collect();
            assert_eq!(small, expected);
        }
    }
}

#[test]
fn spirals_and_combs_are_one_component() {
    // a comb joined only at its last row, and a diagonal: the cases where labels must be merged late
    let (w, h) = (31u32, 9u32);
    let comb: Vec<u8> = (0..w * h).map(|i| u8::from(i / w == h - 1 || (i % w) % 2 == 0)).collect();
    let found = components(&comb, w, h).unwrap();
    assert_eq!((found.len(), found.largest()), (1, Some(1)));
    let diagonal: Vec<u8> = (0..81).map(|i| u8::from(i % 9 == 8 - i / 9)).collect();
    assert_eq!(components(&diagonal, 9, 9).unwrap().areas, [9]);
    assert!(components(&[0; 12], 4, 3).unwrap().is_empty());
    assert!(components(&[0; 11], 4, 3).is_err());
}

/// 12x8 logits: -1 outside; a frame of 2 with a hole of 2 pixels (one touching the other by a corner), a far sprinkle.
fn scene() -> Vec<f32> {
    let mut logits = vec![-1.0; 12 * 8];
    for y in 1..6 {
        for x in 1..7 {
            logits[y * 12 + x] = 2.0;
        }
    }
    logits[2 * 12 + 3] = 0.0; // equal to the threshold counts as background
    logits[3 * 12 + 4] = -3.0;
    logits[6 * 12 + 10] = 5.0;
    logits
}

#[test]
fn holes_are_filled_up_to_the_area() {
    let mut logits = scene();
    assert_eq!(fill_holes(&mut logits, 12, 8, 0.0, 1, 0.1).unwrap(), 0);
    assert_eq!(logits, scene());
    assert_eq!(fill_holes(&mut logits, 12, 8, 0.0, 2, 0.1).unwrap(), 2);
    let mut expected = scene();
    expected[2 * 12 + 3] = 0.1;
    expected[3 * 12 + 4] = 0.1;
    assert_eq!(logits, expected);
    assert_eq!(remove_sprinkles(&mut logits, 12, 8, 0.0, 1, -10.0).unwrap(), 1);
    assert_eq!(logits[6 * 12 + 10], -10.0);
}

#[test]
fn the_image_predictor_judges_both_by_the_logits_as_given() {
    let mut logits = scene();
    clean_logits(&mut logits, 12, 8, 0.0, 8, 1).unwrap();
    assert_eq!((logits[2 * 12 + 3], logits[3 * 12 + 4], logits[6 * 12 + 10]), (10.0, 10.0, -10.0));
    // A ring of 8 around a hole of 1: both are small, so each becomes the other; filling first would save the ring.
    let mut ring = vec![-1.0f32; 7 * 7];
    for i in [16, 17, 18, 23, 25, 30, 31, 32] {
        ring[i] = 1.0;
    }
    let before = ring.clone();
    clean_logits(&mut ring, 7, 7, 0.5, 8, 8).unwrap();
    for (i, (&new, &old)) in ring.iter().zip(&before).enumerate() {
        let expected = if old == 1.0 {
            -9.5
        } else if i == 24 {
            10.5
        } else {
            -1.0
        };
        assert_eq!(new, expected, "{i}");
    }
    clean_logits(&mut ring, 7, 7, 0.0, 0, 0).unwrap();
    assert!(clean_logits(&mut ring, 7, 6, 0.0, 1, 1).is_err());
}
