//! What the model is told, and by which weights it answers.

use super::common::{Sandbox, json, mobile_sam};

#[test]
fn a_mask_as_prompt() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let disk = |w: u32, h: u32| {
        image::GrayImage::from_fn(w, h, |x, y| {
            let inside = (x as f32 / w as f32 - 0.5).hypot(y as f32 / h as f32 - 0.5) < 0.3;
            image::Luma([if inside { 255 } else { 0 }])
        })
    };
    disk(600, 400).save(sandbox.path("start.png")).unwrap();
    disk(400, 400).save(sandbox.path("square.png")).unwrap();
    let masked = ["c.jpg", "--mask", "start.png", "--format", "mask,rle"];
    sandbox.segment(&masked).exits(0);
    assert_eq!(json(&sandbox.path("out/c.json"))["prompts"]["mask"], "start.png");
    // the mask has an effect: with a click alone another mask comes out than with both
    let both = ["c.jpg", "--mask", "start.png", "--point", "300,200", "--format", "mask", "-o", "both"];
    sandbox.segment(&both).exits(0);
    sandbox.segment(&["c.jpg", "--point", "300,200", "--format", "mask", "-o", "click"]).exits(0);
    let [with, without] = ["both", "click"].map(|out| std::fs::read(sandbox.path(out).join("c.mask.png")).unwrap());
    assert!(with != without);

    sandbox.segment(&["c.jpg", "--mask", "square.png", "-o", "no"]).refuses(&["400x400", "600x400"]);
    sandbox.segment(&["c.jpg", "--mask", "absent.png", "-o", "no"]).refuses(&["absent.png"]);
    assert!(!sandbox.path("no").exists());
}

#[test]
fn prompts_that_cannot_be() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    sandbox.segment(&["c.jpg", "--box", "0,0,601,100"]).refuses(&["c.jpg", "601", "600"]);
    sandbox.segment(&["c.jpg", "--box", "100,100,50,200"]).refuses(&["c.jpg", "empty"]);
    for wrong in [
        vec!["c.jpg", "--point", "5"],
        vec!["c.jpg", "--point", "nan,5"],
        vec!["c.jpg", "--point", "5,5:2"],
        vec!["c.jpg", "--box", "1,2,3"],
        vec!["c.jpg", "--point", "5,5", "--threads", "0"],
        vec!["--point", "5,5"],
    ] {
        let run = sandbox.segment(&wrong).exits(2);
        assert!(run.stderr.starts_with("error: "), "{run:?}");
    }
    let run = sandbox.segment(&["c.jpg"]).exits(2);
    assert!(run.stderr.contains("--point, --box or --mask") && run.stderr.lines().count() == 1, "{run:?}");
    assert!(!sandbox.path("out").exists());
}

/// Less than a pixel outside is the edge; a line says so.
#[test]
fn prompts_a_little_outside() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let args = ["c.jpg", "--box", "-0.3,8,600.4,390", "--point", "300,400.9", "--format", "rle"];
    let run = sandbox.segment(&args).exits(0);
    for part in ["note: c.jpg: box [-0.3,", "[0.0, 8.0, 600.0, 390.0]", "note: c.jpg: point (300, 400.9)"] {
        assert!(run.stderr.contains(part), "{run:?}");
    }
    let record = json(&sandbox.path("out/c.json"));
    assert_eq!(record["prompts"]["box"], serde_json::json!([0.0, 8.0, 600.0, 390.0]));
    assert_eq!(record["prompts"]["points"], serde_json::json!([[300.0, 400.0, 1.0]]));
}

#[test]
fn models_that_cannot_be() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let run = sandbox.segment(&["c.jpg", "--point", "5,5", "--model", "sam9"]).exits(2);
    assert!(run.stderr.contains("`sam9`") && run.stderr.contains("sam2.1-large"), "{run:?}");
    let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "5,5", "--device", "abacus"]).exits(2);
    assert!(run.stderr.contains("cuda:N"), "{run:?}");
    if !candle_core::utils::cuda_is_available() {
        let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "5,5", "--device", "cuda:1"]).exits(2);
        assert!(run.stderr.contains("cuda") && run.stderr.lines().count() == 1, "{run:?}");
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn weights_of_a_folder() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg").with_file("weights/readme", b"");
    let segment = |out: &str| {
        sandbox.hrseg(&["segment", "c.jpg", "--point", "5,5", "--weights", "weights", "--format", "rle", "-o", out])
    };
    segment("none").refuses(&["weights", "mobile_sam.pt"]);
    std::fs::copy(mobile_sam(), sandbox.path("weights/mobile_sam.safetensors")).unwrap();
    segment("out").exits(0);
    assert_eq!(sandbox.names("out"), ["c.json"]);
    assert!(!sandbox.path("none").exists());
}

#[test]
fn without_a_network_the_way_by_hand_is_told() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "5,5"]).exits(1);
    for part in ["mobile_sam.pt", "HF_HUB_OFFLINE", "by hand", "--weights FILE", "cache"] {
        assert!(run.stderr.contains(part), "{part:?} is not told\n{}", run.stderr);
    }
    assert_eq!(run.stdout, "");
    let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "5,5", "--weights", "hub:nobody/nothing/x.pt"]);
    run.refuses(&["hub:nobody/nothing/x.pt", "HF_HUB_OFFLINE"]);
    assert!(!sandbox.path("out").exists());
}
