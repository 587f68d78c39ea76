//! Copies pieces of a result to their place, in parallel, without clearing the place first.
#![allow(unsafe_code)]

use super::alloc::{assume_init_vec, uninit_vec};
use super::{Data, Value};
use crate::error::Result;
use crate::float::Float;
use candle_core::{Shape, Tensor};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Elements a task copies: enough to be worth handing to another thread.
const CHUNK: usize = 1 << 16;

/// A vector that is filled from the front.
pub(crate) struct Filling<T> {
    elements: Vec<MaybeUninit<T>>,
    filled: usize,
}

impl<T: Float> Filling<T> {
    pub fn new(n: usize) -> Self {
        Self { elements: uninit_vec(n), filled: 0 }
    }

    /// Copies the elements of `piece` behind those that are there.
    pub fn push(&mut self, piece: &Tensor) -> Result<()> {
        let piece = &piece.contiguous()?;
        let piece = Data::<T>::contiguous(piece)?;
        let from: &[T] = &piece;
        let left = self.elements.len() - self.filled;
        let Some(to) = self.elements[self.filled..].get_mut(..from.len()) else {
            candle_core::bail!("a piece of {} elements where {left} are left", from.len());
        };
        to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| {
            // SAFETY: `MaybeUninit<T>` is laid out as `T`, and every `T` is one that is initialised.
            to.copy_from_slice(unsafe { &*(std::ptr::from_ref(from) as *const [MaybeUninit<T>]) });
        });
        self.filled += from.len();
        Ok(())
    }

    /// The tensor of what has been filled in.
    pub fn finish(self, shape: Shape) -> Result<Tensor> {
        let Self { mut elements, filled } = self;
        if filled != shape.elem_count() {
            candle_core::bail!("pieces of {filled} elements together for a tensor of shape {shape:?}");
        }
        elements.truncate(filled);
        // SAFETY: these elements are written.
        Value::new(unsafe { assume_init_vec(elements) }, shape).tensor()
    }
}
