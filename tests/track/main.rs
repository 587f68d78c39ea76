//! `hrseg track`: what it writes, and what it refuses.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

#[path = "../common/mod.rs"]
mod common;

mod clicks;
mod masks;
mod sentence;

use common::Sandbox;
use hrseg::seg_data::{RgbImage, output};
use image::codecs::gif::GifEncoder;
use image::{Frame, RgbaImage};

fn png(width: u32, height: u32, shift: u32) -> Vec<u8> {
    let inside = |x: u32, y: u32| (x + shift).abs_diff(width / 2) < 12 && y.abs_diff(height / 2) < 12;
    let image = RgbImage::from_fn(width, height, |x, y| {
        if inside(x, y) { [220, 90, 30].into() } else { [40, (x * 2) as u8, 60].into() }
    });
    output::png(&image).unwrap()
}

fn folder(count: u32) -> Sandbox {
    (0..count).fold(Sandbox::new(), |sandbox, t| sandbox.with_file(&format!("ball/{t}.png"), &png(60, 40, 3 * t)))
}

/// An animation of `count` plain frames.
fn gif(count: u8) -> Vec<u8> {
    let mut gif = Vec::new();
    let frames = (0..count).map(|t| Frame::new(RgbaImage::from_pixel(24, 16, [40 * t, 90, 200, 255].into())));
    GifEncoder::new(&mut gif).encode_frames(frames).unwrap();
    gif
}

/// Refused as wrong use, in one line with all of `parts`.
#[track_caller]
fn misused(sandbox: &Sandbox, args: &[&str], parts: &[&str]) {
    let run = sandbox.hrseg(&[&["track"], args].concat()).exits(2);
    assert!(parts.iter().all(|part| run.stderr.contains(part)), "{parts:?}\n{run:#?}");
    assert!(!sandbox.path("out").exists());
}
