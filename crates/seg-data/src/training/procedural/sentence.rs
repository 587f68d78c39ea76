//! Moving shapes, and sentences that mean one of them.

use std::collections::BTreeSet;
use std::f64::consts::{FRAC_PI_2, PI, TAU};
use std::fmt::Write as _;

use super::colours::Colour;
use super::path::{Path, Point, polar, round};
use crate::training::Dice;

/// What moves in a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A filled circle.
    Disc,
    /// A circle with a hole.
    Ring,
    /// Four equal sides.
    Square,
    /// Three equal sides.
    Triangle,
    /// Five points.
    Star,
    /// Two bars.
    Cross,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Disc, Self::Ring, Self::Square, Self::Triangle, Self::Star, Self::Cross];

    /// Its English name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
        }
    }

    /// Its outline around a centre.
    pub(super) fn outline(self, centre: Point, radius: f64, turn: f64) -> Path {
        let mut path = Path::default();
        let corners = |count: u32, out: &dyn Fn(u32) -> f64| {
            let at = |i| polar(centre, radius * out(i), turn - FRAC_PI_2 + TAU * f64::from(i) / f64::from(count));
            (0..count).map(at).collect()
        };
        match self {
            Self::Disc => path.disc(centre, radius),
            Self::Ring => {
                path.disc(centre, radius);
                path.hole(round(centre, radius * 0.55));
            }
            Self::Square => path.area(corners(4, &|_| 1.)),
            Self::Triangle => path.area(corners(3, &|_| 1.)),
            Self::Star => path.area(corners(10, &|i| if i % 2 == 0 { 1. } else { 0.42 })),
            Self::Cross => {
                for turn in [turn, turn + FRAC_PI_2] {
                    path.stroke(&[polar(centre, radius, turn), polar(centre, radius, turn + PI)], |_| radius * 0.62);
                }
            }
        }
        path
    }
}

/// Where a shape goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Motion {
    /// Nowhere.
    Still,
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// Upwards.
    Up,
    /// Downwards.
    Down,
}

impl Motion {
    pub(super) const ALL: [Self; 5] = [Self::Still, Self::Left, Self::Right, Self::Up, Self::Down];

    /// Of length 1, or 0.
    pub(super) fn direction(self) -> Point {
        match self {
            Self::Still => [0., 0.],
            Self::Left => [-1., 0.],
            Self::Right => [1., 0.],
            Self::Up => [0., -1.],
            Self::Down => [0., 1.],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Still => "staying still",
            Self::Left => "moving left",
            Self::Right => "moving right",
            Self::Up => "moving up",
            Self::Down => "moving down",
        }
    }
}

/// The colours that shapes have: those that nobody takes for one another.
pub(super) const COLOURS: [Colour; 8] = [
    Colour::Red,
    Colour::Orange,
    Colour::Yellow,
    Colour::Green,
    Colour::Blue,
    Colour::Purple,
    Colour::Pink,
    Colour::White,
];

/// Whether shapes of this colour and kind are kept from training: of each colour one shape or none. Their colours and their shapes are trained, in other pairs.
pub fn held_out(colour: Colour, shape: Shape) -> bool {
    let number = COLOURS.iter().position(|c| *c == colour);
    number.is_some_and(|number| (number + shape as usize).is_multiple_of(Shape::ALL.len()))
}

/// A shape in a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipObject {
    /// Its colour.
    pub colour: Colour,
    /// Its kind.
    pub shape: Shape,
    /// Whether it is one of the large ones, nearly twice as large as the others.
    pub large: bool,
    /// Where it goes.
    pub motion: Motion,
    /// Its centre in each frame, as parts of width and height.
    pub centres: Vec<[f64; 2]>,
}

/// A side on which a thing is, compared with the others of its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Top,
    Bottom,
}

