//! Clips: shapes that move over a background, and a sentence that means one of them.

use image::imageops::crop_imm;

use super::Procedural;
use super::colours::Colour;
use super::fill::{Coverage, fill};
use super::finish::{Finish, draw, draw_whole};
use super::kinds::Kind;
use super::look::{Look, cast, softened};
use super::sentence::{ClipObject, Motion, Shape, held_out, sentence};
use crate::training::{Dice, Place};
use crate::{GrayImage, Result, RgbImage};

/// Which pairs of colour and shape a clip has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// None that is [`held_out`].
    Training,
    /// What is meant is [`held_out`], and the sentence names its colour and its shape; the others may be anything.
    HeldOut,
}

/// Frames, and what a sentence means in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// All of one size.
    pub frames: Vec<RgbImage>,
    /// How much of each pixel what is meant is seen in, 0 to 255; nothing where it has left the picture.
    pub masks: Vec<GrayImage>,
    /// Means one object and no other: "the red ring on the left".
    pub sentence: String,
    /// From the farthest to the nearest.
    pub objects: Vec<ClipObject>,
    /// Which of them is meant.
    pub meant: usize,
}

/// How a shape is drawn in every frame.
struct Drawn {
    /// In pixels.
    radius: f64,
    turn: f64,
    spin: f64,
}

impl Procedural {
    /// The clip at a place. Of the specification, size, backgrounds, shadows, softness, blur, noise and compression count, and its table `clip`.
    ///
    /// # Errors
    /// Photos that cannot be read.
    pub fn clip(&self, place: Place, split: Split) -> Result<Clip> {
        let mut dice = Dice::new(place, "procedural clip");
        let size = self.size(&mut dice);
        let frames = draw_whole(self.spec.clip.frames, &mut dice).max(1) as usize;
        let shapes = draw_whole(self.spec.clip.shapes, &mut dice).max(1) as usize;
        for attempt in 0.. {
            // fewer shapes after a while: of a single one there is always a sentence, and nothing hides it
            let shapes = shapes.saturating_sub(attempt / 8).max(1);
            let leaves = dice.chance(self.spec.clip.leaving);
            // where there always are, nothing is drawn for it
            let twins = self.spec.clip.twins >= 1. || dice.chance(self.spec.clip.twins);
            let (objects, meant) = cast_of(shapes, frames, split, leaves, twins, &self.spec.clip.colours, &mut dice);
            // what is held out is a sentence that names the pair
            let pair = split == Split::HeldOut;
            let Some(sentence) = sentence(&objects, meant, pair, &mut dice) else { continue };
            let drawn: Vec<Drawn> = objects.iter().map(|object| Drawn::new(object, size, &mut dice)).collect();
            let masks: Vec<GrayImage> =
                (0..frames).map(|at| self.mask(place, &objects, &drawn, size, at, meant)).collect::<Result<_>>()?;
            if shapes == 1 || visible(&masks, &drawn[meant]) >= frames.div_ceil(2) {
                let frames = self.frames(place, &objects, &drawn, size, frames)?;
                return Ok(Clip { frames, masks, sentence, objects, meant });
            }
        }
        unreachable!("a single shape is always taken")
    }

