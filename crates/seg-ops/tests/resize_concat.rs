//! Resizing a map beside another.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::Tensor;
use common::{assert_close, check_op, gradcheck, random};
use seg_ops::{Resize, composed, resize, resize_concat, resize_nhwc};

fn expected(x: &Tensor, skip: &Tensor) -> Tensor {
    let (_, h, w, _) = skip.dims4().unwrap();
    let planes = resize(&x.permute((0, 3, 1, 2)).unwrap(), (h, w), &Resize::bilinear()).unwrap();
    Tensor::cat(&[&planes.permute((0, 2, 3, 1)).unwrap(), skip], 3).unwrap()
}

#[test]
fn the_numbers_of_resize_and_of_a_copy() {
    for (x, skip) in [
        ([2, 3, 4, 5], [2, 6, 8, 3]),
        ([1, 3, 5, 2], [1, 5, 9, 4]),
        ([1, 4, 3, 2], [1, 4, 3, 1]),
        ([1, 1, 1, 3], [1, 4, 2, 2]),
        ([1, 7, 9, 2], [1, 3, 4, 2]),
        ([1, 2, 2, 17], [1, 4, 4, 19]),
    ] {
        let inputs = [random(&x, 1), random(&skip, 2)];
        check_op(&inputs, &expected(&inputs[0], &inputs[1]), &|t| resize_concat(&t[0], &t[1]), &|t| {
            composed::resize_concat(&t[0], &t[1])
        });
    }
}

#[test]
fn maps_of_one_size_are_copied() {
    let inputs = [random(&[1, 3, 4, 2], 1), random(&[1, 3, 4, 3], 2)];
    let y = resize_concat(&inputs[0], &inputs[1]).unwrap();
    assert_close(&y, &Tensor::cat(&inputs, 3).unwrap(), 0., "copies");
    gradcheck(&inputs, &|t| resize_concat(&t[0], &t[1]));
}

#[test]
fn channels_last_maps_get_the_numbers_of_planes() {
    let modes = [
        Resize::nearest(),
        Resize::bilinear(),
        Resize::bilinear().align_corners(),
        Resize::bicubic(),
        Resize::bicubic().antialiased(),
    ];
    for ((shape, size), mode) in [([2, 3, 4, 5], (6, 8)), ([1, 8, 6, 17], (4, 3)), ([1, 1, 5, 2], (3, 7))]
        .into_iter()
        .flat_map(|case| modes.map(|mode| (case, mode)))
    {
        let inputs = [random(&shape, 1)];
        let planes = resize(&inputs[0].permute((0, 3, 1, 2)).unwrap(), size, &mode).unwrap();
        let expected = planes.permute((0, 2, 3, 1)).unwrap();
        check_op(&inputs, &expected, &|t| resize_nhwc(&t[0], size, &mode), &|t| {
            composed::resize_nhwc(&t[0], size, &mode)
        });
    }
    let text = resize_nhwc(&random(&[2, 3, 4], 1), (2, 2), &Resize::bilinear()).unwrap_err().to_string();
    assert!(text.contains("resize_nhwc: `x` has shape [2, 3, 4]"), "{text}");
}

#[test]
fn refusals_name_the_cause() {
    let x = random(&[2, 3, 4, 5], 1);
    let text = resize_concat(&x, &random(&[1, 6, 8, 3], 2)).unwrap_err().to_string();
    assert!(text.contains("resize_concat: `skip` has shape [1, 6, 8, 3]") && text.contains("[2, H, W, D]"), "{text}");
    let text = resize_concat(&random(&[2, 3, 4], 1), &x).unwrap_err().to_string();
    assert!(text.contains("`x` has shape [2, 3, 4]"), "{text}");
}
