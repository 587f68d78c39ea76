//! Attention and products with weights give the same bits whatever the number of threads.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor};
use common::{gradients, random};
use seg_ops::{
    Activation, Epilogue, QkvOrder, RelativePositions, WindowAttention, attention, linear, window_attention,
    window_attention_with_rel_pos,
};

fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn bits(tensors: &[Tensor]) -> Vec<Vec<u64>> {
    // as f64 each f32 is itself
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    tensors.iter().map(|t| flat(t).into_iter().map(f64::to_bits).collect()).collect()
}

/// The value and the gradients of all inputs, in f32.
#[track_caller]
fn check(inputs: &[Tensor], f: &(dyn Fn(&[Tensor]) -> candle_core::Result<Tensor> + Sync)) {
    check_in(DType::F32, inputs, f);
}

#[track_caller]
fn check_in(dtype: DType, inputs: &[Tensor], f: &(dyn Fn(&[Tensor]) -> candle_core::Result<Tensor> + Sync)) {
    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
    let run = |threads: usize| {
        with_threads(threads, || {
            let mut all = vec![f(&inputs).unwrap()];
            all.extend(gradients(&inputs, f));
            bits(&all)
        })
    };
    let one = run(1);
    for threads in [2, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn whole_sequences() {
    for (h, n, m, d, dv) in [(1, 5, 3000, 16, 16), (2, 300, 700, 24, 17), (1, 1000, 40, 8, 8), (3, 97, 1030, 33, 64)] {
        let inputs = [random(&[1, h, n, d], 1), random(&[1, h, m, d], 2), random(&[1, h, m, dv], 3)];
        check(&inputs, &|t| attention(&t[0], &t[1], &t[2], 0.3, None));
        let inputs = [&inputs[..], &[random(&[1, 1, n, m], 4)]].concat();
        check(&inputs, &|t| attention(&t[0], &t[1], &t[2], 0.3, Some(&t[3])));
    }
}

#[test]
fn windows() {
    for (window, order) in [(7, QkvOrder::HeadsSplit), (0, QkvOrder::SplitHeads)] {
        let p = WindowAttention { heads: 2, window, query_pool: 1, order, scale: 0.3 };
        let inputs = [random(&[1, 30, 24, 96], 1), random(&[96], 2)];
        check(&inputs, &|t| window_attention(&t[0], &p, Some(&t[1]), None));
        let (h, w) = if window == 0 { (30, 24) } else { (window, window) };
        let biased = [&inputs[..], &[random(&[2, h * w, h * w], 3)]].concat();
        check(&biased, &|t| window_attention(&t[0], &p, Some(&t[1]), Some(&t[2])));
        let inputs = [&inputs[..], &[random(&[2 * h - 1, 16], 3), random(&[2 * w - 1, 16], 4)]].concat();
        check(&inputs, &|t| {
            let tables = RelativePositions { height: &t[2], width: &t[3] };
            window_attention_with_rel_pos(&t[0], &p, Some(&t[1]), tables)
        });
    }
}

#[test]
fn products() {
    for (rows, inputs, outputs) in [(1, 40, 300), (12, 600, 20), (700, 300, 77), (33, 16, 1100), (700, 512, 49)] {
        let inputs = [random(&[rows, inputs], 1), random(&[outputs, inputs], 2), random(&[outputs], 3)];
        for dtype in [DType::F32, DType::F64] {
            check_in(dtype, &inputs, &|t| linear(&t[0], &t[1], Some(&t[2]), Epilogue::act(Activation::Gelu)));
        }
    }
}
