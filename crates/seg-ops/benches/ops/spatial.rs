//! Pooling and resizing.

use crate::{compare, tensor};
use criterion::Criterion;
use seg_ops::{Layout, Pool2dParams, Resize, max_pool2d, resize};

pub fn bench(c: &mut Criterion) {
    let x = tensor(&[1, 192, 256, 256]);
    let p = Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: false, layout: Layout::Nchw };
    compare(c, "max_pool2d 192x256x256", || max_pool2d(&x, &p), || x.max_pool2d(2));
    let last = tensor(&[1, 256, 256, 192]);
    let p = Pool2dParams { layout: Layout::Nhwc, ..p };
    compare(
        c,
        "max_pool2d 192x256x256 channels last",
        || max_pool2d(&last, &p),
        || last.permute((0, 3, 1, 2))?.contiguous()?.max_pool2d(2)?.permute((0, 2, 3, 1))?.contiguous(),
    );
    let masks = tensor(&[1, 3, 256, 256]);
    compare(
        c,
        "resize bilinear 3x256x256 to 1024",
        || resize(&masks, (1024, 1024), &Resize::bilinear()),
        || masks.upsample_bilinear2d(1024, 1024, false),
    );
    let map = tensor(&[1, 256, 32, 32]);
    compare(
        c,
        "resize nearest 256x32x32 to 64",
        || resize(&map, (64, 64), &Resize::nearest()),
        || map.upsample_nearest2d(64, 64),
    );
}
