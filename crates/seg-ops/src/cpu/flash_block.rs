//! Scores, powers and outputs of a block of queries, by vectors (see `flash.rs`).
#![allow(unsafe_code)]

use super::dense::part;
use super::flash::{KEYS, LOG2_E, Packs};
use super::flash_state::State;
use super::panels::last_width;
use super::relative::Relative;
use super::tile::{Panel, WHOLE};
use super::vector::{load, store};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Takes the queries' relative positions, and scales them.
pub(super) struct Start<'a, 'b> {
    pub state: &'a mut State<'b>,
    pub relative: Option<&'a Relative>,
}

impl WithSimd for Start<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let state = self.state;
        if let Some(relative) = self.relative {
            relative.prepare(s, state.queries.clone(), state.q, state.relative);
        }
        let factor = state.t.scale * LOG2_E;
        for q in state.q.iter_mut() {
            *q *= factor;
        }
    }
}

/// Takes a block of queries through `keys`.
pub(super) struct Blocks<'a, 'b> {
    pub state: &'a mut State<'b>,
    pub bias: Option<&'a [f32]>,
    pub relative: Option<&'a Relative>,
    pub packs: Packs,
    pub keys: Range<usize>,
}

impl WithSimd for Blocks<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { state, bias, relative, packs, keys } = self;
        let (t, width) = (state.t, state.layout.width);
        let n = state.queries.len();
        // the blocks of all parts have the same size: that of the whole
        let size = part(t.m, KEYS, width);
        for from in keys.clone().step_by(size) {
            let count = size.min(keys.end - from);
            let first = !std::mem::replace(&mut state.begun, true);
            for column in (0..count).step_by(width) {
                // SAFETY: inside the packed keys and the scores; whole vectors of both, as their rows are panels wide.
                unsafe {
                    Panel {
                        m: n,
                        k: t.d,
                        a: state.q.as_ptr(),
                        rows: t.d,
                        columns: 1,
                        runs: WHOLE,
                        b: packs.k.add((from - packs.origin + column) * t.d),
                        step: width,
                        c: state.scores.as_mut_ptr().add(column),
                        stride: state.columns,
                        n: (count - column).next_multiple_of(width / 2).min(width),
                        sum: false,
                    }
                    .run(s);
                }
            }
            if let Some(relative) = relative {
                relative.add(s, state.relative, state.scores, (n, state.columns), from..from + count);
            }
            // what takes the columns behind the last key out
            let mut tail = [0.; 16];
            tail[..S::F32_LANES][(count - 1) % S::F32_LANES + 1..].fill(f32::NEG_INFINITY);
            for i in 0..n {
                let scores = &mut state.scores[i * state.columns..][..count.next_multiple_of(S::F32_LANES)];
                if let Some(bias) = bias {
                    for (x, &b) in scores.iter_mut().zip(&bias[i * t.m + from..][..count]) {
                        *x += b * LOG2_E;
                    }
                }
                let before = if first { f32::NEG_INFINITY } else { state.maxima[i] };
                let (max, sum) = powers(s, scores, &tail, before);
                state.maxima[i] = max;
                if first {
                    state.sums[i] = sum;
                } else if max == before || max == f32::NEG_INFINITY {
                    state.sums[i] += sum;
                } else {
                    let factor = (before - max).exp2();
                    state.sums[i] = state.sums[i] * factor + sum;
                    for o in &mut state.outputs[i * state.wide..(i + 1) * state.wide] {
                        *o *= factor;
                    }
                }
            }
            for column in (0..t.dv).step_by(width) {
                let n_columns = last_width(width, t.dv - column);
                let (step, panel) = match packs.step {
                    Some(step) => (step, column),
                    None => (n_columns, column * packs.height),
                };
                // SAFETY: inside the values and the outputs, whose rows are whole vectors.
                unsafe {
                    Panel {
                        m: n,
                        k: count,
                        a: state.scores.as_ptr(),
                        rows: state.columns,
                        columns: 1,
                        runs: WHOLE,
                        b: packs.v.add(panel + (from - packs.origin) * step),
                        step,
                        c: state.outputs.as_mut_ptr().add(column),
                        stride: state.wide,
                        n: n_columns,
                        sum: !first,
                    }
                    .run(s);
                }
            }
        }
    }
}

/// `2^(x - m)` in place, where `m` is the maximum of `x` and of `before`; `m` and the sum. `tail` is added to the last vector. Whole vectors only.
#[inline(always)]
fn powers<S: Simd>(s: S, x: &mut [f32], tail: &[f32; 16], before: f32) -> (f32, f32) {
    let (lanes, x, last) = (S::F32_LANES, x.as_mut_ptr(), x.len() - S::F32_LANES);
    // SAFETY: whole vectors inside `x`; a vector has 16 elements at most.
    unsafe {
        let end = s.add_f32s(load(s, x.add(last)), load(s, tail.as_ptr()));
        let mut maxima = [s.max_f32s(end, s.splat_f32s(before)), end];
        let mut j = 0;
        while j + 2 * lanes <= last {
            maxima[0] = s.max_f32s(load(s, x.add(j)), maxima[0]);
            maxima[1] = s.max_f32s(load(s, x.add(j + lanes)), maxima[1]);
            j += 2 * lanes;
        }
        if j < last {
            maxima[0] = s.max_f32s(load(s, x.add(j)), maxima[0]);
        }
        let max = s.reduce_max_f32s(s.max_f32s(maxima[1], maxima[0]));
        // rows that are masked so far: nothing to shift by
        let shift = s.splat_f32s(if max == f32::NEG_INFINITY { 0. } else { max });
        let end = power_of_two(s, s.sub_f32s(end, shift));
        store(s, x.add(last), end);
        let mut sums = [end, s.splat_f32s(0.)];
        j = 0;
        while j + 2 * lanes <= last {
            let (a, b) = (load(s, x.add(j)), load(s, x.add(j + lanes)));
            let (a, b) = (power_of_two(s, s.sub_f32s(a, shift)), power_of_two(s, s.sub_f32s(b, shift)));
            store(s, x.add(j), a);
            store(s, x.add(j + lanes), b);
            sums = [s.add_f32s(sums[0], a), s.add_f32s(sums[1], b)];
            j += 2 * lanes;
        }
        if j < last {
            let a = power_of_two(s, s.sub_f32s(load(s, x.add(j)), shift));
            store(s, x.add(j), a);
            sums[0] = s.add_f32s(sums[0], a);
        }
        (max, s.reduce_sum_f32s(s.add_f32s(sums[0], sums[1])))
    }
}

/// `2^x` for `x <= 0` (0 below -126.5), relative error below 3e-7; a NaN stays one.
#[inline(always)]
pub(super) fn power_of_two<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low bits
    let round = s.splat_f32s(12_582_912.);
    // in this order a NaN is kept
    let x = s.max_f32s(s.splat_f32s(-127.), x);
    let shifted = s.add_f32s(x, round);
    let r = s.sub_f32s(x, s.sub_f32s(shifted, round));
    let mut p = s.splat_f32s(1.535_336_2e-4);
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, std::f32::consts::LN_2, 1.] {
        p = s.mul_add_f32s(p, r, s.splat_f32s(c));
    }
    let bits = s.add_u32s(s.transmute_u32s_f32s(shifted), s.splat_u32s(127));
    s.mul_f32s(p, s.transmute_f32s_u32s(s.wrapping_dyn_shl_u32s(bits, s.splat_u32s(23))))
}
