//! Where prompts lie: in the image, or less than a pixel beside it.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::promptable::{Point, Prompts};

/// How far outside a point or a box's side may lie and still mean the edge: detectors and annotation tools round outwards.
const SLACK: f32 = 1.0;

impl Prompts {
    /// Refuses prompts that lie a pixel or more outside of an image of `width × height` pixels.
    ///
    /// # Errors
    /// As [`Prompts::clamped`].
    pub fn check(&self, width: u32, height: u32) -> Result<()> {
        self.clamped(width, height).map(|_| ())
    }

    /// The prompts with what lies less than a pixel outside of an image of `width × height` pixels moved onto its edge, and a line on each that was moved. All
    /// predictors take prompts so; a caller that wants to tell its user does it before them.
    ///
    /// # Errors
    /// [`Error::PointOutside`], [`Error::BoxOutside`] from a pixel on, numbers that are none, [`Error::EmptyBox`].
    pub fn clamped(&self, width: u32, height: u32) -> Result<(Cow<'_, Self>, Vec<String>)> {
        // false for NaN
        let near = |v: f32, size: u32| v > -SLACK && v < size as f32 + SLACK;
        let onto = |v: f32, size: u32| v.clamp(0.0, size as f32);
        let (mut moved, mut notes) = (Cow::Borrowed(self), Vec::new());
        for (i, &Point { x, y, positive }) in self.points.iter().enumerate() {
            if !near(x, width) || !near(y, height) {
                return Err(Error::PointOutside { x, y, width, height });
            }
            let point = Point { x: onto(x, width), y: onto(y, height), positive };
            if (point.x, point.y) != (x, y) {
                moved.to_mut().points[i] = point;
                notes.push(format!(
                    "point ({x}, {y}) lies less than a pixel outside of {width}x{height} pixels and is taken as ({}, {})",
                    point.x, point.y
                ));
            }
        }
        if let Some(corners @ [x0, y0, x1, y1]) = self.bbox {
            let near = |[x, y]: [f32; 2]| near(x, width) && near(y, height);
            if !near([x0, y0]) || !near([x1, y1]) {
                return Err(Error::BoxOutside { corners, width, height });
            }
            let inner = [onto(x0, width), onto(y0, height), onto(x1, width), onto(y1, height)];
            if inner[0] >= inner[2] || inner[1] >= inner[3] {
                return Err(Error::EmptyBox { corners });
            }
            if inner != corners {
                moved.to_mut().bbox = Some(inner);
                notes.push(format!(
                    "box {corners:?} leaves the {width}x{height} pixels by less than one and is taken as {inner:?}"
                ));
            }
        }
        Ok((moved, notes))
    }

    /// [`Prompts::clamped`] of several, without the notes.
    pub(crate) fn all_clamped(batch: &[Self], (width, height): (u32, u32)) -> Result<Vec<Cow<'_, Self>>> {
        batch.iter().map(|prompts| Ok(prompts.clamped(width, height)?.0)).collect()
    }
}
