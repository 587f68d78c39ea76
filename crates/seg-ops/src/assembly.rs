//! Results that are computed piece by piece.

use crate::cpu::assembly::Filling;
use crate::error::Result;
use candle_core::{DType, Device, Shape, Tensor};

/// A tensor put together from pieces in the order of its elements, so that what a piece is made from need not exist whole.
///
/// A piece is copied to its place at once and can be freed; with gradients, and where these kernels do not serve, the pieces are kept and joined at
/// the end by candle.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::arange(0f32, 12., &Device::Cpu)?.reshape((4, 3))?;
/// let mut doubled = seg_ops::Assembly::with_capacity(12);
/// for row in 0..4 {
///     doubled.push((x.narrow(0, row, 1)? * 2.)?)?;
/// }
/// assert_eq!(doubled.finish((4, 3))?.to_vec2::<f32>()?, (x * 2.)?.to_vec2::<f32>()?);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct Assembly {
    capacity: usize,
    pieces: Pieces,
}

enum Pieces {
    /// Nothing yet, of which type is not known.
    None,
    F32(Filling<f32>),
    F64(Filling<f64>),
    Kept(Vec<Tensor>),
}

impl Assembly {
    /// Of at most `capacity` elements; type and device are those of the pieces.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, pieces: Pieces::None }
    }

    /// The next elements, in a piece of any shape.
    ///
    /// # Errors
    /// If they are more than there is room for, or not of the type of the pieces before.
    pub fn push(&mut self, piece: Tensor) -> Result<()> {
        if let Pieces::None = self.pieces {
            let n = self.capacity;
            self.pieces = match (piece.device(), piece.dtype()) {
                _ if piece.track_op() => Pieces::Kept(Vec::new()),
                (Device::Cpu, DType::F32) => Pieces::F32(Filling::new(n)),
                (Device::Cpu, DType::F64) => Pieces::F64(Filling::new(n)),
                _ => Pieces::Kept(Vec::new()),
            };
        }
        match &mut self.pieces {
            Pieces::None => Ok(()),
            Pieces::F32(filling) => filling.push(&piece),
            Pieces::F64(filling) => filling.push(&piece),
            Pieces::Kept(pieces) => {
                pieces.push(piece.flatten_all()?);
                Ok(())
            }
        }
    }

    /// The whole, in its shape.
    ///
    /// # Errors
    /// If the shape has another number of elements than the pieces.
    pub fn finish(self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        match self.pieces {
            Pieces::None => candle_core::bail!("Assembly: no pieces for a tensor of shape {shape:?}"),
            Pieces::F32(filling) => filling.finish(shape),
            Pieces::F64(filling) => filling.finish(shape),
            Pieces::Kept(pieces) => Tensor::cat(&pieces, 0)?.reshape(shape),
        }
    }
}
