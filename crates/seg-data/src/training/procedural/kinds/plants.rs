//! Things that grow.

use std::f64::consts::{PI, TAU};

use super::Frame;
use crate::training::Dice;
use crate::training::procedural::path::{Path, Point, polar, through};

/// A curve from a point in a direction, bending evenly, in `pieces` steps.
fn sweep(from: Point, mut angle: f64, length: f64, bend: f64, pieces: usize) -> Vec<Point> {
    let mut line = vec![from];
    for _ in 0..pieces {
        let last = line[line.len() - 1];
        angle += bend / pieces as f64;
        line.push(polar(last, length / pieces as f64, angle));
    }
    line
}

pub(super) fn hair(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let size = frame.least();
    // the head, and how far strands reach beyond it: fur, a mane, a tuft
    let (head, reach) = match dice.below(3) {
        0 => (0.72, 0.3),
        1 => (0.5, 0.6),
        _ => (0.16, 0.95),
    };
    let tuft = head < 0.3;
    let lumps: Vec<[f64; 3]> =
        (2..6).map(|k| [f64::from(k), dice.between(0., TAU), dice.normal() * 0.12 / f64::from(k)]).collect();
    let radius = |angle: f64| head * (1. + lumps.iter().map(|l| l[2] * (l[0] * angle + l[1]).sin()).sum::<f64>());
    let edge = |angle: f64| frame.at(polar([0., 0.], radius(angle), angle));
    path.area((0..90).map(|i| edge(TAU * f64::from(i) / 90.)).collect());
    let (down, curl) = (dice.between(0., 1.2), dice.between(0.2, 1.6));
    let (main, spread) = if tuft { (-PI / 2., dice.between(0.5, 1.4)) } else { (0., PI) };
    let clumps: Vec<[f64; 3]> = (0..8 + dice.below(10))
        .map(|_| [dice.between(-1., 1.), dice.normal() * 0.5 * curl, dice.between(0.75, 1.1)])
        .collect();
    let thin = frame.thin[0] + (frame.thin[1] - frame.thin[0]) * 0.35;
    let strands = (size * dice.between(1.2, 3.)).clamp(90., 700.) as usize;
    for strand in 0..strands {
        // most strands go with their clump
        let along = 2. * (strand as f64 + dice.unit()) / strands as f64 - 1.;
        let clump = clumps.iter().min_by(|a, b| (a[0] - along).abs().total_cmp(&(b[0] - along).abs()));
        let [at, bend, long] = clump.copied().unwrap_or([along, 0., 1.]);
        let angle = main + spread * (along + 0.35 * (at - along));
        let length =
            size * reach * long * if dice.chance(0.25) { dice.between(0.15, 0.6) } else { dice.between(0.6, 1.1) };
        let stray = if dice.chance(0.12) { dice.normal() * curl } else { dice.normal() * 0.12 };
        let root = edge(angle);
        let out = angle + frame.turn + dice.normal() * 0.12;
        // weight pulls towards straight down
        let fall = down * (PI / 2. - out).sin();
        let line = sweep(root, out, length, bend + stray + fall, 9);
        let width = dice.between(frame.thin[0].min(thin), thin);
        path.stroke(&line, |t| (width * (1. - 0.75 * t)).max(0.35));
    }
}

