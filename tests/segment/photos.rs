//! Photos as people have them: colours, orientation, size.

use image::{GrayImage, ImageBuffer, Luma};

use super::common::{Sandbox, json, repository};

const CLICK: [&str; 2] = ["--point", "9,9"];

/// Files of the tests of `seg-data`.
fn with_data(sandbox: Sandbox, from: &str, under: &str) -> Sandbox {
    let bytes = std::fs::read(repository(&format!("crates/seg-data/tests/data/{from}"))).unwrap();
    sandbox.with_file(under, &bytes)
}

#[test]
fn an_orientation_behind_the_pixels_turns_the_photo() {
    let sandbox = with_data(Sandbox::new(), "raster/exif6_big_after.png", "a.png");
    sandbox.segment(&["a.png", CLICK[0], CLICK[1], "--format", "mask,rle"]).exits(0);
    assert_eq!(image::image_dimensions(sandbox.path("out/a.mask.png")).unwrap(), (21, 29));
    let record = json(&sandbox.path("out/a.json"));
    assert_eq!((&record["width"], &record["height"]), (&21.into(), &29.into()));
}

#[test]
fn a_colour_profile_is_converted_for_the_model_and_kept_in_the_cut_out() {
    let sandbox = with_data(Sandbox::new(), "profiles/p3.png", "a.png");
    let args = ["a.png", CLICK[0], CLICK[1], "--format", "mask,cutout,overlay", "--box", "0,0,48,32"];
    let run = sandbox.segment(&args).exits(0);
    assert!(run.stderr.contains("note: a.png: its colours are Display P3: the model sees them in sRGB"), "{run:?}");
    let given = seg_data::load_image(sandbox.path("a.png"), &Default::default()).unwrap();
    let cutout = seg_data::load_image(sandbox.path("out/a.cutout.png"), &Default::default()).unwrap();
    assert_eq!(cutout.profile.unwrap().icc(), given.profile.as_ref().unwrap().icc());
    let inside = image::open(sandbox.path("out/a.cutout.png")).unwrap().into_rgba8();
    let mut same = 0;
    for (x, y, pixel) in inside.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] == 255) {
        assert_eq!(pixel.0[..3], given.image.get_pixel(x, y).0, "{x},{y}");
        same += 1;
    }
    assert!(same > 0);
    // what is drawn for the screen is in sRGB
    assert!(seg_data::load_image(sandbox.path("out/a.overlay.png"), &Default::default()).unwrap().profile.is_none());

    let stored = [&args[..], &["--colours", "stored", "-o", "stored"]].concat();
    let run = sandbox.segment(&stored).exits(0);
    assert!(run.stderr.contains("note: a.png: its colours are Display P3, taken as if they were sRGB"), "{run:?}");
    let [one, other] = ["out", "stored"].map(|out| std::fs::read(sandbox.path(out).join("a.mask.png")).unwrap());
    assert_ne!(one, other, "the model must have seen other colours");
}

#[test]
fn a_mask_on_a_turned_photo_is_told_and_turned_with_it() {
    let sandbox = with_data(Sandbox::new(), "raster/exif6_before.png", "a.png");
    // the left part of the photo as it is stored, which is the upper part as it is shown
    let stored = GrayImage::from_fn(29, 21, |x, _| Luma([if x < 10 { 255 } else { 0 }]));
    let shown = GrayImage::from_fn(21, 29, |_, y| Luma([if y < 10 { 255 } else { 0 }]));
    stored.save(sandbox.path("stored.png")).unwrap();
    shown.save(sandbox.path("shown.png")).unwrap();
    let mut masks = Vec::new();
    for (mask, said) in [("stored.png", "as the photo is stored, with it"), ("shown.png", "as it is shown")] {
        let out = format!("out_{mask}");
        let run = sandbox.segment(&["a.png", "--mask", mask, "--format", "mask", "-o", &out]).exits(0);
        assert!(run.stderr.contains("orientation is 6") && run.stderr.contains(said), "{run:?}");
        masks.push(std::fs::read(sandbox.path(&out).join("a.mask.png")).unwrap());
    }
    assert_eq!(masks[0], masks[1]);
}

#[test]
fn the_limit_of_pixels_is_a_switch() {
    let large = [
        &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..],
        &12000u32.to_be_bytes(),
        &9000u32.to_be_bytes(),
        &[1, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let sandbox = with_data(Sandbox::new().with_file("large.png", &large.concat()), "raster/rgb.png", "a.png");
    let click = |args: &[&'static str]| [&["--format", "mask"], &CLICK[..], args].concat();
    sandbox.segment(&click(&["large.png"])).refuses(&["large.png", "108 million", "100 million", "--max-pixels"]);
    // what is wrong now is something else
    let other = sandbox.segment(&click(&["large.png", "--max-pixels", "150M"])).refuses(&["large.png"]);
    assert!(!other.contains("million"), "{other}");
    sandbox.segment(&click(&["a.png", "--max-pixels", "608"])).refuses(&[
        "a.png",
        "29x21 = 609",
        "608",
        "--max-pixels",
    ]);
    sandbox.segment(&click(&["a.png", "--max-pixels", "609"])).exits(0);
    let run = sandbox.segment(&click(&["a.png", "--max-pixels", "many"])).exits(2);
    assert!(run.stderr.contains("expected a number of pixels, such as 150M"), "{run:?}");
    for verb in [
        &["evaluate", "--pred", "p", "--gt", "g", "--metrics", "mae", "--max-pixels", "608"][..],
        &["track", "frames", "--point", "0:1:9,9", "--weights", "none.safetensors", "--max-pixels", "608"],
    ] {
        for folder in ["p", "g", "frames"] {
            std::fs::create_dir_all(sandbox.path(folder)).unwrap();
            std::fs::copy(sandbox.path("a.png"), sandbox.path(folder).join("0.png")).unwrap();
        }
        let run = sandbox.hrseg(verb);
        assert!(run.code != Some(2), "{run:?}");
        if verb[0] == "evaluate" {
            assert!(run.stderr.contains("29x21") && run.stderr.contains("--max-pixels"), "{run:?}");
        }
    }
}

/// A camera's 12 bits in 16: dark, and said.
#[test]
fn twelve_bits_in_sixteen_are_told() {
    let sandbox = Sandbox::new();
    let dark = ImageBuffer::<Luma<u16>, _>::from_fn(40, 30, |x, y| Luma([(x * 100 + y) as u16]));
    dark.save(sandbox.path("a.png")).unwrap();
    let run = sandbox.segment(&["a.png", CLICK[0], CLICK[1], "--format", "mask"]).exits(0);
    assert!(
        run.stderr.contains("note: a.png: its 16-bit samples go up to 3929 of 65535: the picture is dark"),
        "{run:?}"
    );
}
