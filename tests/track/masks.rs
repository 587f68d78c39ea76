//! Objects of which a mask is given, of any kind of file.

use image::{DynamicImage, GrayImage, ImageFormat, Rgba, RgbaImage};

use super::common::{Run, Sandbox, sam2_video};
use super::folder;
use hrseg::seg_data::labels;

/// The square of the first frame.
fn inside(x: u32, y: u32) -> bool {
    x.abs_diff(30) < 12 && y.abs_diff(20) < 12
}

fn grey(level: u8) -> GrayImage {
    GrayImage::from_fn(60, 40, |x, y| [if inside(x, y) { level } else { 0 }].into())
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

fn track(sandbox: &Sandbox, prompt: &str, out: &str) -> Run {
    let weights = sam2_video().to_str().unwrap();
    let args = ["--device", "cpu", "--weights", weights, "--format", "labels", "--mask", prompt, "-o", out];
    sandbox.hrseg(&[&["track", "ball"], &args[..]].concat())
}

/// A file of any kind starts from the same object as a plain mask of 0 and 255.
#[test]
fn what_is_inside_however_it_is_stored() {
    let two = GrayImage::from_fn(60, 40, |x, y| [if inside(x, y) { 2 } else { u8::from(x < 5) }].into());
    let cut =
        RgbaImage::from_fn(60, 40, |x, y| Rgba([90 + x as u8, 200 - y as u8, 77, if inside(x, y) { 255 } else { 0 }]));
    let sandbox = folder(1)
        .with_file("plain.png", &png(grey(255)))
        .with_file("zero_one.png", &png(grey(1)))
        .with_file("palette.png", &labels::png(&two).unwrap())
        .with_file("alpha.png", &png(cut))
        .with_file("none.png", &png(grey(0)))
        .with_file("all.png", &png(GrayImage::from_pixel(60, 40, [255].into())));
    let found = |file: &str, object: u8| {
        let out = format!("from {file}");
        let run = track(&sandbox, &format!("0:{object}:{file}"), &out).exits(0);
        let map = sandbox.path(&format!("{out}/ball/0.png"));
        let map = labels::load(map, &Default::default()).unwrap().unwrap();
        let share = map.pixels().filter(|p| p.0[0] > 0).count();
        assert!(map.pixels().all(|p| [0, object].contains(&p.0[0])));
        (share, map.into_raw().iter().map(|&v| v > 0).collect::<Vec<_>>(), run.stderr)
    };
    let (pixels, plain, said) = found("plain.png", 1);
    assert!(pixels.abs_diff(23 * 23) < 40, "{pixels}");
    assert!(!said.contains("note: plain.png"), "{said}");
    for (file, object, note) in [
        ("zero_one.png", 3, "note: zero_one.png: levels 0 and 1 alone"),
        ("palette.png", 2, ""),
        ("alpha.png", 1, "note: alpha.png: transparent parts"),
    ] {
        let (_, mask, said) = found(file, object);
        assert!(mask == plain, "{file} starts from another object");
        assert!(said.contains(note), "{file}: {said}");
    }
    track(&sandbox, "0:3:palette.png", "no").refuses(&["palette.png", "no pixel of object 3"]);
    track(&sandbox, "0:1:none.png", "no").refuses(&["none.png"]);
    assert!(!sandbox.path("no").exists());
    let said = track(&sandbox, "0:1:all.png", "all").exits(0).stderr;
    assert!(said.contains("note: all.png: the mask has every pixel inside"), "{said}");
}