pub(super) fn leaves(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let size = frame.least();
    let stems = 1 + dice.below(3) as usize;
    let style = dice.below(4);
    let (pairs, long, slim) = match style {
        0 => (4 + dice.below(4), 0.42, 0.42),  // a twig
        1 => (14 + dice.below(14), 0.3, 0.16), // a fern
        2 => (9 + dice.below(8), 0.55, 0.07),  // a palm
        _ => (5 + dice.below(5), 0.34, 0.6),   // round leaves
    };
    let teeth = if dice.chance(0.35) { dice.between(0.06, 0.16) } else { 0. };
    for stem in 0..stems {
        let fan = if stems == 1 { 0. } else { (stem as f64 / (stems - 1) as f64 - 0.5) * 1.6 };
        let angle = frame.turn - PI / 2. + fan + dice.normal() * 0.08;
        let spine = sweep(frame.at([0., 0.95]), angle, size * 1.7, dice.normal() * 0.5, 16);
        let width = frame.thin[1];
        path.stroke(&spine, |t| (width * (1. - 0.7 * t)).max(0.8));
        for pair in 0..pairs {
            let t = 0.2 + 0.75 * pair as f64 / (pairs - 1) as f64;
            let (at, place) = ((t * 16.) as usize, t * 16.);
            let (p, q) = (spine[at.min(15)], spine[at.min(15) + 1]);
            let along = place - at.min(15) as f64;
            let foot = [p[0] + (q[0] - p[0]) * along, p[1] + (q[1] - p[1]) * along];
            let forward = (q[1] - p[1]).atan2(q[0] - p[0]);
            // smaller towards the tip
            let length = size * long * (1.15 - 0.8 * t) * dice.between(0.8, 1.15);
            for side in [-1., 1.] {
                let angle = forward + side * dice.between(0.7, 1.15) * (1.15 - 0.4 * t);
                leaf(path, dice, foot, angle, length, slim * length, teeth, frame.thin[0]);
            }
        }
        if let [.., p, q] = spine[..] {
            leaf(
                path,
                dice,
                q,
                (q[1] - p[1]).atan2(q[0] - p[0]),
                size * long * 0.5,
                size * long * 0.5 * slim,
                teeth,
                1.,
            );
        }
    }
}

/// One blade on its stalk.
fn leaf(path: &mut Path, dice: &mut Dice, foot: Point, angle: f64, length: f64, wide: f64, teeth: f64, stalk: f64) {
    let bend = dice.normal() * 0.35;
    let spine = sweep(foot, angle, length, bend, 14);
    path.stroke(&spine[..3], |_| stalk);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for (i, p) in spine.iter().enumerate().skip(1) {
        let t = (i - 1) as f64 / 13.;
        let tooth = if i % 2 == 0 { 1. - teeth } else { 1. + teeth };
        // fullest before the middle, pointed at the end
        let half = 0.5 * wide * (PI * t.powf(0.75)).sin().max(0.) * tooth;
        let aside = angle + bend * i as f64 / 14. + PI / 2.;
        there.push(polar(*p, half, aside));
        back.push(polar(*p, -half, aside));
    }
    there.extend(back.into_iter().rev());
    path.area(there);
}

pub(super) fn branches(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let foot = frame.at([dice.between(-0.2, 0.2), 1.]);
    let size = frame.half[0].max(frame.half[1]);
    let thick = (size * dice.between(0.03, 0.1)).max(frame.thin[1]);
    let depth = 4 + dice.below(2) as u32;
    let droop = dice.normal() * 0.3;
    let angle = frame.turn - PI / 2. + dice.normal() * 0.1;
    let tree = Tree { least: frame.thin[0], droop, wide: dice.between(0.45, 0.9) };
    let length = size * dice.between(0.5, 0.65);
    tree.grow(path, dice, foot, angle, length, thick, depth);
}

struct Tree {
    /// Width of the thinnest twigs.
    least: f64,
    droop: f64,
    /// How far children turn aside.
    wide: f64,
}

impl Tree {
    fn grow(&self, path: &mut Path, dice: &mut Dice, from: Point, angle: f64, length: f64, thick: f64, depth: u32) {
        let bends = [dice.normal() * 0.25, dice.normal() * 0.35 + self.droop * 0.3];
        let mut line = sweep(from, angle, length / 2., bends[0], 3);
        line.extend(sweep(line[3], angle + bends[0], length / 2., bends[1], 3).into_iter().skip(1));
        let line = through(&line, 2);
        let end = (thick * 0.62).max(self.least);
        path.stroke(&line, |t| thick + (end - thick) * t);
        if depth == 0 || length < 6. {
            return;
        }
        let last = line.len() - 1;
        let children = 2 + dice.below(2) as usize;
        for child in 0..children {
            // the first goes on at the tip, the others start on the way
            let at = if child == 0 { last } else { (last as f64 * dice.between(0.35, 0.95)) as usize };
            let side = if child % 2 == 0 { -1. } else { 1. };
            let aside = if child == 0 { dice.normal() * 0.25 } else { side * self.wide * dice.between(0.6, 1.3) };
            let smaller = dice.between(0.55, 0.8);
            let thinner = if child == 0 { end } else { (end * dice.between(0.5, 0.8)).max(self.least) };
            self.grow(path, dice, line[at], angle + bends[0] + aside, length * smaller, thinner, depth - 1);
        }
    }
}
