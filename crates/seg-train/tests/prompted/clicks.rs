//! The next click against the same, pixel by pixel.

use seg_data::training::{Dice, Place};
use seg_models::pi_sam::SimulatedClick;
use seg_train::Result;
use seg_train::clicks::{Aim, next_click};

const SIDE: usize = 24;

/// The same, pixel by pixel: erosion, then flooding from every pixel, the first of the largest.
fn naive(logits: &[f32], labels: &[f32]) -> Option<(Vec<usize>, bool)> {
    let regions = |missing: bool, eroded: bool| -> Vec<Vec<usize>> {
        let wrong = |r: i32, c: i32| {
            if !(0..SIDE as i32).contains(&r) || !(0..SIDE as i32).contains(&c) {
                return false;
            }
            let at = r as usize * SIDE + c as usize;
            (logits[at] > 0.) != (labels[at] > 128.) && (labels[at] > 128.) == missing
        };
        let set = |r: i32, c: i32| match eroded {
            true => (-1..=1).all(|dr| (-1..=1).all(|dc| wrong(r + dr, c + dc))),
            false => wrong(r, c),
        };
        let mut seen = vec![false; SIDE * SIDE];
        let mut all = Vec::new();
        for start in 0..SIDE * SIDE {
            let mut region = Vec::new();
            let mut open = vec![((start / SIDE) as i32, (start % SIDE) as i32)];
            while let Some((r, c)) = open.pop() {
                if !set(r, c) || std::mem::replace(&mut seen[r as usize * SIDE + c as usize], true) {
                    continue;
                }
                region.push(r as usize * SIDE + c as usize);
                open.extend((-1..=1).flat_map(|dr| (-1..=1).map(move |dc| (r + dr, c + dc))));
            }
            region.sort_unstable();
            all.extend((region.len() >= 2).then_some(region));
        }
        all
    };
    [true, false].into_iter().find_map(|eroded| {
        let both = [true, false]
            .into_iter()
            .flat_map(|missing| regions(missing, eroded).into_iter().map(move |r| (r, missing)));
        both.reduce(|best, next| if next.0.len() > best.0.len() { next } else { best })
    })
}

/// A few rectangles, of the label and of the mask; every seventh scene is right but for a piece of a row.
fn scene(index: u64) -> (Vec<f32>, Vec<f32>) {
    let mut dice = Dice::new(Place { seed: 9, epoch: 0, index }, "scene");
    let mut draw = |inside: f32, outside: f32, count: u64| {
        let mut map = vec![outside; SIDE * SIDE];
        for _ in 0..count {
            let (r, c) = (dice.below(20) as usize, dice.below(20) as usize);
            let (h, w) = (1 + dice.below(12) as usize, 1 + dice.below(12) as usize);
            for row in r..(r + h).min(SIDE) {
                map[row * SIDE + c..row * SIDE + (c + w).min(SIDE)].fill(inside);
            }
        }
        map
    };
    let labels = draw(255., 0., 3);
    if !index.is_multiple_of(7) {
        return (draw(3., -3., index % 4), labels);
    }
    let mut logits: Vec<f32> = labels.iter().map(|&label| if label > 128. { 3. } else { -3. }).collect();
    let (start, length) = (dice.below(SIDE as u64) as usize * SIDE, 2 + dice.below(15) as usize);
    logits[start..start + length].iter_mut().for_each(|logit| *logit = -*logit);
    (logits, labels)
}

#[test]
fn as_pixel_by_pixel() -> Result<()> {
    let size = (SIDE as u32, SIDE as u32);
    let mut thin = 0;
    for index in 0..200 {
        let (logits, labels) = scene(index);
        let mut dice = Dice::new(Place { seed: 1, epoch: 0, index }, "click");
        let click = next_click(&logits, &labels, size, Aim::Anywhere(&mut dice))?;
        let middle = next_click(&logits, &labels, size, Aim::Middle)?;
        let Some((region, missing)) = naive(&logits, &labels) else {
            assert!(click.is_none() && middle.is_none(), "{index}");
            continue;
        };
        thin += usize::from(index.is_multiple_of(7));
        let inside = |click: SimulatedClick| region.contains(&(click.row * SIDE + click.column));
        assert!(click.is_some_and(|c| inside(c) && c.foreground == missing), "{index}: {click:?} {region:?}");
        // nothing is farther from what is not in the region
        let depth = |r: usize, c: usize| {
            let out = |r2: i32, c2: i32| {
                let within = (0..SIDE as i32).contains(&r2) && (0..SIDE as i32).contains(&c2);
                !within || !region.contains(&(r2 as usize * SIDE + c2 as usize))
            };
            let to = |r2: i32, c2: i32| (r as i32 - r2).pow(2) + (c as i32 - c2).pow(2);
            let all = (-1..=SIDE as i32).flat_map(|r2| (-1..=SIDE as i32).map(move |c2| (r2, c2)));
            all.filter(|&(r2, c2)| out(r2, c2)).map(|(r2, c2)| to(r2, c2)).min()
        };
        let best = region.iter().map(|at| depth(at / SIDE, at % SIDE)).max();
        assert_eq!(middle.map(|c| depth(c.row, c.column)), best, "{index}: {middle:?}");
    }
    assert!(thin > 0, "no scene is wrong in a thin line alone");
    Ok(())
}

#[test]
fn every_pixel_of_the_region_is_clicked() -> Result<()> {
    let labels: Vec<f32> = (0..100).map(|at| if (33..37).contains(&at) { 255. } else { 0. }).collect();
    let mut hit = std::collections::BTreeSet::new();
    for index in 0..100 {
        let mut dice = Dice::new(Place { seed: 2, epoch: 0, index }, "click");
        let click = next_click(&[-1.; 100], &labels, (10, 10), Aim::Anywhere(&mut dice))?;
        hit.extend(click.map(|c| c.row * 10 + c.column));
    }
    assert_eq!(hit.into_iter().collect::<Vec<_>>(), [33, 34, 35, 36]);
    assert!(next_click(&[-1.; 100], &[0.; 100], (10, 10), Aim::Middle)?.is_none());
    assert!(next_click(&[-1.; 99], &[0.; 100], (10, 10), Aim::Middle).is_err());
    Ok(())
}
