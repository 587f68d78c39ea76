//! Outlines of the kinds of objects.

mod lines;
mod plain;
mod plants;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::{Path, Point};
use crate::training::Dice;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Bars that cross each other.
    Lattice,
    /// Hanging cables, with or without poles.
    Wires,
    /// Pickets, iron bars or wire mesh between posts.
    Fence,
    /// A body with strands.
    Hair,
    /// A stem with leaves.
    Leaves,
    /// A wheel.
    Spokes,
    /// Letters and digits.
    Text,
    /// Threads knotted to meshes.
    Net,
    /// A tree without leaves.
    Branches,
    /// A filled circle or ellipse.
    Disc,
    /// A circle or ellipse with a hole.
    Ring,
    /// Three to eight corners.
    Polygon,
    /// A star.
    Star,
    /// A smooth closed outline.
    Blob,
    /// A photo's cut-out, from [`Spec::cutouts`](super::Spec::cutouts).
    Cutout,
}

impl Kind {
    /// All kinds that need no files.
    pub const DRAWN: [Self; 14] = [
        Self::Lattice,
        Self::Wires,
        Self::Fence,
        Self::Hair,
        Self::Leaves,
        Self::Spokes,
        Self::Text,
        Self::Net,
        Self::Branches,
        Self::Disc,
        Self::Ring,
        Self::Polygon,
        Self::Star,
        Self::Blob,
    ];

    /// Its name in a specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lattice => "lattice",
            Self::Wires => "wires",
            Self::Fence => "fence",
            Self::Hair => "hair",
            Self::Leaves => "leaves",
            Self::Spokes => "spokes",
            Self::Text => "text",
            Self::Net => "net",
            Self::Branches => "branches",
            Self::Disc => "disc",
            Self::Ring => "ring",
            Self::Polygon => "polygon",
            Self::Star => "star",
            Self::Blob => "blob",
            Self::Cutout => "cutout",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an object is drawn: a square from -1 to 1, squeezed, leaning and turned into the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub centre: Point,
    /// Half the width and height in pixels, before turning.
    pub half: [f64; 2],
    /// In radians.
    pub turn: f64,
    /// How much nearer the right and the lower edge are, as parts; under a half together.
    pub lean: [f64; 2],
    /// Least and largest width of thin parts in pixels.
    pub thin: [f64; 2],
}

impl Frame {
    /// The place in the picture of a place in the square.
    pub fn at(&self, [u, v]: Point) -> Point {
        let near = self.near([u, v]);
        let (x, y) = (u * self.half[0] * near, v * self.half[1] * near);
        let (sin, cos) = self.turn.sin_cos();
        [self.centre[0] + x * cos - y * sin, self.centre[1] + x * sin + y * cos]
    }

    /// How large things look at a place.
    fn near(&self, [u, v]: Point) -> f64 {
        1. / (1. - self.lean[0] * u - self.lean[1] * v)
    }

    pub fn all(&self, line: impl IntoIterator<Item = Point>) -> Vec<Point> {
        line.into_iter().map(|p| self.at(p)).collect()
    }

    /// The shorter half in pixels.
    fn least(&self) -> f64 {
        self.half[0].min(self.half[1])
    }

    /// A width for thin parts.
    fn width(&self, dice: &mut Dice) -> f64 {
        dice.between(self.thin[0], self.thin[1])
    }

    /// A straight bar whose width follows the lean.
    fn bar(&self, path: &mut Path, from: Point, to: Point, width: f64) {
        let (a, b) = (self.near(from) * width, self.near(to) * width);
        path.stroke(&[self.at(from), self.at(to)], |t| a + (b - a) * t);
    }
}

/// The outline of an object of a kind that is drawn; a [`Kind::Cutout`] has none.
pub(super) fn outline(kind: Kind, frame: &Frame, dice: &mut Dice) -> Path {
    let mut path = Path::default();
    match kind {
        Kind::Lattice => lines::lattice(&mut path, frame, dice),
        Kind::Wires => lines::wires(&mut path, frame, dice),
        Kind::Fence => lines::fence(&mut path, frame, dice),
        Kind::Spokes => lines::spokes(&mut path, frame, dice),
        Kind::Net => lines::net(&mut path, frame, dice),
        Kind::Hair => plants::hair(&mut path, frame, dice),
        Kind::Leaves => plants::leaves(&mut path, frame, dice),
        Kind::Branches => plants::branches(&mut path, frame, dice),
        Kind::Text => text::text(&mut path, frame, dice),
        Kind::Disc => plain::disc(&mut path, frame),
        Kind::Ring => plain::ring(&mut path, frame, dice),
        Kind::Polygon => plain::polygon(&mut path, frame, dice),
        Kind::Star => plain::star(&mut path, frame, dice),
        Kind::Blob => plain::blob(&mut path, frame, dice),
        Kind::Cutout => {}
    }
    path
}