    fn frames(
        &self,
        place: Place,
        objects: &[ClipObject],
        drawn: &[Drawn],
        size: (u32, u32),
        count: usize,
    ) -> Result<Vec<RgbImage>> {
        let mut dice = Dice::new(place, "procedural clip background");
        let around = around(size);
        // the camera moves a little
        let room = (size.0.min(size.1) / 8) * u32::from(dice.chance(0.5));
        let background = self.background((size.0 + 2 * around + room, size.1 + 2 * around + room), &mut dice)?;
        let [(from_x, to_x), (from_y, to_y)] = [(); 2].map(|()| (dice.unit(), dice.unit()));
        let finish = Finish::new(&self.spec, &mut dice);
        let mut frames = Vec::with_capacity(count);
        for at in 0..count {
            let t = at as f64 / (count.max(2) - 1) as f64;
            let shift = |from: f64, to: f64| (f64::from(room) * (from + (to - from) * t)) as u32;
            let (x, y) = (shift(from_x, to_x), shift(from_y, to_y));
            let mut canvas = crop_imm(&background, x, y, size.0 + 2 * around, size.1 + 2 * around).to_image();
            for (number, (object, drawn)) in objects.iter().zip(drawn).enumerate() {
                // the same in every frame
                let mut dice = Dice::new(place, &format!("procedural clip look {number}"));
                let Some(cover) = self.cover(place, number, object, drawn, size, at)? else { continue };
                let rgb = object.colour.shade(&mut dice);
                let look = Look::paint(Kind::Disc, rgb, &cover, &mut dice)?;
                if dice.chance(self.spec.shadow) {
                    cast(&mut canvas, &cover, &mut dice)?;
                }
                look.lay(&mut canvas, &cover);
            }
            let view = crop_imm(&canvas, around, around, size.0, size.1).to_image();
            frames.push(finish.apply(view, &mut dice)?);
        }
        Ok(frames)
    }

    /// What one object covers of the picture and its surroundings, in a window of the same size in every frame.
    fn cover(
        &self,
        place: Place,
        number: usize,
        object: &ClipObject,
        drawn: &Drawn,
        size: (u32, u32),
        at: usize,
    ) -> Result<Option<Coverage>> {
        let around = around(size);
        let whole = (size.0 + 2 * around, size.1 + 2 * around);
        let [x, y] = object.centres[at];
        let centre = [x * f64::from(size.0) + f64::from(around), y * f64::from(size.1) + f64::from(around)];
        let soft = draw(self.spec.softness, &mut Dice::new(place, &format!("procedural clip edge {number}")));
        let half = (drawn.radius + 3. * soft + 2.).ceil();
        let [left, top] = centre.map(|c| c.round() - half);
        let side = 2 * half as u32;
        if left < 0. || top < 0. || left as u32 + side > whole.0 || top as u32 + side > whole.1 {
            return Ok(None); // far outside
        }
        let path = object.shape.outline(centre, drawn.radius, drawn.turn + drawn.spin * at as f64);
        let Some(cover) = fill(&path, whole) else { return Ok(None) };
        Ok(Some(softened(&cover, soft, whole)?.within([left as u32, top as u32], (side, side))))
    }

    /// What is seen of what is meant, in one frame.
    fn mask(
        &self,
        place: Place,
        objects: &[ClipObject],
        drawn: &[Drawn],
        size: (u32, u32),
        at: usize,
        meant: usize,
    ) -> Result<GrayImage> {
        let around = i64::from(around(size));
        let cover = |number: usize| self.cover(place, number, &objects[number], &drawn[number], size, at);
        let mut mask = GrayImage::new(size.0, size.1);
        let Some(own) = cover(meant)? else { return Ok(mask) };
        for (x, y, out) in mask.enumerate_pixels_mut() {
            out[0] = own.at(i64::from(x) + around, i64::from(y) + around);
        }
        for nearer in meant + 1..objects.len() {
            let Some(nearer) = cover(nearer)? else { continue };
            for (x, y, out) in mask.enumerate_pixels_mut().filter(|(_, _, out)| out[0] > 0) {
                let level = u16::from(nearer.at(i64::from(x) + around, i64::from(y) + around));
                out[0] = ((u16::from(out[0]) * (255 - level) + 127) / 255) as u8;
            }
        }
        Ok(mask)
    }
}

/// How much is drawn around the picture, so that what comes and goes looks as it does inside.
fn around(size: (u32, u32)) -> u32 {
    size.0.min(size.1) / 2
}

