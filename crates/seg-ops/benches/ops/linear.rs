//! Products with a weight matrix, GELU fused in.

use crate::{compare, tensor};
use criterion::Criterion;
use seg_ops::{Activation, Epilogue, gelu, linear};

pub fn bench(c: &mut Criterion) {
    // Hiera tiny, stages 1 and 3; SAM's decoder
    let cases = [([1, 256, 256, 96], 384), ([1, 64, 64, 384], 1536), ([1, 1, 4096, 256], 128), ([1, 1, 9, 256], 2048)];
    for (shape, outputs) in cases {
        let (x, w, b) = (tensor(&shape), tensor(&[outputs, shape[3]]), tensor(&[outputs]));
        let rows = shape[0] * shape[1] * shape[2];
        compare(
            c,
            &format!("linear {rows}x{} to {outputs}", shape[3]),
            || linear(&x, &w, Some(&b), Epilogue::NONE),
            || x.reshape((rows, shape[3]))?.matmul(&w.t()?)?.broadcast_add(&b),
        );
        compare(
            c,
            &format!("linear and gelu {rows}x{} to {outputs}", shape[3]),
            || linear(&x, &w, Some(&b), Epilogue::act(Activation::Gelu)),
            || x.reshape((rows, shape[3]))?.matmul(&w.t()?)?.broadcast_add(&b)?.gelu_erf(),
        );
    }
    let x = tensor(&[65536, 384]);
    compare(c, "gelu 65536x384", || gelu(&x), || x.gelu_erf());
}
