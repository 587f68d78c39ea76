//! Colours that have a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::noise::Rgb;
use crate::training::Dice;

/// A colour as people call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// As blood.
    Red,
    /// As the fruit.
    Orange,
    /// As lemons.
    Yellow,
    /// As grass.
    Green,
    /// As deep water.
    Blue,
    /// As plums.
    Purple,
    /// As flamingos.
    Pink,
    /// As wood.
    Brown,
    /// As snow.
    White,
    /// As coal.
    Black,
    /// As concrete.
    Gray,
}

impl Colour {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::Brown,
        Self::White,
        Self::Black,
        Self::Gray,
    ];

    /// Its English name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::White => "white",
            Self::Black => "black",
            Self::Gray => "gray",
        }
    }

    pub(super) fn rgb(self) -> Rgb {
        match self {
            Self::Red => [200., 35., 35.],
            Self::Orange => [238., 130., 25.],
            Self::Yellow => [238., 215., 50.],
            Self::Green => [45., 145., 60.],
            Self::Blue => [40., 80., 205.],
            Self::Purple => [115., 45., 155.],
            Self::Pink => [242., 135., 185.],
            Self::Brown => [115., 72., 38.],
            Self::White => [240., 240., 238.],
            Self::Black => [24., 24., 27.],
            Self::Gray => [130., 131., 134.],
        }
    }

    /// The one that a colour is nearest to.
    pub(super) fn nearest(rgb: Rgb) -> Self {
        let far = |colour: &Self| distance(colour.rgb(), rgb);
        Self::ALL.into_iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(Self::Gray)
    }

    /// One of its shades: lighter, darker, a little off.
    pub(super) fn shade(self, dice: &mut Dice) -> Rgb {
        let light = 1. + 0.12 * dice.normal().clamp(-1.5, 1.5) as f32;
        self.rgb().map(|v| (v * light + 7. * dice.normal() as f32).clamp(0., 255.))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far two colours are apart in levels.
pub(super) fn distance(a: Rgb, b: Rgb) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_nearest_to_themselves() {
        Colour::ALL.into_iter().for_each(|colour| assert_eq!(Colour::nearest(colour.rgb()), colour));
        assert_eq!(Colour::nearest([220., 20., 10.]), Colour::Red);
    }
}
