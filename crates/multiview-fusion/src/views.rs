//! Splitting an image into views and joining them.

use candle_core::{Result, Tensor};
use seg_ops::Resize;

/// An image as `n × n` local views, row after row, and a global one: the whole image at the size of one of them (`image2patches`,
/// `patches2image` in models/sam.py of sevenshr/MGD-SAM2, there for `n` = 2).
///
/// A batch of `B` images becomes a batch of `(n² + 1)·B` views: the locals of the first image, those of the second …, then the globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewGrid {
    per_side: usize,
}

impl ViewGrid {
    /// MGD-SAM2's: four quadrants and the whole.
    pub const MGD_SAM2: Self = Self { per_side: 2 };

    /// `per_side × per_side` local views, of at least 1 × 1.
    pub fn new(per_side: usize) -> Result<Self> {
        if per_side == 0 {
            candle_core::bail!("ViewGrid: 0 views a side, expected 1 or more");
        }
        Ok(Self { per_side })
    }

    /// Local views along a side of the image.
    pub fn per_side(self) -> usize {
        self.per_side
    }

    /// Local views of an image.
    pub fn locals(self) -> usize {
        self.per_side * self.per_side
    }

    /// Views of an image, the global one included.
    pub fn count(self) -> usize {
        self.locals() + 1
    }

    /// Images that `views` views belong to.
    ///
    /// # Errors
    /// If they are not those of whole images.
    pub fn images(self, views: usize) -> Result<usize> {
        if views == 0 || !views.is_multiple_of(self.count()) {
            candle_core::bail!(
                "{views} views, expected a positive multiple of {}: {n} x {n} local ones and a global one an image",
                self.count(),
                n = self.per_side
            );
        }
        Ok(views / self.count())
    }

    /// Images `[B, C, n·H, n·W]` to views `[(n² + 1)·B, C, H, W]`.
    ///
    /// # Errors
    /// If `n` does not divide the sides.
    pub fn split_images(self, images: &Tensor) -> Result<Tensor> {
        let (b, c, height, width) = images.dims4()?;
        let n = self.per_side;
        let (h, w) = (self.side("height", height)?, self.side("width", width)?);
        let locals = images.reshape(vec![b, c, n, h, n, w])?.permute(vec![0, 2, 4, 1, 3, 5])?;
        let locals = locals.contiguous()?.reshape((n * n * b, c, h, w))?;
        let globals = seg_ops::resize(images, (h, w), &Resize::bilinear())?;
        Tensor::cat(&[locals, globals], 0)
    }

    /// Masks `[B, C, n·H, n·W]` to those of the views, `[(n² + 1)·B, C, H, W]`: as [`ViewGrid::split_images`], but the globals with the
    /// nearest pixels.
    ///
    /// # Errors
    /// If `n` does not divide the sides.
    pub fn split_masks(self, masks: &Tensor) -> Result<Tensor> {
        let (b, c, height, width) = masks.dims4()?;
        let (h, w) = (self.side("height", height)?, self.side("width", width)?);
        let globals = seg_ops::resize(masks, (h, w), &Resize::nearest())?;
        let locals = self.split(&masks.permute((0, 2, 3, 1))?.contiguous()?)?; // [n²·B, H, W, C]
        Tensor::cat(&[locals.permute((0, 3, 1, 2))?.reshape((self.locals() * b, c, h, w))?, globals], 0)
    }

    /// The two parts of a batch of views of any kind, `[(n² + 1)·B, …]`: locals `[n²·B, …]` and globals `[B, …]`.
    pub fn parts(self, views: &Tensor) -> Result<(Tensor, Tensor)> {
        let b = self.images(views.dim(0)?)?;
        Ok((views.narrow(0, 0, self.locals() * b)?, views.narrow(0, self.locals() * b, b)?))
    }

    /// Channels-last maps of whole images, `[B, n·h, n·w, C]`, to those of the local views, `[n²·B, h, w, C]`.
    ///
    /// # Errors
    /// If `n` does not divide the sides.
    pub fn split(self, maps: &Tensor) -> Result<Tensor> {
        let (b, height, width, c) = maps.dims4()?;
        let n = self.per_side;
        let (h, w) = (self.side("height", height)?, self.side("width", width)?);
        let views = maps.reshape((b, n, h, n, w * c))?.transpose(2, 3)?; // [B, n, n, h, w·C]
        views.contiguous()?.reshape((n * n * b, h, w, c))
    }

