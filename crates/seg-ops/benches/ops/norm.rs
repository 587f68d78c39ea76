//! Layer normalisation and softmax.

use crate::{compare, tensor};
use candle_core::Tensor;
use criterion::Criterion;
use seg_ops::{layer_norm, layer_norm_2d, softmax};

pub fn bench(c: &mut Criterion) {
    for (rows, channels) in [(65536, 96), (4096, 384), (4096, 256)] {
        let (x, w, b) = (tensor(&[rows, channels]), tensor(&[channels]), tensor(&[channels]));
        compare(
            c,
            &format!("layer_norm {rows}x{channels}"),
            || layer_norm(&x, &w, Some(&b), 1e-6),
            || candle_nn::ops::layer_norm(&x, &w, &b, 1e-6),
        );
    }
    let (x, w, b) = (tensor(&[1, 256, 64, 64]), tensor(&[256]), tensor(&[256]));
    let wide = |t: &Tensor| t.reshape((1, 256, 1, 1));
    compare(
        c,
        "layer_norm_2d 256x64x64",
        || layer_norm_2d(&x, &w, &b, 1e-6),
        || {
            // as candle-transformers' SAM has it
            let u = x.mean_keepdim(1)?;
            let centred = x.broadcast_sub(&u)?;
            let s = centred.sqr()?.mean_keepdim(1)?;
            let y = centred.broadcast_div(&(s + 1e-6)?.sqrt()?)?;
            y.broadcast_mul(&wide(&w)?)?.broadcast_add(&wide(&b)?)
        },
    );
    let x = tensor(&[4, 1024, 1024]);
    compare(c, "softmax 4096x1024", || softmax(&x), || candle_nn::ops::softmax_last_dim(&x));
}
