//! Outputs that are not cleared before a kernel writes them, in large pages where the system gives them.
//!
//! A large output is fresh memory on every call: the system maps and clears it page by page at the first touch, which in pages of 4 KiB takes longer
//! than many of the kernels. Linux maps 2 MiB at once if asked to.
#![allow(unsafe_code)]

use std::mem::{ManuallyDrop, MaybeUninit};

/// `n` elements to be written.
pub(crate) fn uninit_vec<T: Copy>(n: usize) -> Vec<MaybeUninit<T>> {
    let mut v = Vec::with_capacity(n);
    // SAFETY: the capacity is there, and a `MaybeUninit` needs no initialisation.
    unsafe { v.set_len(n) };
    large_pages(&mut v);
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

/// `n` elements that `write` writes.
///
/// # Safety
/// `write` writes every element, and reads none that it has not written; of f32 and f64 every pattern of bits is a value.
pub(crate) unsafe fn written<T: crate::float::Float>(n: usize, write: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut v = uninit_vec::<T>(n);
    // SAFETY: `MaybeUninit<T>` is laid out as `T`; nothing is read before it is written, as the caller promises.
    write(unsafe { &mut *(std::ptr::from_mut(v.as_mut_slice()) as *mut [T]) });
    // SAFETY: written, as the caller promises.
    unsafe { assume_init_vec(v) }
}

/// Asks for large pages where `v` has not been touched yet. A wish: without it all is the same, only slower.
#[cfg(target_os = "linux")]
fn large_pages<T>(v: &mut [MaybeUninit<T>]) {
    const PAGE: usize = 2 << 20;
    let start = v.as_mut_ptr() as usize;
    let (from, to) = (start.next_multiple_of(PAGE), (start + size_of_val(v)) / PAGE * PAGE);
    if to > from {
        // SAFETY: whole pages inside our own allocation; the advice does not change what they hold.
        unsafe { libc::madvise(from as *mut _, to - from, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn large_pages<T>(_: &mut [MaybeUninit<T>]) {}
