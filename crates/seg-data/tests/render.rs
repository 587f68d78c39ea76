//! What overlays and cut-outs look like, pixel by pixel where it matters.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use image::{GrayImage, Luma, Rgb, RgbImage, Rgba};
use seg_data::mask;
use seg_data::render::{OverlayStyle, Prompts, cutout, flatten, overlay};

const GREY: [u8; 3] = [100, 100, 100];

/// 200x100, inside where x >= 100.
fn half() -> (RgbImage, GrayImage) {
    let image = RgbImage::from_pixel(200, 100, Rgb(GREY));
    (image, GrayImage::from_fn(200, 100, |x, _| Luma([if x >= 100 { 255 } else { 0 }])))
}

#[test]
fn the_tint_the_line_and_the_darkening_are_where_they_belong() {
    let (image, mask) = half();
    let style =
        OverlayStyle { tint: [0, 0, 255], tint_opacity: 0.5, dim: 0.25, contour_width: 2.0, ..Default::default() };
    let out = overlay(&image, &mask, &Prompts::default(), &style).unwrap();
    assert_eq!(out.get_pixel(10, 50).0, [75, 75, 75]);
    assert_eq!(out.get_pixel(190, 50).0, [50, 50, 178]);
    // the line is 1.5 pixels wide here: the two pixels at the edge nearly white, the next ones untouched
    for y in 0..100 {
        for x in [99, 100] {
            assert!(out.get_pixel(x, y).0.iter().all(|&v| v > 170), "{:?}", out.get_pixel(x, y));
        }
        assert_eq!(out.get_pixel(97, y).0, [75, 75, 75]);
        assert_eq!(out.get_pixel(102, y).0, [50, 50, 178]);
    }
    let plain = OverlayStyle { contour_width: 0.0, dim: 0.0, tint_opacity: 0.0, ..style };
    assert_eq!(overlay(&image, &mask, &Prompts::default(), &plain).unwrap(), image);
}

#[test]
fn the_line_has_the_width_that_was_asked_for_on_every_side() {
    // a disc: count the line's coverage along rays and compare with the width
    let (n, r) = (400u32, 120f32);
    let image = RgbImage::new(n, n);
    let disc =
        GrayImage::from_fn(n, n, |x, y| Luma([if (x as f32 - 200.0).hypot(y as f32 - 200.0) < r { 255 } else { 0 }]));
    let style = OverlayStyle { contour_width: 16.0, tint_opacity: 0.0, dim: 0.0, ..Default::default() };
    let out = overlay(&image, &disc, &Prompts::default(), &style).unwrap();
    let area: f32 = out.pixels().map(|p| f32::from(p.0[0]) / 255.0).sum();
    let width = area / (std::f32::consts::TAU * (r - 0.25));
    let wanted = 16.0 * 400.0 / 1024.0;
    assert!((width - wanted).abs() < 0.5, "{width} for {wanted}");
    // no line where the mask touches nothing: an empty and a full mask stay without
    for value in [0, 255] {
        let flat = GrayImage::from_pixel(n, n, Luma([value]));
        assert_eq!(overlay(&image, &flat, &Prompts::default(), &style).unwrap(), image);
    }
}

#[test]
fn prompts_are_drawn_in_their_colours_and_cut_at_the_border() {
    let image = RgbImage::from_pixel(1024, 600, Rgb(GREY));
    let mask = GrayImage::new(1024, 600);
    let prompts = Prompts {
        points: vec![(200.0, 200.0, true), (400.0, 200.0, false), (0.0, 0.0, true), (1e9, f32::NAN, true)],
        boxes: vec![[600.0, 100.0, 900.0, 500.0], [-50.0, 550.0, 5000.0, 5000.0]],
    };
    let style = OverlayStyle { dim: 0.0, ..Default::default() };
    let out = overlay(&image, &mask, &prompts, &style).unwrap();
    let at = |x, y| out.get_pixel(x, y).0;
    let green = at(200, 200);
    assert!(green[1] > 150 && green[0] < 100, "{green:?}");
    let red = at(400, 200);
    assert!(red[0] > 200 && red[1] < 100, "{red:?}");
    assert_eq!(at(0, 0), green);
    // white rim between the radii 6.5 and 8.5, the photo again beyond 10
    assert_eq!(at(207, 200), at(193, 200));
    assert!(at(207, 200).iter().all(|&v| v > 200), "{:?}", at(207, 200));
    assert_eq!(at(212, 200), GREY);
    for (x, y) in [(600, 300), (900, 300), (750, 100), (750, 500), (600, 100), (900, 500), (300, 550)] {
        let v = at(x, y);
        assert!(v[0] > 200 && v[1] > 170 && v[2] < 60, "{x},{y}: {v:?}");
    }
    assert_eq!(at(750, 300), GREY);
    // each pixel of a box's line is mixed once: the sides look like the top, also next to the corners
    for d in 0..4 {
        for along in [3, 4, 5, 6, 50] {
            assert_eq!(at(600 + d, 100 + along), at(600 + along, 100 + d), "{d} {along}");
            assert_eq!(at(900 - d, 500 - along), at(900 - along, 500 - d), "{d} {along}");
        }
    }
}

#[test]
fn tiny_and_empty_images_are_drawn_without_fuss() {
    let prompts = Prompts { points: vec![(0.0, 0.0, false)], boxes: vec![[0.0, 0.0, 0.0, 0.0]] };
    for (w, h) in [(0, 0), (1, 1), (1, 300), (300, 1), (2, 2)] {
        let out = overlay(&RgbImage::new(w, h), &GrayImage::new(w, h), &prompts, &OverlayStyle::default()).unwrap();
        assert_eq!(out.dimensions(), (w, h));
    }
}

#[test]
fn a_cut_out_keeps_colours_and_takes_the_mask_as_alpha() {
    let image = RgbImage::from_fn(4, 3, |x, y| Rgb([x as u8, y as u8, 200]));
    let alpha = mask::from_probabilities(&[0.0, 0.5, 1.0, f32::NAN].repeat(3), 4, 3).unwrap();
    let cut = cutout(&image, &alpha).unwrap();
    for (x, y, pixel) in cut.enumerate_pixels() {
        assert_eq!(*pixel, Rgba([x as u8, y as u8, 200, [0, 128, 255, 0][x as usize]]));
    }
    let flat = flatten(&cut, [0, 255, 0]);
    assert_eq!((flat.get_pixel(0, 0).0, flat.get_pixel(2, 1).0), ([0, 255, 0], [2, 1, 200]));
    let error = cutout(&image, &GrayImage::new(3, 4)).unwrap_err().to_string();
    assert!(error.contains("3x4") && error.contains("4x3"), "{error}");
}

#[test]
fn logits_become_masks_at_the_threshold() {
    let m = mask::from_logits(&[-1.0, 0.0, 0.1, f32::NAN], 2, 2, 0.0).unwrap();
    assert_eq!(m.as_raw(), &[0, 0, 255, 0]);
    assert_eq!(mask::to_binary(&m), [0, 0, 1, 0]);
    assert_eq!(mask::from_binary(&[0, 9], 2, 1).unwrap().as_raw(), &[0, 255]);
    assert!(mask::from_logits(&[0.0; 3], 2, 2, 0.0).unwrap_err().to_string().contains("expected 2x2 = 4"));
}
