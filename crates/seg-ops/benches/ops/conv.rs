//! Convolutions of the encoders' stems, TinyViT's first stage, the necks and the decoders.

use crate::{compare, tensor};
use criterion::Criterion;
use seg_ops::{Conv2dParams, ConvTranspose2dParams, Epilogue, Layout, conv_transpose2d, conv2d};

pub fn bench(c: &mut Criterion) {
    // inputs, outputs, kernel, stride, padding, groups, size
    let cases = [
        (3, 32, 3, 2, 1, 1, 1024),
        (3, 96, 7, 4, 3, 1, 1024),
        (256, 256, 3, 1, 1, 256, 256),
        (64, 256, 1, 1, 0, 1, 256),
        (256, 256, 3, 1, 1, 1, 64),
    ];
    for (inputs, outputs, kernel, stride, padding, groups, size) in cases {
        let x = tensor(&[1, inputs, size, size]);
        let w = tensor(&[outputs, inputs / groups, kernel, kernel]);
        let p = Conv2dParams { stride, padding, dilation: 1, groups, layout: Layout::Nchw };
        let name = format!("conv2d {kernel}x{kernel} stride {stride} groups {groups} {inputs} to {outputs} at {size}");
        compare(c, &name, || conv2d(&x, &w, None, &p, Epilogue::NONE), || x.conv2d(&w, padding, stride, 1, groups));
        let last = x.permute((0, 2, 3, 1)).and_then(|x| x.contiguous()).expect("a permutation");
        let p = Conv2dParams { layout: Layout::Nhwc, ..p };
        // candle knows no channels-last: what it costs to get there and back belongs to it
        compare(
            c,
            &format!("{name} channels last"),
            || conv2d(&last, &w, None, &p, Epilogue::NONE),
            || {
                let x = last.permute((0, 3, 1, 2))?.contiguous()?;
                x.conv2d(&w, padding, stride, 1, groups)?.permute((0, 2, 3, 1))?.contiguous()
            },
        );
    }
    let (x, w) = (tensor(&[1, 256, 64, 64]), tensor(&[256, 64, 2, 2]));
    let p = ConvTranspose2dParams { stride: 2, ..Default::default() };
    compare(
        c,
        "conv_transpose2d 2x2 stride 2 256 to 64 at 64",
        || conv_transpose2d(&x, &w, None, &p, Epilogue::NONE),
        || x.conv_transpose2d(&w, 0, 0, 2, 1),
    );
}