impl Side {
    /// How far on that side in a frame.
    fn reach(self, [x, y]: [f64; 2]) -> f64 {
        match self {
            Self::Left => -x,
            Self::Right => x,
            Self::Top => -y,
            Self::Bottom => y,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Left => "on the left",
            Self::Right => "on the right",
            Self::Top => "at the top",
            Self::Bottom => "at the bottom",
        }
    }
}

/// What a sentence says of a shape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Description {
    colour: Option<Colour>,
    shape: Option<Shape>,
    large: Option<bool>,
    motion: Option<Motion>,
    side: Option<Side>,
}

impl Description {
    /// All that it says but the side.
    fn fits(&self, object: &ClipObject) -> bool {
        self.colour.is_none_or(|c| c == object.colour)
            && self.shape.is_none_or(|s| s == object.shape)
            && self.large.is_none_or(|l| l == object.large)
            && self.motion.is_none_or(|m| m == object.motion)
    }

    /// Whether it means object `meant` and no other: with a side, in every frame and by a margin.
    fn means(&self, objects: &[ClipObject], meant: usize) -> bool {
        let mut others =
            objects.iter().enumerate().filter(|(i, o)| *i != meant && self.fits(o)).map(|(_, o)| o).peekable();
        match self.side {
            None => others.peek().is_none(),
            // a side is said only where it tells two apart
            Some(side) => {
                others.peek().is_some()
                    && others.all(|other| {
                        let pairs = objects[meant].centres.iter().zip(&other.centres);
                        pairs.into_iter().all(|(a, b)| side.reach(*a) > side.reach(*b) + 0.12)
                    })
            }
        }
    }

    fn text(&self) -> String {
        let mut text = "the".to_owned();
        let mut say = |word: &str| write!(text, " {word}").unwrap_or_default();
        if let Some(large) = self.large {
            say(if large { "large" } else { "small" });
        }
        if let Some(colour) = self.colour {
            say(colour.name());
        }
        say(self.shape.map_or("shape", Shape::name));
        if let Some(side) = self.side {
            say(side.words());
        }
        if let Some(motion) = self.motion {
            say(motion.words());
        }
        text
    }
}

/// All words that sentences can have.
pub fn words() -> BTreeSet<&'static str> {
    let sides = [Side::Left, Side::Right, Side::Top, Side::Bottom].map(Side::words);
    let phrases = Motion::ALL.map(Motion::words).into_iter().chain(sides);
    let names = COLOURS.map(Colour::name).into_iter().chain(Shape::ALL.map(Shape::name));
    ["the", "large", "small", "shape"].into_iter().chain(names).chain(phrases.flat_map(|p| p.split(' '))).collect()
}

/// A sentence that means object `meant` and no other; `None` where no description does. With `pair` it names both colour and shape.
pub(super) fn sentence(objects: &[ClipObject], meant: usize, pair: bool, dice: &mut Dice) -> Option<String> {
    let object = &objects[meant];
    // in a single frame nothing moves
    let combinations = if object.centres.len() > 1 { 16 } else { 8 };
    let mut found = Vec::new();
    for parts in 1..combinations {
        let says = |bit: u32| parts & (1u32 << bit) != 0;
        let plain = Description {
            colour: says(0).then_some(object.colour),
            shape: says(1).then_some(object.shape),
            large: says(2).then_some(object.large),
            motion: says(3).then_some(object.motion),
            side: None,
        };
        for side in [None, Some(Side::Left), Some(Side::Right), Some(Side::Top), Some(Side::Bottom)] {
            let words = u32::count_ones(parts) + u32::from(side.is_some());
            if words <= 3 {
                found.push(Description { side, ..plain });
            }
        }
    }
    found.retain(|description| description.means(objects, meant));
    // mostly those that name colour and shape, as people do
    let named: Vec<Description> = found.iter().filter(|d| d.colour.is_some() && d.shape.is_some()).copied().collect();
    let among = if !pair && (named.is_empty() || dice.chance(0.3)) { &found } else { &named };
    dice.pick(among).map(Description::text)
}
