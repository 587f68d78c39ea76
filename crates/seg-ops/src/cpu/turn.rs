//! Matrices with rows and columns exchanged.
#![allow(unsafe_code)]

use super::vector::Vector;

/// Writes a matrix with rows and columns exchanged: `rows` × `columns`, rows `from` elements apart in `x`, to `columns` rows `to` apart.
#[inline(always)]
pub(crate) fn turn<T: Vector>((rows, columns): (usize, usize), x: &[T], from: usize, y: &mut [T], to: usize) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((columns - 1) * to + rows <= y.len());
    // SAFETY: the elements lie inside, as asserted.
    unsafe { turn_to((rows, columns), x, from, y.as_mut_ptr(), to) };
}

/// [`turn`] to where only these elements may be touched.
///
/// # Safety
/// They can be written.
#[inline(always)]
pub(crate) unsafe fn turn_to<T: Vector>((rows, columns): (usize, usize), x: &[T], from: usize, y: *mut T, to: usize) {
    assert!((rows - 1) * from + columns <= x.len());
    let x = x.as_ptr();
    let (whole_rows, whole_columns) = (rows / 4 * 4, columns / 4 * 4);
    // SAFETY: as asserted, and as the caller promises.
    unsafe {
        // along the side whose rows are far apart: these may share few sets of the cache
        if from > to {
            for i in (0..whole_rows).step_by(4) {
                for j in (0..whole_columns).step_by(4) {
                    T::turn(x.add(i * from + j), from, y.add(j * to + i), to);
                }
            }
        } else {
            for j in (0..whole_columns).step_by(4) {
                for i in (0..whole_rows).step_by(4) {
                    T::turn(x.add(i * from + j), from, y.add(j * to + i), to);
                }
            }
        }
        for i in 0..rows {
            let first = if i < whole_rows { whole_columns } else { 0 };
            for j in first..columns {
                *y.add(j * to + i) = *x.add(i * from + j);
            }
        }
    }
}

/// Eight rows of `k` as eight columns, `step` elements from one row of the result to the next.
///
/// # Safety
/// The rows and the room are there, and the processor has AVX2 if it is of the x86 family.
#[inline(always)]
pub(crate) unsafe fn turn_eight(rows: [*const f32; 8], k: usize, to: *mut f32, step: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        turn_eight_avx(rows, k, to, step);
        #[cfg(not(target_arch = "x86_64"))]
        for (i, row) in rows.into_iter().enumerate() {
            for p in 0..k {
                *to.add(p * step + i) = *row.add(p);
            }
        }
    }
}

/// Eight rows of `k` as eight columns, `step` elements from one row of the result to the next.
///
/// # Safety
/// The processor has AVX2, the rows and the room are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn turn_eight_avx(rows: [*const f32; 8], k: usize, to: *mut f32, step: usize) {
    use std::arch::x86_64::*;
    // SAFETY: elements below `k` of each row, as the caller promises.
    unsafe {
        let mut p = 0;
        while p + 8 <= k {
            let r: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(rows[i].add(p)));
            let (a0, a1) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
            let (a2, a3) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
            let (a4, a5) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5]));
            let (a6, a7) = (_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7]));
            let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xEE>(a0, a2));
            let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xEE>(a1, a3));
            let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xEE>(a4, a6));
            let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xEE>(a5, a7));
            let low = [(b0, b4), (b1, b5), (b2, b6), (b3, b7)];
            for (i, (a, b)) in low.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((p + i) * step), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add((p + i + 4) * step), _mm256_permute2f128_ps::<0x31>(a, b));
            }
            p += 8;
        }
        while p < k {
            for (i, row) in rows.iter().enumerate() {
                *to.add(p * step + i) = *row.add(p);
            }
            p += 1;
        }
    }
}
