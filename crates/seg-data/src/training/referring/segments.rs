//! Masks as COCO's annotations have them.

use serde::Deserialize;

use crate::GrayImage;
use crate::error::Result;
use crate::mask::from_binary;
use crate::rle::{CocoRle, Rle};

/// A mask in one of COCO's three forms.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Polygons, of which each is inside: `[[x0, y0, …], …]` in pixels.
    Polygons(Vec<Vec<f64>>),
    /// Runs as a string.
    Rle(CocoRle),
    /// Runs as numbers, zeros first.
    Counts {
        /// `[height, width]` in pixels.
        size: [u32; 2],
        /// Run lengths.
        counts: Vec<u32>,
    },
}

impl Segmentation {
    /// The mask, for a picture of this size.
    ///
    /// # Errors
    /// Those of [`Rle`]; runs of another size.
    pub fn mask(&self, width: u32, height: u32) -> Result<GrayImage> {
        from_binary(&self.rle(width, height)?.decode(), width, height)
    }

    /// [`Segmentation::mask`] as runs.
    ///
    /// # Errors
    /// As there.
    pub fn rle(&self, width: u32, height: u32) -> Result<Rle> {
        let rle = match self {
            Self::Polygons(polygons) => {
                let each = polygons.iter().map(|xy| Rle::from_polygon(xy, width, height));
                return Rle::union(&each.collect::<Result<Vec<_>>>()?);
            }
            Self::Rle(coco) => Rle::from_coco(coco)?,
            Self::Counts { size, counts } => Rle::from_counts(counts.clone(), size[1], size[0])?,
        };
        let (w, h) = rle.dimensions();
        if (w, h) == (width, height) {
            return Ok(rle);
        }
        Err(crate::DataError::size("a mask's runs", format!("{w}x{h}"), format!("{width}x{height} like the picture")))
    }
}
