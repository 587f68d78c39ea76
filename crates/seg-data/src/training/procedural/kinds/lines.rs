//! Things made of bars, threads and wires.

use std::f64::consts::TAU;

use super::Frame;
use crate::training::Dice;
use crate::training::procedural::path::{Path, Point, polar, through};

/// Numbers from -1 to 1 in equal steps.
fn ticks(count: usize) -> impl Iterator<Item = f64> + Clone {
    (0..=count).map(move |i| 2. * i as f64 / count as f64 - 1.)
}

pub(super) fn lattice(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let width = frame.width(dice);
    let count = |dice: &mut Dice, half: f64| {
        let most = (half / (1.5 * width + 2.)).clamp(3., 26.);
        dice.between(3., most + 1.) as usize
    };
    let (columns, rows) = (count(dice, frame.half[0]), count(dice, frame.half[1]));
    let (other, shear) = (frame.width(dice), if dice.chance(0.3) { dice.between(-0.5, 0.5) } else { 0. });
    for u in ticks(columns) {
        // slanted bars end at the sides
        let end = |v: f64| {
            if shear == 0. { v } else { v.signum() * ((v.signum() * shear.signum() - u) / shear).abs().min(1.) }
        };
        let [from, to] = [end(-1.), end(1.)];
        frame.bar(path, [u + shear * from, from], [u + shear * to, to], width);
    }
    for v in ticks(rows) {
        frame.bar(path, [-1., v], [1., v], other);
    }
    if dice.chance(0.5) {
        let border = dice.between(1.5, 4.) * width.max(other);
        let corners = [[-1., -1.], [1., -1.], [1., 1.], [-1., 1.]];
        path.line(&frame.all(corners.into_iter().chain([corners[0], corners[1]])), border);
    }
}

pub(super) fn wires(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let poles = dice.chance(0.4);
    let lanes = 2 + dice.below(6) as usize;
    let ends = if poles { 0.75 } else { 1. };
    let sag = dice.between(0.03, 0.35);
    for lane in ticks(lanes) {
        let (a, b) = (lane * 0.7 - 0.1, lane * 0.7 - 0.1 + dice.between(-0.12, 0.12));
        let (sag, width) = (sag * dice.between(0.8, 1.25), frame.width(dice) * 0.8);
        let hang = |u: f64| [u * ends, a + (b - a) * (u + 1.) / 2. + sag * (1. - u * u)];
        path.stroke(&frame.all(ticks(24).map(hang)), |_| width);
        if dice.chance(0.2) {
            // twisted around it, a thinner one
            let wave = |u: f64| {
                let [x, y] = hang(u);
                [x, y + 0.012 * (u * 60.).sin()]
            };
            path.stroke(&frame.all(ticks(160).map(wave)), |_| (width * 0.6).max(0.8));
        }
    }
    for side in [-ends, ends].into_iter().filter(|_| poles) {
        let wide = dice.between(1.5, 4.) * frame.thin[1];
        frame.bar(path, [side, -1.], [side, 1.], wide);
        for lane in ticks(lanes).step_by(2) {
            let y = lane * 0.7 - 0.1;
            frame.bar(path, [side - 0.12, y], [side + 0.12, y], wide * 0.6);
        }
    }
}

pub(super) fn fence(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    match dice.below(3) {
        0 => pickets(path, frame, dice),
        1 => iron(path, frame, dice),
        _ => mesh(path, frame, dice),
    }
}

fn rails(path: &mut Path, frame: &Frame, heights: &[f64], width: f64) {
    heights.iter().for_each(|&v| frame.bar(path, [-1., v], [1., v], width));
}

fn pickets(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let count = (4 + dice.below(12)) as usize;
    let half = dice.between(0.25, 0.4) * 2. / count as f64;
    let (tip, blunt) = (dice.between(0.03, 0.2), dice.chance(0.3));
    for u in ticks(count) {
        let (top, lean) = (dice.between(-0.97, -0.9), dice.between(-0.01, 0.01));
        let mut board = vec![[u - half, 1.], [u - half + lean, top + tip]];
        board.extend(if blunt { vec![[u - half * 0.5, top], [u + half * 0.5, top]] } else { vec![[u + lean, top]] });
        board.extend([[u + half + lean, top + tip], [u + half, 1.]]);
        path.area(frame.all(board));
    }
    rails(path, frame, &[-0.5, 0.5], frame.half[1] * dice.between(0.06, 0.14));
}

fn iron(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let width = frame.width(dice);
    let count = dice.between(6., (frame.half[0] / (2. * width + 2.)).clamp(8., 40.)) as usize;
    let (spear, hoops) = (dice.between(1.5, 3.) * width, dice.chance(0.4));
    for (i, u) in ticks(count).enumerate() {
        frame.bar(path, [u, -0.9], [u, 1.], width);
        let tip = frame.at([u, -0.9]);
        let point = |x: f64, y: f64| [tip[0] + x * spear, tip[1] + y * spear];
        path.area(vec![point(-0.8, 0.), point(0., -2.2), point(0.8, 0.), point(0., 0.9)]);
        if hoops && i < count && i % 2 == 0 {
            let half = 1. / count as f64;
            let arc = (0..=10).map(|k| {
                let turn = std::f64::consts::PI * f64::from(k) / 10.;
                [u + half - half * turn.cos(), -0.6 - 0.14 * turn.sin()]
            });
            path.stroke(&frame.all(arc), |_| width * 0.8);
        }
    }
    let rail = width * dice.between(1., 1.8);
    rails(path, frame, &[-0.6, if hoops { -0.5 } else { -0.55 }, 0.8], rail);
}

