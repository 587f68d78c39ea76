//! Memory that threads keep from call to call.
#![allow(unsafe_code)]

use super::alloc::uninit_vec;
use super::vector::Vector;
use std::cell::Cell;
use std::mem::MaybeUninit;

thread_local! {
    static SCRATCH: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
    static PACKED: Cell<Vec<MaybeUninit<f32>>> = const { Cell::new(Vec::new()) };
}

/// `n` elements of this thread's scratch memory: what they hold is left from an earlier use.
pub(crate) fn with_scratch<T: Vector, R>(n: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // taken out for the time of the call, so that a call inside it gets memory of its own
    let mut v = SCRATCH.take();
    let words = (n * size_of::<T>()).div_ceil(size_of::<f64>());
    if v.len() < words {
        v = vec![0.; words];
    }
    // SAFETY: f64 has at least the alignment of T (f32 or f64), whose every pattern of bits is a value; `n` elements fit into `words`.
    let slice = unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast::<T>(), n) };
    let result = f(slice);
    SCRATCH.set(v);
    result
}

/// `f` with room for `n` packed elements that tasks share. Up to 24 MiB are kept from call to call: fresh memory would cost more than the packing.
pub(crate) fn with_packed<R>(n: usize, f: impl FnOnce(&mut [MaybeUninit<f32>]) -> R) -> R {
    const KEPT: usize = 6 << 20;
    if n > KEPT {
        return f(&mut uninit_vec(n));
    }
    // empty where a task of an outer call, for which this thread waits, has it
    let mut packed = PACKED.take();
    if packed.len() < n {
        packed = uninit_vec(n);
    }
    let result = f(&mut packed[..n]);
    PACKED.set(packed);
    result
}
