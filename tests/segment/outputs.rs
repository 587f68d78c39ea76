//! What is written for an image.

use hrseg::seg_data::decode_image;
use hrseg::seg_data::rle::{CocoRle, Rle};
use image::{ColorType, DynamicImage};
use serde_json::Value;

use super::common::{Sandbox, json};

fn open(sandbox: &Sandbox, name: &str) -> DynamicImage {
    image::open(sandbox.path(name)).unwrap()
}

/// The record's mask `rank` must be the mask image `file`, pixel by pixel, with its area and box.
#[track_caller]
fn rle_is_the_png(sandbox: &Sandbox, record: &Value, rank: usize, file: &str) {
    let mask = &record["masks"][rank];
    let coco: CocoRle = serde_json::from_value(mask["rle"].clone()).unwrap();
    let rle = Rle::from_coco(&coco).unwrap();
    let DynamicImage::ImageLuma8(png) = open(sandbox, file) else { panic!("{file} is not 8-bit grey") };
    assert_eq!(rle.dimensions(), png.dimensions());
    let decoded: Vec<u8> = rle.decode().into_iter().map(|v| 255 * v).collect();
    assert!(decoded == *png.as_raw(), "the RLE is not {file}");
    assert_eq!(mask["area"], rle.area());
    assert_eq!(mask["bbox"], serde_json::json!(rle.bbox()));
    let share = rle.area() as f64 / (f64::from(png.width()) * f64::from(png.height()));
    assert!((mask["area_share"].as_f64().unwrap() - share).abs() < 1e-12);
}

#[test]
fn all_formats_of_a_photo() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "my photo.v2.jpg");
    let run = sandbox.segment(&["my photo.v2.jpg", "--point", "365,290", "--point", "20,20:0"]).exits(0);
    assert_eq!(run.stderr, "");
    assert!(run.stdout.starts_with("my photo.v2.jpg: predicted IoU ") && run.stdout.lines().count() == 1, "{run:?}");
    let names = ["my photo.v2.cutout.png", "my photo.v2.json", "my photo.v2.mask.png", "my photo.v2.overlay.png"];
    assert_eq!(sandbox.names("out"), names);

    let photo = open(&sandbox, "my photo.v2.jpg").to_rgb8();
    let mask = open(&sandbox, "out/my photo.v2.mask.png");
    assert_eq!((mask.color(), mask.width(), mask.height()), (ColorType::L8, 600, 400));
    let mask = mask.into_luma8();
    assert!(mask.as_raw().iter().all(|&v| v == 0 || v == 255));
    assert!(mask.as_raw().contains(&0) && mask.as_raw().contains(&255), "a mask that shows something");

    let cutout = open(&sandbox, "out/my photo.v2.cutout.png");
    assert_eq!((cutout.color(), cutout.width(), cutout.height()), (ColorType::Rgba8, 600, 400));
    for ((cut, mask), rgb) in cutout.into_rgba8().pixels().zip(mask.pixels()).zip(photo.pixels()) {
        assert!(mask.0[0] == 255 || cut.0[3] == 0, "transparent outside");
        // the JPEG decoders of the test and of the command may differ by a step or two
        let near = cut.0.iter().zip(rgb.0).all(|(&a, b)| a.abs_diff(b) <= 3);
        assert!(cut.0[3] < 255 || near, "the photo's own colours inside: {cut:?} {rgb:?}");
    }
    let overlay = open(&sandbox, "out/my photo.v2.overlay.png");
    assert_eq!((overlay.width(), overlay.height()), (600, 400));
    assert!(matches!(overlay.color(), ColorType::Rgb8 | ColorType::Rgba8));

    let record = json(&sandbox.path("out/my photo.v2.json"));
    assert_eq!(record["image"], "my photo.v2.jpg");
    assert_eq!((&record["width"], &record["height"]), (&600.into(), &400.into()));
    assert_eq!(record["model"], "mobile-sam");
    assert_eq!(record["prompts"]["points"], serde_json::json!([[365.0, 290.0, 1.0], [20.0, 20.0, 0.0]]));
    assert_eq!(record["prompts"]["multimask"], false);
    assert_eq!(record["masks"].as_array().unwrap().len(), 1);
    rle_is_the_png(&sandbox, &record, 0, "out/my photo.v2.mask.png");
}

#[test]
fn multimask_writes_the_best_first() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let args = ["c.jpg", "--point", "365,290", "--multimask", "--format", "mask,rle", "-o", "masks"];
    sandbox.segment(&args).exits(0);
    assert_eq!(sandbox.names("masks"), ["c.json", "c.mask.1.png", "c.mask.2.png", "c.mask.png"]);
    let record = json(&sandbox.path("masks/c.json"));
    let masks = record["masks"].as_array().unwrap();
    let ious: Vec<f64> = masks.iter().map(|m| m["predicted_iou"].as_f64().unwrap()).collect();
    assert_eq!(ious.len(), 3, "all predicted IoUs");
    assert!(ious.is_sorted_by(|a, b| a >= b), "{ious:?}");
    let mut indices: Vec<u64> = masks.iter().map(|m| m["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
    for (rank, file) in ["masks/c.mask.png", "masks/c.mask.1.png", "masks/c.mask.2.png"].into_iter().enumerate() {
        rle_is_the_png(&sandbox, &record, rank, file);
    }
}

#[test]
fn formats_are_written_as_asked() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    sandbox.segment(&["c.jpg", "--box", "75,15,482,390", "--format", "overlay"]).exits(0);
    assert_eq!(sandbox.names("out"), ["c.overlay.png"]);
    let run = sandbox.segment(&["c.jpg", "--box", "75,15,482,390", "--format", "picture", "-o", "other"]).exits(2);
    assert!(run.stderr.contains("mask, cutout, overlay, rle"), "{run:?}");
    assert!(!sandbox.path("other").exists());
}

/// `jpeg` with an EXIF block that says how to turn it.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    assert_eq!(jpeg[..2], [0xFF, 0xD8]);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_turned_photo_is_treated_as_a_viewer_shows_it() {
    let jpeg = std::fs::read(super::common::photo("coffee.jpg")).unwrap();
    let upright = decode_image(&jpeg, "coffee", &Default::default()).unwrap().image;
    let sandbox = Sandbox::new().with_file("turned.jpg", &with_orientation(&jpeg, 6));
    // orientation 6: to be turned by 90 degrees clockwise
    image::imageops::rotate90(&upright).save(sandbox.path("upright.png")).unwrap();
    // the point is outside the stored 600x400 pixels, inside the shown 400x600
    let run = sandbox.segment(&["turned.jpg", "upright.png", "--point", "110,480", "--json"]).exits(0);
    for (line, name) in run.stdout.lines().zip(["turned.jpg", "upright.png"]) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["image"], &record["width"], &record["height"]), (&name.into(), &400.into(), &600.into()));
    }
    for ending in ["mask.png", "cutout.png", "overlay.png"] {
        let [turned, plain] = ["turned", "upright"].map(|stem| open(&sandbox, &format!("out/{stem}.{ending}")));
        assert_eq!((turned.width(), turned.height()), (400, 600));
        assert!(turned == plain, "{ending} of the turned photo differs");
    }
}