    /// The reverse of [`ViewGrid::split`]: `[n²·B, h, w, C]` to `[B, n·h, n·w, C]`.
    pub fn join(self, locals: &Tensor) -> Result<Tensor> {
        let (views, h, w, c) = locals.dims4()?;
        let n = self.per_side;
        if views == 0 || !views.is_multiple_of(n * n) {
            candle_core::bail!("{views} local views, expected a positive multiple of {}", n * n);
        }
        let b = views / (n * n);
        let maps = locals.reshape((b, n, n, h, w * c))?.transpose(2, 3)?; // [B, n, h, n, w·C]
        maps.contiguous()?.reshape((b, n * h, n * w, c))
    }

    /// A view's side from an image's.
    fn side(self, name: &str, of_image: usize) -> Result<usize> {
        if of_image == 0 || !of_image.is_multiple_of(self.per_side) {
            candle_core::bail!(
                "a {name} of {of_image} does not divide into {n} views, expected a positive multiple of {n}",
                n = self.per_side
            );
        }
        Ok(of_image / self.per_side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn numbered(shape: (usize, usize, usize, usize)) -> Result<Tensor> {
        let (a, b, c, d) = shape;
        Tensor::arange(0f32, (a * b * c * d) as f32, &Device::Cpu)?.reshape(shape)
    }

    #[test]
    fn quadrants_row_after_row_then_the_whole() -> Result<()> {
        let images = numbered((2, 1, 4, 4))?;
        let views = ViewGrid::MGD_SAM2.split_images(&images)?;
        assert_eq!(views.dims(), [10, 1, 2, 2]);
        let view = |i: usize| views.get(i)?.flatten_all()?.to_vec1::<f32>();
        assert_eq!(view(1)?, [2., 3., 6., 7.]); // top right of the first
        assert_eq!(view(6)?, [24., 25., 28., 29.]); // bottom left of the second
        assert_eq!(view(8)?, [2.5, 4.5, 10.5, 12.5]); // the first, 2 × 2 pixels in one
        let masks = ViewGrid::MGD_SAM2.split_masks(&images)?;
        assert_eq!(
            masks.narrow(0, 0, 8)?.flatten_all()?.to_vec1::<f32>()?,
            views.narrow(0, 0, 8)?.flatten_all()?.to_vec1::<f32>()?
        );
        assert_eq!(masks.get(8)?.flatten_all()?.to_vec1::<f32>()?, [0., 2., 8., 10.]);
        Ok(())
    }

    #[test]
    fn joining_is_splitting_backwards() -> Result<()> {
        for n in 1..4 {
            let grid = ViewGrid::new(n)?;
            let maps = numbered((2, 2 * n, 3 * n, 5))?;
            let views = grid.split(&maps)?;
            assert_eq!(views.dims(), [2 * n * n, 2, 3, 5]);
            let back = grid.join(&views)?;
            assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, maps.flatten_all()?.to_vec1::<f32>()?);
            // the same views as of images with channels first
            let images = grid.split_images(&maps.permute((0, 3, 1, 2))?.contiguous()?)?;
            let (locals, globals) = grid.parts(&images)?;
            assert_eq!(globals.dims(), [2, 5, 2, 3]);
            let difference = (locals.permute((0, 2, 3, 1))? - views)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert_eq!(difference, 0.);
        }
        Ok(())
    }

    #[test]
    fn what_does_not_divide_is_refused() -> Result<()> {
        let grid = ViewGrid::new(3)?;
        let images = Tensor::zeros((1, 3, 9, 8), DType::F32, &Device::Cpu)?;
        let message = grid.split_images(&images).unwrap_err().to_string();
        assert!(message.contains("width of 8") && message.contains("multiple of 3"), "{message}");
        let message = grid.parts(&images.repeat((9, 1, 1, 1))?).unwrap_err().to_string();
        assert!(message.contains("9 views") && message.contains("multiple of 10"), "{message}");
        assert!(grid.join(&images.repeat((8, 1, 1, 1))?).is_err());
        assert!(ViewGrid::new(0).is_err());
        Ok(())
    }
}