/// Chain links between posts.
fn mesh(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let width = frame.width(dice) * 0.7;
    let cell = dice.between(5. * width + 4., 12. * width + 16.).min(frame.least() / 2.);
    let rows = (2. * frame.half[1] / cell).max(2.) as usize;
    let columns = (2. * frame.half[0] / cell).max(2.) as usize;
    for u in ticks(columns) {
        for side in [-1., 1.] {
            let zigzag = ticks(rows).enumerate().map(|(i, v)| {
                let out = if i % 2 == 0 { side } else { -side };
                [(u + out / columns as f64).clamp(-1., 1.), v]
            });
            path.line(&frame.all(zigzag), width);
        }
    }
    let post = frame.thin[1] * dice.between(1.5, 3.);
    [-1., dice.between(-0.3, 0.3), 1.].into_iter().for_each(|u| frame.bar(path, [u, -1.05], [u, 1.1], post));
    rails(path, frame, &[-1., 1.], post * 0.6);
}

pub(super) fn spokes(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let ellipse = |radius: f64| frame.all((0..120).map(|i| polar([0., 0.], radius, TAU * f64::from(i) / 120.)));
    let px = |pixels: f64| pixels / frame.least();
    let rim = px(frame.thin[1] * dice.between(1., 3.)).min(0.2);
    path.area(ellipse(1.));
    path.hole(ellipse(1. - rim));
    let hub = dice.between(0.05, 0.18);
    path.area(ellipse(hub));
    let (count, crossed) = (5 + dice.below(32), dice.chance(0.5));
    let (width, start) = (frame.width(dice), dice.between(0., TAU));
    for i in 0..count {
        let angle = start + TAU * i as f64 / count as f64;
        let aside = if crossed { if i % 2 == 0 { 1.2 } else { -1.2 } } else { 0. };
        frame.bar(path, polar([0., 0.], hub * 0.9, angle + aside), polar([0., 0.], 1. - rim / 2., angle), width);
    }
    if dice.chance(0.4) {
        // an inner ring
        let (middle, thick) = (dice.between(0.4, 0.75), px(frame.width(dice)));
        path.area(ellipse(middle));
        path.hole(ellipse(middle - thick));
        path.area(ellipse(hub));
    }
}

pub(super) fn net(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let width = frame.width(dice) * 0.7;
    let cell = dice.between(6. * width + 4., 14. * width + 20.).min(frame.least() / 2.);
    let count = |half: f64| ((2. * half / cell) as usize).clamp(3, 60);
    let (columns, rows) = (count(frame.half[0]), count(frame.half[1]));
    // hanging and blown: a few slow waves
    let waves: Vec<[f64; 6]> = (0..4)
        .map(|_| {
            let (kx, ky) = (dice.between(-3., 3.), dice.between(-3., 3.));
            [kx, ky, dice.between(0., TAU), dice.normal() * 0.07, dice.normal() * 0.07, 0.]
        })
        .collect();
    let jitter = dice.between(0., 0.25);
    let knots: Vec<Vec<Point>> = (0..=rows)
        .map(|j| {
            (0..=columns)
                .map(|i| {
                    let mut step =
                        |k: usize, of: usize| 2. * (k as f64 + jitter * dice.normal() * 0.4) / of as f64 - 1.;
                    let [u, v] = [step(i, columns), step(j, rows)];
                    let sway = |k: usize| waves.iter().map(|w| w[k] * (w[0] * u + w[1] * v + w[2]).sin()).sum::<f64>();
                    frame.at([u + sway(3), v + sway(4)])
                })
                .collect()
        })
        .collect();
    let diagonal = dice.chance(0.5);
    for j in 0..=rows {
        for i in 0..=columns {
            let mut thread = |to: Option<&Point>| {
                if let Some(to) = to {
                    path.stroke(&[knots[j][i], *to], |_| width);
                }
            };
            let below = knots.get(j + 1);
            if diagonal {
                // meshes stand on their corners
                if (i + j) % 2 == 0 {
                    thread(below.and_then(|row| row.get(i + 1)));
                    thread(below.and_then(|row| row.get(i.wrapping_sub(1))));
                }
            } else {
                thread(below.and_then(|row| row.get(i)));
                thread(knots[j].get(i + 1));
            }
        }
    }
    let knot = width * dice.between(0.5, 0.9);
    for (j, row) in knots.iter().enumerate() {
        row.iter().enumerate().filter(|(i, _)| !diagonal || (i + j) % 2 == 0).for_each(|(_, p)| path.disc(*p, knot));
    }
    let rope = width * dice.between(1., 2.5);
    let mut rim = |line: Vec<Point>| path.stroke(&through(&line, 4), |_| rope);
    rim(knots[0].clone());
    if dice.chance(0.6) {
        rim(knots[rows].clone());
        rim(knots.iter().map(|row| row[0]).collect());
        rim(knots.iter().map(|row| row[columns]).collect());
    }
}
