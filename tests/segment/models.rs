//! Models that take other prompts than SAM does, or none.

use image::{ColorType, GenericImageView};

use super::common::{Sandbox, is_net, json, mobile_sam};

/// Runs `hrseg segment` on a photo, which must be wrong use: one line with all of `parts`, exit code 2, nothing written.
#[track_caller]
fn misused(args: &[&str], parts: &[&str]) {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let run = sandbox.hrseg(&[&["segment", "c.jpg"], args].concat()).exits(2);
    assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run:#?}");
    for part in parts {
        assert!(run.stderr.contains(part), "{part:?} is not in the message\n{run:#?}");
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn prompts_that_a_model_cannot_follow() {
    misused(&["--model", "is-net", "--point", "3,4"], &["is-net takes no prompts", "sam+isnet"]);
    misused(&["--model", "is-net", "--multimask"], &["is-net takes no prompts"]);
    misused(&["--model", "sam2-unext", "--box", "1,2,3,4"], &["sam2-unext takes no prompts"]);
    misused(&["--model", "sam+isnet"], &["sam+isnet needs to be told", "--box"]);
    misused(&["--model", "sam+isnet", "--point", "3,4", "--multimask"], &["one mask"]);
    misused(&["--model", "dis-sam", "--mask", "m.png", "--box", "1,2,3,4"], &["coarse mask itself"]);
    misused(&["--model", "pi-sam-b", "--point", "3,4"], &["--box", "--refine"]);
    misused(&["--model", "pi-sam-l"], &["begins with a box"]);
    misused(&["--model", "pi-sam-h", "--refine", "3,4"], &["begins with a box"]);
    misused(&["--model", "mobile-sam", "--point", "3,4", "--refine", "5,6"], &["cannot --refine", "Pi-SAM"]);
    misused(&["--model", "sam-vit-b", "--point", "3,4", "--stage-one", "mobile-sam"], &["no --stage-one"]);
    misused(&["--model", "dis-sam", "--point", "3,4", "--stage-one", "is-net"], &["--stage-one is-net", "MobileSAM"]);
    misused(&["--model", "is-net", "--stage-one-weights", "w.pt"], &["no first stage"]);
    misused(&["--model", "mpg-sam2", "--point", "3,4"], &["mpg-sam2 looks for what a sentence says", "hrseg track"]);
}

#[test]
fn a_salient_object_is_a_probability() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let weights = is_net(3).to_str().unwrap();
    let run = sandbox.hrseg(&["segment", "c.jpg", "--model", "is-net", "--weights", weights]).exits(0);
    assert!(run.stdout.starts_with("c.jpg: ") && run.stdout.contains("c.overlay.png"), "{run:#?}");
    assert_eq!(sandbox.names("out"), ["c.cutout.png", "c.json", "c.mask.png", "c.overlay.png"]);
    let mask = image::open(sandbox.path("out/c.mask.png")).unwrap();
    assert_eq!((mask.color(), mask.dimensions()), (ColorType::L8, (600, 400)));
    let levels: std::collections::BTreeSet<u8> = mask.to_luma8().into_raw().into_iter().collect();
    assert!(levels.len() > 100 && levels.contains(&0) && levels.contains(&255), "stretched to all levels");
    let record = json(&sandbox.path("out/c.json"));
    assert!(record["masks"][0]["predicted_iou"].is_null() && record["coarse"].is_null(), "{record}");
    // 0.5 lies inside level 127
    let from = |level: u8| mask.to_luma8().pixels().filter(|p| p.0[0] >= level).count() as u64;
    let area = record["masks"][0]["area"].as_u64().unwrap();
    assert!((from(128)..=from(127)).contains(&area), "{area}");
}

#[test]
fn two_stages_write_both_masks() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let (first, second) = (mobile_sam().to_str().unwrap(), is_net(3).to_str().unwrap());
    let args = ["segment", "c.jpg", "--model", "sam+isnet", "--weights", second, "--stage-one-weights", first];
    let run = sandbox.hrseg(&[&args[..], &["--box", "100,80,420,330"]].concat()).exits(0);
    assert!(run.stdout.contains("c.compare.png"), "{run:#?}");
    let names = ["c.coarse.png", "c.compare.png", "c.cutout.png", "c.json", "c.mask.png", "c.overlay.png"];
    assert_eq!(sandbox.names("out"), names);
    let record = json(&sandbox.path("out/c.json"));
    assert_eq!(record["coarse"]["model"], "mobile-sam");
    let coarse = image::open(sandbox.path("out/c.coarse.png")).unwrap().to_luma8();
    assert!(coarse.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255));
    let [left, top, width, height]: [u32; 4] = serde_json::from_value(record["coarse"]["bbox"].clone()).unwrap();
    let inside = |x: u32, y: u32| x >= left && x < left + width && y >= top && y < top + height;
    assert!(coarse.enumerate_pixels().all(|(x, y, p)| p.0[0] == 0 || inside(x, y)), "the box is the mask's");

    // made-up weights need not agree: whose answer it is, is said in the JSON, in the line, and in a note where they do not
    let stages = &record["coarse"]["stages"];
    assert!(stages["agreement"].as_f64().is_some() && stages["candidate"].as_u64().is_some(), "{stages}");
    let line = match stages["answer"].as_str().unwrap() {
        "both" => "of the coarse mask's shape kept",
        "second" => "the second stage's mask",
        _ => "the coarse mask as it is",
    };
    assert!(run.stdout.contains(line), "{stages}: {run:#?}");
    assert_eq!(run.stderr.contains("the stages disagree"), stages["answer"] != "both", "{stages}: {run:#?}");

    // the mask of the first run as the coarse mask of the second: no first stage is needed, nor its weights. The second stage looks
    // around the mask then, not around the user's box
    let mask =
        ["segment", "c.jpg", "--model", "sam+isnet", "--weights", second, "--mask", "out/c.coarse.png", "-o", "two"];
    sandbox.hrseg(&mask).exits(0);
    let record = json(&sandbox.path("two/c.json"));
    assert!(record["coarse"]["model"].is_null() && record["coarse"]["stages"]["candidate"].is_null(), "{record}");
    assert_eq!(record["coarse"]["bbox"], serde_json::json!([left, top, width, height]));
    let same = |name: &str| std::fs::read(sandbox.path(&format!("{name}/c.coarse.png"))).unwrap();
    assert!(same("out") == same("two"), "the mask is taken as it was given");
}

