//! Elements out of tensors.

use crate::error::Result;
use crate::float::Float;
use candle_core::{Storage, StorageRef, Tensor};
use std::marker::PhantomData;
use std::ops::{Deref, Range};

/// The elements of a CPU tensor, borrowed.
pub(crate) struct Data<'a, T> {
    guard: StorageRef<'a>,
    range: Range<usize>,
    element: PhantomData<T>,
}

fn elements<T: Float>(storage: &Storage) -> Result<&[T]> {
    let Storage::Cpu(storage) = storage else {
        candle_core::bail!("a CPU kernel was given a tensor of another device");
    };
    T::elements(storage).ok_or_else(|| {
        let got = candle_core::backend::BackendStorage::dtype(storage);
        candle_core::Error::UnexpectedDType { msg: "CPU kernel", expected: T::TYPE, got }
    })
}

impl<'a, T: Float> Data<'a, T> {
    /// The elements of a contiguous tensor of type `T`.
    pub fn contiguous(t: &'a Tensor) -> Result<Self> {
        let (guard, layout) = t.storage_and_layout();
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("a CPU kernel was given a strided tensor");
        };
        elements::<T>(&guard)?;
        Ok(Self { guard, range: from..to, element: PhantomData })
    }

    /// From the tensor's first element to the end of its storage, for kernels that walk the strides themselves.
    pub fn strided(t: &'a Tensor) -> Result<Self> {
        let (guard, layout) = t.storage_and_layout();
        let to = elements::<T>(&guard)?.len();
        Ok(Self { guard, range: layout.start_offset().min(to)..to, element: PhantomData })
    }
}

impl<T: Float> Deref for Data<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &*self.guard {
            Storage::Cpu(s) => T::elements(s).and_then(|s| s.get(self.range.clone())).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// Whether a gradient may be asked for any of these.
pub(crate) fn tracked(tensors: &[Option<&Tensor>]) -> bool {
    tensors.iter().flatten().any(|t| t.track_op())
}
