//! Objects over each other on a background.

use std::collections::BTreeMap;

use super::Procedural;
use super::blur::blurred;
use super::colours::Colour;
use super::fill::{Coverage, fill};
use super::finish::{Finish, draw, draw_whole};
use super::kinds::{Frame, Kind, outline};
use super::look::{Look, cast, colour, mean_under, softened};
use super::spec::Task;
use crate::training::{Dice, Place};
use crate::{DataError, GrayImage, Result, RgbImage};

/// A picture and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// As a camera and a file would give it: blurred, noisy, compressed.
    pub image: RgbImage,
    /// From the farthest to the nearest.
    pub objects: Vec<SceneObject>,
    /// Which of them is meant.
    pub meant: usize,
}

/// An object of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneObject {
    /// How much of each pixel it is seen in, 0 to 255, of the picture's size: what nearer objects hide is not in it.
    pub mask: GrayImage,
    /// What it is.
    pub kind: Kind,
    /// What its colour would be called; of a cut-out, its mean colour.
    pub colour: Colour,
    /// The smallest box around the levels of 128 and more: left, top, right, bottom, the last two exclusive. All 0 where there are none.
    pub bounds: [u32; 4],
}

/// An object before others hide it.
struct Placed {
    kind: Kind,
    colour: Colour,
    cover: Coverage,
    look: Look,
}

impl Procedural {
    /// All that is in the picture of a place.
    ///
    /// # Errors
    /// Photos that cannot be read; specifications by which no object has a pixel of level 128.
    pub fn scene(&self, place: Place) -> Result<Scene> {
        let (canvas, objects, meant) = self.compose(place, usize::MAX)?;
        let mut dice = Dice::new(place, "procedural finish");
        let image = Finish::new(&self.spec, &mut dice).apply(canvas, &mut dice)?;
        Ok(Scene { image, objects, meant })
    }

    /// The picture before blur, noise and compression, with the first `most` objects drawn.
    pub(super) fn compose(&self, place: Place, most: usize) -> Result<(RgbImage, Vec<SceneObject>, usize)> {
        let mut dice = Dice::new(place, "procedural scene");
        let size = self.size(&mut dice);
        let mut canvas = self.background(size, &mut Dice::new(place, "procedural background"))?;
        let count = if self.spec.task == Task::Salient { 1 } else { draw_whole(self.spec.objects, &mut dice).max(1) };
        let mut placed = Vec::new();
        for number in 0..count as usize {
            let mut dice = Dice::new(place, &format!("procedural object {number}"));
            let object = self.place(&canvas, &mut dice)?;
            if number < most {
                if dice.chance(self.spec.shadow) {
                    cast(&mut canvas, &object.cover, &mut dice)?;
                }
                object.look.lay(&mut canvas, &object.cover);
            }
            placed.push(object);
        }
        let (objects, meant) = seen(&placed, size, &mut dice)?;
        match objects.get(meant) {
            Some(object) if object.bounds != [0; 4] => Ok((canvas, objects, meant)),
            object => {
                let largest = object.and_then(|o| o.mask.as_raw().iter().copied().max()).unwrap_or(0);
                Err(DataError::NothingInside { name: Self::name(place), largest })
            }
        }
    }

    pub(super) fn size(&self, dice: &mut Dice) -> (u32, u32) {
        let (longer, aspect) = (draw(self.spec.size, dice), draw(self.spec.aspect, dice));
        let side = |part: f64| (longer * part.min(1.)).round().max(8.) as u32;
        (side(aspect), side(1. / aspect))
    }

    pub(super) fn background(&self, size: (u32, u32), dice: &mut Dice) -> Result<RgbImage> {
        let mut ground = || weighted(&self.spec.backgrounds, dice);
        let (first, second) = (ground(), ground());
        let mut image = first.paint(size, dice, &self.photos)?;
        if first.has_horizon() && second.has_horizon() && dice.chance(0.2) {
            let below = second.paint(size, dice, &self.photos)?;
            let mut level = f64::from(size.1) * dice.between(0.3, 0.8);
            let (slope, rough) = (dice.normal() * 0.05, dice.between(0., 0.6));
            for x in 0..size.0 {
                level += slope + rough * dice.normal();
                (level.max(0.) as u32..size.1).for_each(|y| image.put_pixel(x, y, *below.get_pixel(x, y)));
            }
        }
        let sigma = draw(self.spec.defocus, dice);
        if sigma >= 0.3 { blurred(&image, sigma) } else { Ok(image) }
    }

