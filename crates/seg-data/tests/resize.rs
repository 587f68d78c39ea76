//! Bit-equality with Pillow, on values that Pillow produced.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{bytes, fnv, table};
use image::{GrayImage, RgbImage};
use seg_data::{PassOrder, PilFilter, resize_pil, resize_pil_in_order, to_luma_pil};

fn filter(name: &str) -> Option<PilFilter> {
    Some(match name {
        "nearest" => PilFilter::Nearest,
        "box" => PilFilter::Box,
        "bilinear" => PilFilter::Bilinear,
        "hamming" => PilFilter::Hamming,
        "bicubic" => PilFilter::Bicubic,
        "lanczos" => PilFilter::Lanczos,
        _ => return None,
    })
}

/// Portraits, landscapes and slivers; Pillow 13.0 takes the passes in another order than those before it.
#[test]
fn both_orders_of_passes_equal_their_pillow() {
    let rows = table("pil_order.txt");
    assert_eq!(rows.len(), 238);
    let mut different = 0;
    for row in rows {
        let n = |i: usize| row[i].parse::<u32>().unwrap();
        let (channels, w, h, to) = (n(1), n(2), n(3), (n(5), n(6)));
        let order = if row[0] == "13.0.0" { PassOrder::Pillow13 } else { PassOrder::default() };
        let raw = bytes(u64::from(w * 1000 + h), (w * h * channels) as usize);
        let filter = filter(&row[4]).unwrap();
        let resized = |order| match channels {
            1 => resize_pil_in_order(&GrayImage::from_raw(w, h, raw.clone()).unwrap(), to, filter, order)
                .unwrap()
                .into_raw(),
            _ => resize_pil_in_order(&RgbImage::from_raw(w, h, raw.clone()).unwrap(), to, filter, order)
                .unwrap()
                .into_raw(),
        };
        let out = resized(order);
        assert_eq!(fnv(&out), row[7], "{row:?}");
        different += usize::from(out != resized(PassOrder::HorizontalFirst));
    }
    assert_eq!(different, 28, "rows that tell the orders apart");
}

#[test]
fn every_filter_equals_pillow_bit_for_bit() {
    let rows = table("pil_resize.txt");
    assert_eq!(rows.len(), 133);
    for row in rows {
        let n = |i: usize| row[i].parse::<u32>().unwrap();
        let (channels, w, h, to) = (n(0), n(1), n(2), (n(4), n(5)));
        let Some(filter) = filter(&row[3]) else {
            let image = RgbImage::from_raw(w, h, bytes(7, (w * h * 3) as usize)).unwrap();
            assert_eq!(fnv(to_luma_pil(&image).as_raw()), row[6], "{row:?}");
            continue;
        };
        let raw = bytes(u64::from(w * 1000 + h), (w * h * channels) as usize);
        let out = if channels == 1 {
            resize_pil(&GrayImage::from_raw(w, h, raw).unwrap(), to, filter).unwrap().into_raw()
        } else {
            resize_pil(&RgbImage::from_raw(w, h, raw).unwrap(), to, filter).unwrap().into_raw()
        };
        let first = hex::encode(&out[..out.len().min(6)]);
        assert_eq!((first.as_str(), fnv(&out)), (row[7].as_str(), row[6].clone()), "{row:?}");
    }
}

#[test]
fn a_constant_stays_constant_and_the_same_size_is_the_identity() {
    let flat = GrayImage::from_pixel(31, 17, image::Luma([201]));
    let noise = RgbImage::from_raw(31, 17, bytes(1, 31 * 17 * 3)).unwrap();
    for filter in [PilFilter::Nearest, PilFilter::Box, PilFilter::Bilinear, PilFilter::Bicubic, PilFilter::Lanczos] {
        for to in [(7, 5), (100, 3), (64, 64)] {
            assert!(resize_pil(&flat, to, filter).unwrap().iter().all(|&v| v == 201), "{filter:?} {to:?}");
        }
        assert_eq!(resize_pil(&noise, (31, 17), filter).unwrap(), noise);
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let image = GrayImage::new(4, 4);
    for to in [(0, 4), (4, 0), (u32::MAX, u32::MAX), (1 << 20, 1 << 12)] {
        let error = resize_pil(&image, to, PilFilter::Bilinear).unwrap_err().to_string();
        assert!(error.contains(&format!("{}x{}", to.0, to.1)), "{error}");
    }
    assert!(resize_pil(&GrayImage::new(0, 3), (2, 2), PilFilter::Bilinear).is_err());
}
