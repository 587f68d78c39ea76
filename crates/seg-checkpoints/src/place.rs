//! A tensor of a checkpoint: its pieces, each in one of the checkpoint's files.

use crate::checkpoint::TensorInfo;
use crate::dtype::{FileDtype, checked_elements};
use crate::error::Fault;
use crate::read::{Placed, ReadError, Reader};
use candle_core::{Device, Tensor};

/// Where a tensor lies: mostly in one place; what a framework has taken apart, in several, joined along the first axis.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pieces: Vec<(usize, Placed)>,
}

impl Place {
    /// One piece, in the file of number `file`.
    pub fn one(file: usize, placed: Placed) -> Self {
        Self { pieces: vec![(file, placed)] }
    }

    /// The pieces one behind the other; none when they are of different types or do not fit together.
    pub fn joined(places: Vec<Self>) -> Option<Self> {
        let pieces: Vec<_> = places.into_iter().flat_map(|place| place.pieces).collect();
        let (_, first) = pieces.first()?;
        let (_, rest) = first.shape.split_first()?;
        let fits = |p: &Placed| p.dtype == first.dtype && p.shape.split_first().is_some_and(|(_, r)| r == rest);
        let rows = pieces.iter().try_fold(0usize, |n, (_, p)| n.checked_add(*p.shape.first()?))?;
        let elements = checked_elements(rest).and_then(|n| n.checked_mul(rows));
        (elements.is_some() && pieces.iter().all(|(_, p)| fits(p))).then_some(Self { pieces })
    }

    /// Row `row` of the first axis, which stays with length one.
    pub fn row(&self, row: usize) -> Option<Self> {
        match self.pieces.as_slice() {
            [(file, placed)] => Some(Self::one(*file, placed.row(row)?)),
            _ => None,
        }
    }

    pub fn dtype(&self) -> FileDtype {
        self.pieces[0].1.dtype
    }

    pub fn info(&self) -> TensorInfo {
        let mut shape = self.pieces[0].1.shape.clone();
        if self.pieces.len() > 1 {
            shape[0] = self.pieces.iter().map(|(_, p)| p.shape[0]).sum();
        }
        TensorInfo { shape, dtype: self.dtype() }
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|(_, placed)| placed.bytes()).sum()
    }

    /// Compares the checksums of the archive's entries that the tensor is in; on failure says in which file.
    pub fn check<'r>(&self, reader: impl Fn(usize) -> &'r Reader) -> Result<(), (usize, Fault)> {
        self.pieces.iter().try_for_each(|(file, placed)| placed.check(reader(*file)).map_err(|fault| (*file, fault)))
    }

    /// Reads the tensor; on failure says in which file.
    pub fn read<'r>(
        &self,
        reader: impl Fn(usize) -> &'r Reader,
        device: &Device,
    ) -> Result<Tensor, (usize, ReadError)> {
        let mut read = Vec::with_capacity(self.pieces.len());
        for (file, placed) in &self.pieces {
            read.push(placed.read(reader(*file), device).map_err(|e| (*file, e))?);
        }
        match read.as_slice() {
            [one] => Ok(one.clone()),
            several => Tensor::cat(several, 0).map_err(|e| (self.pieces[0].0, e.into())),
        }
    }
}
