//! Outputs that are not cleared before a kernel writes them.
#![allow(unsafe_code)]

use std::mem::{ManuallyDrop, MaybeUninit};

/// `n` elements to be written.
pub(crate) fn uninit_vec<T: Copy>(n: usize) -> Vec<MaybeUninit<T>> {
    let mut v = Vec::with_capacity(n);
    // SAFETY: the capacity is there, and a `MaybeUninit` needs no initialisation.
    unsafe { v.set_len(n) };
    v
}

/// The elements once they are written.
///
/// # Safety
/// Every element has been written.
pub(crate) unsafe fn assume_init_vec<T: Copy>(v: Vec<MaybeUninit<T>>) -> Vec<T> {
    let mut v = ManuallyDrop::new(v);
    // SAFETY: the parts of a `Vec` of a type of the same size and alignment, which is not dropped; initialised, as the caller promises.
    unsafe { Vec::from_raw_parts(v.as_mut_ptr().cast(), v.len(), v.capacity()) }
}

/// Elements to be written, for code that knows plain slices only.
///
/// # Safety
/// Nobody reads an element before writing it; of f32 and f64 every pattern of bits is a value.
#[inline(always)]
pub(crate) unsafe fn to_write<T: crate::float::Float>(y: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: `MaybeUninit<T>` is laid out as `T`; not read before it is written, as the caller promises.
    unsafe { &mut *(std::ptr::from_mut(y) as *mut [T]) }
}
