//! The steps against pixels one by one, and against the distance transform.

use super::squares::{Reach, Squares};
use super::*;
use crate::distance::{Nearest, nearest_features};

const SIZES: [(usize, usize); 7] = [(1, 1), (1, 300), (700, 2), (33, 70), (64, 31), (331, 290), (97, 140)];

/// A random truth with some foreground, one pixel in `one_in`, and a prediction in which some rows have nothing.
fn drawn(width: usize, height: usize, one_in: u64, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut truth: Vec<u8> = (0..width * height).map(|_| if random() % one_in == 0 { 255 } else { 0 }).collect();
    truth[seed as usize % (width * height)] = 255;
    let pixels = (0..width * height).map(|i| if i / width % 5 < 3 { 0 } else { random() as u8 });
    (pixels.collect(), truth)
}

fn nearest(truth: &[u8], width: usize) -> Vec<Nearest> {
    let mut found = vec![Nearest::default(); truth.len()];
    nearest_features(
        truth,
        width,
        |&t| t > 128,
        &mut found,
        |_, features, row| {
            features.visit(0..width, |span, nearest| row[span].fill(nearest));
        },
    );
    found
}

/// Calls `check` for bands of different sizes of drawn images.
fn each(check: impl Fn(&Map<'_, u8>, &[f64], &[Nearest])) {
    for (seed, (width, height)) in SIZES.into_iter().enumerate() {
        for one_in in [2, 9, 80, 2000, 1 << 40] {
            let (pixels, truth) = drawn(width, height, one_in, 11 * seed as u64 + one_in);
            let values: Vec<f64> = (0..256).map(|v| f64::from(v) / 255.).collect();
            let plane = Plane::new(&truth, width, height).unwrap();
            check(&Map::new(&pixels, plane, 129, &values), &values, &nearest(&truth, width));
        }
    }
}

#[test]
fn bands_know_what_is_outside() {
    each(|map, _, _| {
        let (width, height) = (map.truth.width(), map.truth.height());
        let ranges: Vec<_> = (0..height).step_by(7).map(|y| y.saturating_sub(3)..(y + 10).min(height)).collect();
        for (range, outside) in ranges.iter().zip(columns::outside(map.truth, map.first, &ranges)) {
            let holds = |y: usize, x: usize| map.truth.row(y)[x] > 128;
            for x in 0..width {
                let above = (0..range.start).rev().position(|y| holds(y, x)).map_or(255, |n| n.min(255));
                let below = (range.end..height).position(|y| holds(y, x)).map_or(255, |n| n.min(255));
                assert_eq!((usize::from(outside.above[x]), usize::from(outside.below[x])), (above, below));
            }
        }
    });
}

#[test]
fn squares_are_those_of_the_nearest() {
    each(|map, _, nearest| {
        let (width, height) = (map.truth.width(), map.truth.height());
        let (mut row, mut out) = (Squares::new(width), vec![[0; PIECE]; width.div_ceil(PIECE)]);
        // rows that do not follow each other, and pieces that are not wanted
        for y in (0..height).filter(|y| y % 11 < 7) {
            let holds = |y: usize, x: usize| map.truth.row(y)[x] > 128;
            let away = |x: usize| (0..height).filter(|&at| holds(at, x)).map(|at| at.abs_diff(y)).min();
            let away: Vec<u8> = (0..width).map(|x| away(x).map_or(255, |n| n.min(255) as u8)).collect();
            let reach: Vec<_> =
                (0..out.len()).map(|i| [Reach::All, Reach::None, Reach::Close][(i / 2 + y / 3) % 3]).collect();
            out.fill([7; PIECE]);
            row.row(y, &away, &reach, &mut out);
            for x in 0..width {
                let exact = nearest[y * width + x].squared_distance(y, x);
                let found = u64::from(out[x / PIECE][x % PIECE]);
                let right = match reach[x / PIECE] {
                    Reach::None => found == 7,
                    Reach::Close => found == exact || exact > 24 && found >= exact.min(65535),
                    Reach::All => found == exact || exact >= 255 * 255 && found >= exact.min(65535),
                };
                assert!(right, "{width}x{height}, ({x}, {y}), {:?}: {found}, not {exact}", reach[x / PIECE]);
            }
        }
    });
}

#[test]
fn the_nearest_foreground_lends() {
    each(|map, values, nearest| {
        let (width, height) = (map.truth.width(), map.truth.height());
        let mut scratch = carry::Scratch::new(width);
        for band in [0..height, height / 3..(height / 3 + BAND).min(height)] {
            let around = map.around(&band);
            let outside =
                columns::outside(map.truth, map.first, &[0..0, around.clone(), height..height]).swap_remove(1);
            let sum = carry::errors(map, &band, outside, &mut scratch);
            let carried = scratch.carried(map, &band);
            let mut expected = 0.;
            for (y, x) in around.clone().flat_map(|y| (0..width).map(move |x| (y, x))) {
                let i = y * width + x;
                let window = |at: usize, end: usize| at.saturating_sub(HALF)..(at + HALF + 1).min(end);
                let near = window(y, height).any(|y| map.truth.row(y)[window(x, width)].iter().any(|&t| t > 128));
                let from = if near { nearest[i].index(width) } else { i };
                assert_eq!(carried.row(y)[x], map.pixels[from], "{width}x{height}, ({x}, {y})");
                let distance = (nearest[i].squared_distance(y, x) as f64).sqrt();
                if band.contains(&y) && distance > 0. {
                    expected += values[usize::from(map.pixels[i])] * (2. - 0.5f64.powf(distance / 5.));
                }
            }
            assert!((sum - expected).abs() <= 1e-12 * expected, "{width}x{height}: {sum}, not {expected}");
        }
    });
}

#[test]
fn numbered_values_are_filtered_as_levels_are() {
    each(|map, values, _| {
        let (width, height) = (map.truth.width(), map.truth.height());
        let numbers: Vec<u32> = map.pixels.iter().map(|&level| u32::from(level)).collect();
        let other = Map::new(&numbers, map.truth, map.first, values);
        let (mut bytes, mut words) = (carry::Scratch::new(width), carry::Scratch::new(width));
        let (whole, mut rows) = (0..height, filter::Scratch::new());
        let outside = || columns::outside(map.truth, map.first, std::slice::from_ref(&(0..height))).swap_remove(0);
        let sums =
            (carry::errors(map, &whole, outside(), &mut bytes), carry::errors(&other, &whole, outside(), &mut words));
        assert!((sums.0 - sums.1).abs() <= 1e-12 * sums.1, "{width}x{height}: {sums:?}");
        let sums = (
            filter::errors(map, &whole, &bytes.carried(map, &whole), &mut rows),
            filter::errors(&other, &whole, &words.carried(&other, &whole), &mut rows),
        );
        assert!((sums.0 - sums.1).abs() <= 1e-12 * sums.1, "{width}x{height}: {sums:?}");
    });
}