#[test]
fn a_coarse_mask_must_fit() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    image::GrayImage::new(600, 400).save(sandbox.path("empty.png")).unwrap();
    let half = |x, _| image::Luma([if x < 15 { 255u8 } else { 0 }]);
    image::GrayImage::from_fn(30, 20, half).save(sandbox.path("small.png")).unwrap();
    let weights = is_net(5).to_str().unwrap();
    let run =
        |mask: &str| sandbox.hrseg(&["segment", "c.jpg", "--model", "dis-sam", "--weights", weights, "--mask", mask]);
    run("empty.png").refuses(&["empty.png", "no pixel is inside"]);
    run("small.png").refuses(&["c.jpg", "30x20", "600x400"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn the_other_is_net() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let (three, five) = (is_net(3).to_str().unwrap(), is_net(5).to_str().unwrap());
    sandbox
        .hrseg(&["segment", "c.jpg", "--model", "is-net", "--weights", five])
        .refuses(&["dis-sam", "expected is-net"]);
    let first = mobile_sam().to_str().unwrap();
    let args = ["segment", "c.jpg", "--model", "dis-sam", "--weights", three, "--stage-one", "mobile-sam"];
    let run = sandbox.hrseg(&[&args[..], &["--stage-one-weights", first, "--box", "10,10,300,300"]].concat());
    run.refuses(&["is-net", "expected dis-sam"]);
}