    /// An object somewhere in the picture; of a few tries the first of which enough is to be seen. The last one is sharp, whatever the specification says: threads
    /// fade until nothing of them has the level of an inside.
    fn place(&self, canvas: &RgbImage, dice: &mut Dice) -> Result<Placed> {
        let size = canvas.dimensions();
        let kind = weighted(&self.spec.kinds, dice);
        let shorter = f64::from(size.0.min(size.1));
        let mut best: Option<(u64, Coverage, Option<RgbImage>)> = None;
        for attempt in 0..7 {
            let soft = if attempt < 6 { draw(self.spec.softness, dice) } else { 0. };
            // wires and fences go on and on
            let long = if matches!(kind, Kind::Wires | Kind::Fence) { dice.between(1., 1.5) } else { 1. };
            let extent = draw(self.spec.extent, dice) * shorter * long;
            let free = if self.spec.task == Task::Salient { 0.1 } else { (1. - 0.5 * extent / shorter).max(0.2) / 2. };
            let place = |all: u32, dice: &mut Dice| f64::from(all) * (0.5 + dice.between(-free, free));
            let centre = [place(size.0, dice), place(size.1, dice)];
            let (cover, photo) = if kind == Kind::Cutout {
                let found = self.cutouts.cutout(extent, centre, size, dice, &self.name)?;
                found.map_or((None, None), |(cover, photo)| (Some(cover), Some(photo)))
            } else {
                let sharp = fill(&outline(kind, &frame(kind, extent, centre, self.thin(), dice), dice), size);
                (sharp.map(|cover| softened(&cover, soft, size)).transpose()?, None)
            };
            let Some(cover) = cover else { continue };
            let inside = cover.levels.iter().filter(|level| **level >= 128).count() as u64;
            if best.as_ref().is_none_or(|best| inside > best.0) {
                best = Some((inside, cover, photo));
            }
            if inside as f64 >= (0.006 * extent * extent.min(shorter)).max(16.) {
                break;
            }
        }
        let Some((_, cover, photo)) = best else {
            return Err(DataError::NothingInside {
                name: format!("{}: an object of kind {kind}", self.name),
                largest: 0,
            });
        };
        let behind = mean_under(canvas, &cover);
        if let Some(photo) = photo {
            let own = Coverage { left: 0, top: 0, ..cover.clone() };
            let colour = Colour::nearest(mean_under(&photo, &own));
            return Ok(Placed { kind, colour, cover, look: Look::Photo(photo) });
        }
        let alike = dice.chance(self.spec.alike);
        let rgb = colour(kind, behind, alike, dice);
        let look = Look::paint(kind, rgb, &cover, dice)?;
        Ok(Placed { kind, colour: Colour::nearest(rgb), cover, look })
    }

    fn thin(&self) -> [f64; 2] {
        self.spec.thin.into()
    }
}

/// How an object of a kind stands in the picture, upright where its kind does.
fn frame(kind: Kind, extent: f64, centre: [f64; 2], thin: [f64; 2], dice: &mut Dice) -> Frame {
    let half = extent / 2.;
    let upright = matches!(kind, Kind::Wires | Kind::Fence | Kind::Hair | Kind::Leaves | Kind::Text | Kind::Branches);
    let turn = if upright || dice.chance(0.4) { 0.12 * dice.normal() } else { dice.between(0., std::f64::consts::TAU) };
    let slim = match kind {
        Kind::Hair | Kind::Leaves | Kind::Branches => dice.between(0.75, 1.),
        Kind::Text => dice.between(0.3, 0.8),
        Kind::Polygon | Kind::Star | Kind::Spokes | Kind::Blob if dice.chance(0.6) => 1.,
        _ => dice.between(0.5, 1.),
    };
    let tall = matches!(kind, Kind::Branches | Kind::Leaves) || (!upright && dice.chance(0.4));
    let half = if tall { [half * slim, half] } else { [half, half * slim] };
    let lean = if dice.chance(0.5) { [dice.between(-0.25, 0.25), dice.between(-0.2, 0.2)] } else { [0.; 2] };
    Frame { centre, half, turn, lean, thin }
}

/// One of the keys, as likely as its weight says.
fn weighted<K: Copy>(weights: &BTreeMap<K, f64>, dice: &mut Dice) -> K {
    let mut left = dice.unit() * weights.values().sum::<f64>();
    let mut positive = weights.iter().filter(|(_, weight)| **weight > 0.);
    let found = positive.find(|(_, weight)| {
        left -= **weight;
        left < 0.
    });
    // checked when the specification was: there is one
    *found.or_else(|| weights.iter().rfind(|(_, weight)| **weight > 0.)).expect("a weight above 0").0
}

/// What of each object is seen, and which is meant: one of which enough is, else the one of which most is.
fn seen(placed: &[Placed], size: (u32, u32), dice: &mut Dice) -> Result<(Vec<SceneObject>, usize)> {
    let mut free = vec![255u8; size.0 as usize * size.1 as usize];
    let (mut objects, mut insides, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for (number, object) in placed.iter().enumerate().rev() {
        let cover = &object.cover;
        let mut mask = GrayImage::new(size.0, size.1);
        let (mut whole, mut inside, mut bounds) = (0u32, 0u32, [u32::MAX, u32::MAX, 0, 0]);
        for y in 0..cover.height {
            let at = ((cover.top + y) * size.0 + cover.left) as usize;
            let free = &mut free[at..at + cover.width as usize];
            let out = &mut mask.as_mut()[at..at + cover.width as usize];
            for (x, ((level, free), out)) in cover.row(y).iter().zip(free).zip(out).enumerate() {
                *out = ((u16::from(*level) * u16::from(*free) + 127) / 255) as u8;
                *free -= *out;
                whole += u32::from(*level >= 128);
                if *out >= 128 {
                    let (x, y) = (cover.left + x as u32, cover.top + y);
                    inside += 1;
                    bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x + 1), bounds[3].max(y + 1)];
                }
            }
        }
        if inside >= (size.0 * size.1 / 2000).max(16).max(whole / 3) {
            candidates.push(number);
        }
        insides.push(inside);
        let bounds = if inside == 0 { [0; 4] } else { bounds };
        objects.push(SceneObject { mask, kind: object.kind, colour: object.colour, bounds });
    }
    objects.reverse();
    insides.reverse();
    let most = || (0..insides.len()).max_by_key(|number| insides[*number]).unwrap_or(0);
    let meant = dice.pick(&candidates).copied().unwrap_or_else(most);
    Ok((objects, meant))
}
