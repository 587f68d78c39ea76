//! All masks of each image.

use std::collections::BTreeSet;

use image::{ColorType, GenericImageView};
use seg_data::Rle;
use seg_data::rle::CocoRle;

use super::common::{Sandbox, json, mobile_sam};

/// Few clicks, of which every mask is taken.
#[rustfmt::skip]
const FEW: [&str; 9] = [
    "--everything", "--points-per-side", "2", "--pred-iou-thresh", "-100", "--stability-score-thresh", "0", "--box-nms-thresh", "1",
];

fn rle(of: &serde_json::Value) -> Rle {
    Rle::from_coco(&serde_json::from_value::<CocoRle>(of.clone()).unwrap()).unwrap()
}

#[test]
fn masks_numbers_pictures_and_one_json_of_all() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg").with_photo("rocket.jpg", "b.jpg");
    let weights = mobile_sam().to_str().unwrap();
    let hrseg =
        |more: &[&str]| sandbox.hrseg(&[&["segment", "a.jpg", "b.jpg", "--weights", weights][..], &FEW, more].concat());
    let run = hrseg(&[]).exits(0);
    assert!(run.stdout.contains("a.jpg: ") && run.stdout.contains("masks  ->  out/a.overlay.png"), "{run:#?}");
    assert!(run.stderr.contains("all masks: out/coco.json"), "{run:#?}");
    let names = ["a.json", "a.labels.png", "a.overlay.png", "b.json", "b.labels.png", "b.overlay.png", "coco.json"];
    assert_eq!(sandbox.names("out"), names);

    let record = json(&sandbox.path("out/a.json"));
    let settings = &record["settings"];
    assert_eq!((&settings["points_per_side"], &settings["crop_nms_thresh"]), (&2.into(), &0.7.into()));
    let masks = record["masks"].as_array().unwrap();
    assert!(!masks.is_empty());
    // each pixel has the number of the smallest mask that it is in
    let labels = image::open(sandbox.path("out/a.labels.png")).unwrap();
    assert_eq!((labels.dimensions(), labels.color()), ((600, 400), ColorType::Rgb8), "indexed");
    let map = seg_data::labels::load(sandbox.path("out/a.labels.png"), &Default::default()).unwrap().unwrap();
    let decoded: Vec<(u8, u64, Vec<u8>)> = masks
        .iter()
        .map(|mask| {
            let rle = rle(&mask["segmentation"]);
            assert_eq!(mask["area"], rle.area());
            (mask["label"].as_u64().unwrap() as u8, rle.area(), rle.decode())
        })
        .collect();
    for (at, label) in map.as_raw().iter().enumerate().step_by(97) {
        let smallest =
            decoded.iter().filter(|(.., inside)| inside[at] != 0).min_by_key(|(label, area, _)| (*area, 255 - label));
        assert_eq!(*label, smallest.map_or(0, |(label, ..)| *label), "pixel {at}");
    }

    let all = json(&sandbox.path("out/coco.json"));
    let files: Vec<&str> = (0..2).map(|i| all["images"][i]["file_name"].as_str().unwrap()).collect();
    assert_eq!(files, ["a.jpg", "b.jpg"]);
    let annotations = all["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), masks.len() + json(&sandbox.path("out/b.json"))["masks"].as_array().unwrap().len());
    let ids: BTreeSet<u64> = annotations.iter().map(|a| a["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), annotations.len());
    for annotation in annotations {
        let rle = rle(&annotation["segmentation"]);
        assert_eq!((&annotation["area"], &annotation["bbox"]), (&rle.area().into(), &rle.bbox().to_vec().into()));
        assert_eq!((&annotation["category_id"], &annotation["iscrowd"]), (&1.into(), &0.into()));
    }

    // again: refused before anything is computed; gone on with; written over
    let run = hrseg(&[]).exits(1);
    assert!(run.stderr.contains("coco.json is there already") && run.stderr.lines().count() == 1, "{run:#?}");
    std::fs::remove_file(sandbox.path("out/b.labels.png")).unwrap();
    let before = std::fs::read(sandbox.path("out/coco.json")).unwrap();
    let run = hrseg(&["--resume"]).exits(0);
    assert!(!run.stdout.contains("a.jpg") && run.stdout.contains("b.jpg"), "{run:#?}");
    assert_eq!(std::fs::read(sandbox.path("out/coco.json")).unwrap(), before);
    hrseg(&["--force", "--format", "rle"]).exits(0);
    assert_eq!(std::fs::read(sandbox.path("out/coco.json")).unwrap(), before);
    // each part of a run has a JSON of its own
    for part in ["1/2", "2/2"] {
        hrseg(&["--shard", part, "-o", "parts", "--format", "rle"]).exits(0);
    }
    assert_eq!(sandbox.names("parts"), ["a.json", "b.json", "coco.1-of-2.json", "coco.2-of-2.json"]);
    // the results are no photos of the next run
    let beside = [&["segment", ".", "-o", ".", "--weights", weights, "--resume"][..], &FEW].concat();
    sandbox.hrseg(&beside).exits(0);
    let run = sandbox.hrseg(&beside).exits(0);
    assert!(run.stderr.contains("0 of 2 images done, 2 there already"), "{run:#?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    for (args, part) in [
        (&["--everything", "--point", "3,4"][..], "cannot be used with"),
        (&["--everything", "--multimask"], "cannot be used with"),
        (&["--points-per-side", "3"], "--everything"),
        (&["--everything", "--model", "is-net"], "is-net does not look for everything, expected SAM"),
        (&["--everything", "--model", "pi-sam-b"], "pi-sam-b does not look for everything"),
        (&["--everything", "--points-per-side", "0"], "points_per_side"),
        (&["--everything", "--crop-n-layers", "9"], "crop_n_layers"),
        (&["--everything", "--format", "cutout"], "--everything writes mask, overlay and rle"),
    ] {
        let run = sandbox.hrseg(&[&["segment", "c.jpg"], args].concat()).exits(2);
        assert!(run.stderr.contains(part), "{args:?}: {run:#?}");
        assert!(!sandbox.path("out").exists());
    }
}