impl Drawn {
    fn new(object: &ClipObject, size: (u32, u32), dice: &mut Dice) -> Self {
        let part = if object.large { dice.between(0.15, 0.19) } else { dice.between(0.075, 0.1) };
        let spin = if dice.chance(0.4) { dice.normal() * 0.1 } else { 0. };
        let turn = dice.normal() * 0.2 + if object.shape == Shape::Square { std::f64::consts::FRAC_PI_4 } else { 0. };
        Self { radius: part * f64::from(size.0.min(size.1)), turn, spin }
    }
}

/// In how many frames a third of it is seen.
fn visible(masks: &[GrayImage], drawn: &Drawn) -> usize {
    // a cross has the least area: 0.42 of its square
    let least = 0.3 * drawn.radius * drawn.radius;
    masks.iter().filter(|mask| mask.as_raw().iter().filter(|v| **v >= 128).count() as f64 >= least).count()
}

/// Shapes that have something in common with what is meant, more often than not.
fn cast_of(
    count: usize,
    frames: usize,
    split: Split,
    leaves: bool,
    twins: bool,
    colours: &[Colour],
    dice: &mut Dice,
) -> (Vec<ClipObject>, usize) {
    let mut any = |held: Option<bool>, colour: Option<usize>, shape: Option<usize>| {
        for _ in 0..64 {
            let colour = colours[colour.unwrap_or_else(|| dice.below(colours.len() as u64) as usize)];
            let shape = Shape::ALL[shape.unwrap_or_else(|| dice.below(Shape::ALL.len() as u64) as usize)];
            if held.is_none_or(|held| held == held_out(colour, shape)) {
                return (colour, shape);
            }
        }
        (colours[0], Shape::Ring)
    };
    let own = any(Some(split == Split::HeldOut), None, None);
    let others = (split == Split::Training).then_some(false);
    let index = (colours.iter().position(|c| *c == own.0), Shape::ALL.iter().position(|s| *s == own.1));
    let mut pairs = vec![own];
    for number in 1..count {
        pairs.push(match number % 4 {
            1 if twins => own,
            2 => any(others, index.0, None),
            3 => any(others, None, index.1),
            _ => any(others, None, None),
        });
    }
    let mut order: Vec<usize> = (0..count).collect();
    // which of the three likenesses come first, and who is nearer than whom
    dice.shuffle(&mut pairs[1..]);
    dice.shuffle(&mut order);
    let objects = order
        .iter()
        .map(|&number| {
            let (colour, shape) = pairs[number];
            let large = dice.chance(0.5);
            let (motion, centres) = way(frames, leaves && number == 0, dice);
            ClipObject { colour, shape, large, motion, centres }
        })
        .collect();
    (objects, order.iter().position(|number| *number == 0).unwrap_or(0))
}

/// A way through the picture, or out of it.
fn way(frames: usize, leaves: bool, dice: &mut Dice) -> (Motion, Vec<[f64; 2]>) {
    let motion = if leaves {
        Motion::ALL[1 + dice.below(4) as usize]
    } else {
        dice.pick(&Motion::ALL).copied().unwrap_or(Motion::Still)
    };
    let direction = motion.direction();
    let steps = (frames.max(2) - 1) as f64;
    let mut from = [dice.between(0.15, 0.85), dice.between(0.15, 0.85)];
    let far = if leaves { dice.between(1.1, 1.4) } else { dice.between(0.2, 0.5) };
    for k in 0..2 {
        // so that all of the way, or more than half of it, is inside
        let (low, high) = if leaves { (0.3, 0.45) } else { (0.12, (0.88 - far).max(0.13)) };
        match direction[k] {
            d if d > 0. => from[k] = dice.between(low, high),
            d if d < 0. => from[k] = 1. - dice.between(low, high),
            _ => {}
        }
    }
    let centres = (0..frames).map(|at| [0, 1].map(|k| from[k] + direction[k] * far * at as f64 / steps)).collect();
    (motion, centres)
}
