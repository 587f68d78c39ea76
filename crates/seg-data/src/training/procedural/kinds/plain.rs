//! Plain shapes.

use std::f64::consts::{PI, TAU};

use super::Frame;
use crate::training::Dice;
use crate::training::procedural::path::{Path, Point, polar, through};

fn ellipse(frame: &Frame, radius: f64) -> Vec<Point> {
    let corners = (24. + 10. * frame.half[0].max(frame.half[1]).sqrt()) as usize;
    frame.all((0..corners).map(|i| polar([0., 0.], radius, TAU * i as f64 / corners as f64)))
}

pub(super) fn disc(path: &mut Path, frame: &Frame) {
    path.area(ellipse(frame, 1.));
}

pub(super) fn ring(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let thick = dice.between(0.12, 0.5).max(frame.thin[0] / frame.least());
    path.area(ellipse(frame, 1.));
    path.hole(ellipse(frame, 1. - thick.min(0.9)));
}

pub(super) fn polygon(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let corners = 3 + dice.below(6);
    let even = dice.chance(0.5);
    let start = dice.between(0., TAU);
    path.area(frame.all((0..corners).map(|i| {
        let (aside, out) = if even { (0., 1.) } else { (dice.between(-0.35, 0.35), dice.between(0.6, 1.)) };
        polar([0., 0.], out, start + TAU * (i as f64 + aside) / corners as f64)
    })));
}

pub(super) fn star(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let (points, inner) = (4 + dice.below(9), dice.between(0.3, 0.7));
    path.area(
        frame
            .all((0..2 * points).map(|i| {
                polar([0., 0.], if i % 2 == 0 { 1. } else { inner }, PI * i as f64 / points as f64 - PI / 2.)
            })),
    );
}

pub(super) fn blob(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let knots = 6 + dice.below(7) as usize;
    let (rough, start) = (dice.between(0.1, 0.55), dice.between(0., TAU));
    let mut points: Vec<Point> = (0..knots)
        .map(|i| {
            let angle = start + TAU * (i as f64 + dice.between(-0.2, 0.2)) / knots as f64;
            polar([0., 0.], 1. - rough * dice.unit(), angle)
        })
        .collect();
    // once around and one over, so that the curve closes as smoothly as it goes
    points.extend_from_within(..3);
    let curve = through(&points, 12);
    path.area(frame.all(curve[12..12 * (knots + 1)].iter().copied()));
    if dice.chance(0.3) {
        let (at, size) = (polar([0., 0.], 0.2 * dice.unit(), start), dice.between(0.08, 0.22));
        path.hole(frame.all((0..40).map(|i| polar(at, size, TAU * f64::from(i) / 40.))));
    }
}
