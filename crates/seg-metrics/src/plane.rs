//! Images as the metrics take them: borrowed, 8 bits a pixel, row by row.

use std::ops::Range;

use crate::{Error, Result};

/// A gray image, borrowed: `height` rows of `width` bytes without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Plane<'a> {
    /// A plane over `data`, of `width * height` bytes.
    ///
    /// # Errors
    /// [`Error::Empty`] if a side is 0, [`Error::Length`] if the bytes are not as many as the pixels.
    pub fn new(data: &'a [u8], width: usize, height: usize) -> Result<Self> {
        if width == 0 || height == 0 {
            return Err(Error::Empty { width, height });
        }
        if width.checked_mul(height) != Some(data.len()) {
            return Err(Error::Length { len: data.len(), width, height });
        }
        Ok(Self { data, width, height })
    }

    /// The pixels, row by row.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels, never 0.
    #[allow(clippy::len_without_is_empty, reason = "a plane is never empty")]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Row `y`.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.width..][..self.width]
    }

    /// The rows from the top.
    pub fn rows(&self) -> std::slice::ChunksExact<'a, u8> {
        self.data.chunks_exact(self.width)
    }

    /// Refuses a ground truth of another size.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`]; `self` is the prediction.
    pub fn same_size(&self, gt: Plane<'_>) -> Result<()> {
        if (self.width, self.height) == (gt.width, gt.height) {
            return Ok(());
        }
        Err(Error::SizeMismatch {
            pred_width: self.width,
            pred_height: self.height,
            gt_width: gt.width,
            gt_height: gt.height,
        })
    }
}

/// Cuts rows into bands of so many, the last of what is left.
pub(crate) fn bands(rows: Range<usize>, of: usize) -> Vec<Range<usize>> {
    rows.clone().step_by(of).map(|y| y..(y + of).min(rows.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_are_refused() {
        assert_eq!(Plane::new(&[], 0, 3), Err(Error::Empty { width: 0, height: 3 }));
        assert_eq!(Plane::new(&[0; 5], 2, 3), Err(Error::Length { len: 5, width: 2, height: 3 }));
        assert!(Plane::new(&[0; 5], usize::MAX, 2).is_err());
        let (a, b) = (Plane::new(&[0; 6], 2, 3).unwrap(), Plane::new(&[0; 6], 3, 2).unwrap());
        assert!(a.same_size(a).is_ok() && a.same_size(b).is_err());
    }
}
