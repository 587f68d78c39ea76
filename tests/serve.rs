//! `hrseg serve` as docs/serve.md promises it: every route, every problem, the guard, the limits, the queue.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

#[path = "serve/client.rs"]
mod client;
#[path = "serve/crowd.rs"]
mod crowd;
#[path = "serve/equal.rs"]
mod equal;
#[path = "serve/fixture.rs"]
mod fixture;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/videos.rs"]
mod videos;

use std::path::Path;

use fixture::{Served, TRAP};
use hrseg::pipeline::{Colours, Photo, pictures};
use hrseg::seg_data::output::png;
use hrseg::seg_data::rle::CocoRle;
use hrseg::seg_data::{DecodeLimits, GrayImage, RgbImage, Rle, decode_image, decode_mask};
use hrseg::serve::Options;
use serde_json::{Value, json};

/// A cup, 360x240 once it is turned.
fn turned() -> Vec<u8> {
    file("turned.jpg")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve").join(name)).unwrap()
}

/// A small picture of its own.
fn picture(width: u32, height: u32, seed: u8) -> Vec<u8> {
    png(&RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, seed]))).unwrap()
}

fn rle(value: &Value) -> Rle {
    Rle::from_coco(&serde_json::from_value::<CocoRle>(value.clone()).unwrap()).unwrap()
}

fn levels(png: &[u8]) -> GrayImage {
    image::load_from_memory(png).unwrap().into_luma8()
}

#[test]
fn what_the_server_is_and_has() {
    let served = Served::new(Options::default());
    let info = served.get("/v1/info").is(200).json();
    assert_eq!((info["name"].as_str(), info["token_required"].as_bool()), (Some("hrseg"), Some(false)));
    assert_eq!(info["limits"]["queue"], 32);
    let sample = info["samples"][0]["href"].as_str().unwrap();
    assert_eq!(served.get(&format!("/{sample}")).is(200).header("content-type"), Some("image/jpeg"));

    let list = served.get("/v1/models").is(200).json();
    let model = |name: &str| list["models"].as_array().unwrap().iter().find(|model| model["name"] == name).unwrap();
    assert_eq!(model("mobile-sam")["tasks"], json!(["points", "box", "mask", "multimask", "everything"]));
    assert_eq!(model("sam+isnet")["shares_embedding"], json!(["mobile-sam"]));
    assert_eq!(
        (model("is-net")["kind"].as_str(), model("is-net")["state"].as_str()),
        (Some("prompt-free"), Some("ready"))
    );
    assert_eq!(
        (model("sam-vit-b")["state"].as_str(), model("sam-vit-b")["detail"].as_str()),
        (Some("failed"), Some("there are no weights"))
    );
    let defaults = json!({"click": "mobile-sam", "everything": "mobile-sam", "exact": "sam+isnet", "correct": null,
        "subject": "is-net", "video": "sam2.1-tiny", "text": null});
    assert_eq!(list["defaults"], defaults);

    let page = served.get("/").is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("require-trusted-types-for 'script'"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    assert_eq!(served.get("/healthz").is(200).text(), "ok\n");
    let document = served.get("/v1/openapi.json").is(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(served.figure("build_info{version=\"0.1.0\"}") > 0.0);
}

#[test]
fn an_image_is_upright_and_so_are_its_pixels() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let record = served.get(&at).is(200).json();
    let known = json!([360, 240, "jpeg", 6, false, null]);
    let found = ["width", "height", "format", "orientation", "alpha", "profile"].map(|key| record[key].clone());
    assert_eq!(json!(found), known);
    assert_eq!(record["expires_in"], 7200);

    let seen = decode_image(&turned(), "turned", &DecodeLimits::default()).unwrap().image;
    let pixels = |query: &str| served.get(&format!("{at}/pixels{query}")).is(200);
    let whole = pixels("");
    assert!(whole.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(image::load_from_memory(&whole.body).unwrap().into_rgb8(), seen);
    let part = image::load_from_memory(&pixels("?x=100&y=50&width=40&height=30").body).unwrap().into_rgb8();
    assert_eq!(part, image::imageops::crop_imm(&seen, 100, 50, 40, 30).to_image());
    let small = image::load_from_memory(&pixels("?max_side=90").body).unwrap();
    assert_eq!((small.width(), small.height()), (90, 60));
    assert_eq!(pixels("?max_side=90&format=jpeg").header("content-type"), Some("image/jpeg"));
    for wrong in ["?x=360", "?x=350&width=11", "?width=0", "?max_side=-1", "?what=1"] {
        served.get(&format!("{at}/pixels{wrong}")).problem(400, "invalid-request");
    }

    let form = served.ask("POST", "/v1/images").form(&[("image", &turned())]).send().is(201);
    assert!(!form.text().contains("passwd"));
    served.ask("POST", "/v1/images").form(&[("other", b"1")]).send().problem(400, "invalid-request");
    assert_eq!(served.ask("DELETE", &at).send().is(204).body, b"");
    served.get(&at).problem(404, "unknown-id");
}

#[test]
fn masks_in_every_form_are_one_mask() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let answer =
        served.post(&format!("{at}/masks"), json!({"points": [[170, 95, 1]], "multimask": true})).is(200).json();
    assert_eq!((answer["model"].as_str(), answer["width"].as_u64()), (Some("mobile-sam"), Some(360)));
    let masks = answer["masks"].as_array().unwrap();
    assert_eq!(masks.iter().map(|mask| mask["index"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 0, 2], "best first");
    let mask = &masks[0];
    let runs = rle(&mask["rle"]);
    assert_eq!((runs.area(), runs.bbox()), (144, [164, 89, 12, 12]));
    assert_eq!(
        (mask["area"].as_u64(), &mask["bbox"], &mask["soft"]),
        (Some(144), &json!([164, 89, 12, 12]), &json!(false))
    );
    let result = mask["result"].as_str().unwrap();
    let png = served.get(&format!("{at}/results/{result}")).is(200);
    assert_eq!(png.body[24], 1, "bits a sample");
    let whole: Vec<u8> = runs.decode().iter().map(|inside| 255 * inside).collect();
    assert_eq!(levels(&png.body).into_raw(), whole);

    let asked = json!({"points": [[170, 95, 1]]});
    let at_once = served.ask("POST", &format!("{at}/masks")).json(&asked).header("Accept", "image/png").send().is(200);
    assert_eq!(at_once.header("hrseg-predicted-iou"), Some("0.9"));
    let kept = served.get(&format!("{at}/results/{}", at_once.header("hrseg-result").unwrap()));
    assert_eq!(kept.body, at_once.body);

    // one embedding for all of it
    assert_eq!(served.watched.embedded.load(std::sync::atomic::Ordering::SeqCst), 1);
    let boxed = served.post(&format!("{at}/masks"), json!({"box": [10, 20, 40, 60]})).is(200).json();
    assert_eq!(boxed["masks"][0]["area"], 30 * 40);
    let from =
        served.post(&format!("{at}/masks"), json!({"mask": {"result": result}, "points": [[50, 50, 1], [9, 9, 0]]}));
    assert_eq!(from.is(200).json()["masks"][0]["area"], 24 * 24);
    let near = served.post(&format!("{at}/masks"), json!({"points": [[360.5, 95, 1]]})).is(200).json();
    assert!(near["notes"][0].as_str().unwrap().contains("less than a pixel outside"));
    // a clean-up that finds nothing to do
    let cleaned =
        served.post(&format!("{at}/masks"), json!({"points": [[170, 95, 1]], "fill_holes": 9})).is(200).json();
    assert_eq!(cleaned["masks"][0]["area"], 24 * 24);
    let specks = served.post(&format!("{at}/masks"), json!({"points": [[170, 95, 1]], "remove_sprinkles": 600}));
    assert_eq!(specks.is(200).json()["masks"][0]["area"], 0);
}

#[test]
fn previews_are_small_and_nobody_keeps_them() {
    let served = Served::new(Options::default());
    let at = served.image(&picture(2048, 512, 1));
    let answer =
        served.post(&format!("{at}/masks"), json!({"points": [[1000, 200, 1]], "preview": true})).is(200).json();
    assert_eq!((&answer["width"], &answer["masks"][0]["rle"]["size"]), (&json!(2048), &json!([256, 1024])));
    assert_eq!(answer["masks"][0]["result"], Value::Null);
    assert_eq!(answer["masks"][0]["bbox"], json!([488, 88, 24, 24]));
    served.post(&format!("{at}/masks"), json!({"model": "is-net", "preview": true})).problem(422, "invalid-prompt");
}

#[test]
fn exact_masks_are_soft_and_found_again() {
    // room for the picture, and for the levels of one mask
    let served = Served::new(Options { cache_bytes: 400_000, ..Options::default() });
    let at = served.image(&turned());
    let masks = format!("{at}/masks");
    let coarse = served.post(&masks, json!({"points": [[170, 95, 1]]})).is(200).json();
    let asked = json!({"model": "sam+isnet", "mask": {"rle": coarse["masks"][0]["rle"]}});
    let exact = served.post(&masks, asked).is(200).json();
    assert_eq!((&exact["coarse"]["model"], &exact["masks"][0]["soft"]), (&Value::Null, &json!(true)));
    let both = served.post(&masks, json!({"model": "sam+isnet", "points": [[170, 95, 1]]})).is(200).json();
    assert_eq!(both["coarse"]["model"], "mobile-sam");
    let subject = served.post(&masks, json!({"model": "is-net"})).is(200).json();
    assert_eq!((&subject["masks"][0]["predicted_iou"], &subject["coarse"]), (&Value::Null, &Value::Null));
    let result = subject["masks"][0]["result"].as_str().unwrap();
    let png = served.get(&format!("{at}/results/{result}")).is(200);
    assert_eq!(png.body[24], 8, "bits a sample");
    let inside = levels(&png.body).as_raw().iter().filter(|level| **level >= 128).count() as u64;
    assert!(inside.abs_diff(subject["masks"][0]["area"].as_u64().unwrap()) <= 360);
    // the levels of the first are computed again
    let first = exact["masks"][0]["result"].as_str().unwrap();
    assert!(served.figure("cache_evicted_total{kind=\"result\"}") >= 2.0);
    let png = levels(&served.get(&format!("{at}/results/{first}")).is(200).body);
    let inside = png.as_raw().iter().filter(|level| **level >= 128).count() as u64;
    assert!(inside.abs_diff(exact["masks"][0]["area"].as_u64().unwrap()) <= 360);
}

#[test]
fn what_is_wrong_is_told_in_problems() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let masks = format!("{at}/masks");
    let asked = |body: Value| served.post(&masks, body);
    served.get("/v1/images/nobody").problem(404, "unknown-id");
    served.get(&format!("{at}/results/nobody")).problem(404, "unknown-id");
    served.get("/v1/nothing").problem(404, "unknown-route");
    served.get("/js/../../mod.rs").problem(404, "unknown-route");
    let method = served.ask("PUT", "/v1/images").send();
    method.problem(405, "method");
    assert_eq!(method.header("allow"), Some("POST"));

    let cut = served.ask("POST", &masks).header("Content-Type", "application/json").bytes(b"{\"points\": [[1").send();
    cut.problem(400, "invalid-request");
    assert_eq!(
        asked(json!({"points": [[1, 2, 1], [1, "x", 1]]})).problem(400, "invalid-request")["field"],
        "points[1][1]"
    );
    assert_eq!(asked(json!({"points": [[1, 2, 7]]})).problem(400, "invalid-request")["field"], "points[0][2]");
    asked(json!({"point": [[1, 2, 1]]})).problem(400, "invalid-request");
    let text = served.ask("POST", &masks).header("Content-Type", "text/csv").bytes(b"{}").send();
    text.problem(415, "unsupported-type");
    served.ask("POST", "/v1/images").json(&json!({})).send().problem(415, "unsupported-type");

    let unknown = asked(json!({"model": "../../weights.pt", "points": [[1, 1, 1]]}));
    assert!(unknown.problem(404, "unknown-model")["detail"].as_str().unwrap().contains("mobile-sam, sam+isnet"));
    let failed = asked(json!({"model": "sam-vit-b", "points": [[1, 1, 1]]})).problem(404, "unknown-model");
    assert!(failed["detail"].as_str().unwrap().contains("there are no weights"));
    asked(json!({"refine": [[1, 1, 1]]})).problem(404, "unknown-model");

    for body in [
        json!({}),
        json!({"points": [[5000, 10, 1]]}),
        json!({"box": [40, 20, 10, 60]}),
        json!({"mask": {"rle": {"size": [240, 360], "counts": "!"}}}),
        json!({"mask": {"rle": {"size": [65535, 65535], "counts": "0"}}}),
        json!({"model": "is-net", "points": [[1, 1, 1]]}),
        json!({"model": "sam+isnet", "points": [[1, 1, 1]], "multimask": true}),
        json!({"model": "sam+isnet", "mask": {"rle": {"size": [3, 90], "counts": "0^8"}}}),
        json!({"model": "is-net", "fill_holes": 1}),
        json!({"points": vec![[1, 1, 1]; 300]}),
    ] {
        asked(body).problem(422, "invalid-prompt");
    }
    asked(json!({"mask": {"result": "nobody"}})).problem(404, "unknown-id");
    for bytes in [&b"GIF89a, but not much more"[..], &turned()[..4000], b"", b"\x89PNG\r\n\x1a\n"] {
        let told = served.ask("POST", "/v1/images").file(bytes).send().problem(422, "unreadable");
        assert!(!told["detail"].as_str().unwrap().contains("upload:"), "{told}");
    }
}

#[test]
fn a_panic_harms_nobody_else() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let [x, y] = TRAP;
    let told = served.post(&format!("{at}/masks"), json!({"points": [[x, y, 1]]})).problem(500, "internal");
    assert!(told["incident"].as_str().is_some());
    served.post(&format!("{at}/masks"), json!({"points": [[170, 95, 1]]})).is(200);
    assert_eq!(served.figure("panics_total"), 1.0);
}

#[test]
fn everything_in_the_picture() {
    let served = Served::new(Options::default());
    let at = served.image(&picture(120, 80, 2));
    let asked = json!({"points_per_side": 4});
    let events = served.ask("POST", &format!("{at}/everything")).json(&asked).events().send().is(200).events();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("queued", "ready"), "{names:?}");
    let steps: Vec<_> = events.iter().filter(|event| event.data["stage"] == "looking").collect();
    assert_eq!((&steps[0].data["of"], &steps[steps.len() - 1].data["done"]), (&json!(16), &json!(16)));
    let masks = events[events.len() - 1].data["masks"].as_array().unwrap();
    assert!(masks.len() > 3);
    let result = masks[0]["result"].as_str().unwrap();
    served.get(&format!("{at}/results/{result}")).is(200);
    let whole = served.post(&format!("{at}/everything"), asked).is(200).json();
    assert_eq!(whole["masks"].as_array().unwrap().len(), masks.len());
    served.post(&format!("{at}/everything"), json!({"points_per_side": 65})).problem(400, "invalid-request");
    served.post(&format!("{at}/everything"), json!({"model": "is-net"})).problem(422, "invalid-prompt");
}

#[test]
fn truths_and_scores() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let mask = &served.post(&format!("{at}/masks"), json!({"points": [[170, 95, 1]]})).is(200).json()["masks"][0];
    let by_name = json!({"result": mask["result"]});
    let png = served.post(&format!("{at}/exports"), json!({"format": "mask", "objects": [{"mask": by_name}]})).is(200);
    assert_eq!(png.header("content-disposition"), Some("attachment; filename=\"mask.png\""));
    let truth = served.ask("POST", &format!("{at}/truths")).file(&png.body).send().is(200).json();
    assert_eq!((&truth["area"], &truth["rle"]), (&mask["area"], &mask["rle"]));
    let scores = |mask: Value| {
        let asked = json!({"truth": truth["truth"], "mask": mask});
        served.post(&format!("{at}/scores"), asked).is(200).json()["scores"].clone()
    };
    let value = |scores: &Value, metric: &str| {
        scores.as_array().unwrap().iter().find(|score| score["metric"] == metric).unwrap()["value"].as_f64().unwrap()
    };
    let same = scores(by_name);
    assert_eq!((value(&same, "mask_iou"), value(&same, "mae"), value(&same, "hce")), (1.0, 0.0, 0.0));
    let other = served.post(&format!("{at}/masks"), json!({"points": [[182, 95, 1]]})).is(200).json();
    let half = scores(json!({"rle": other["masks"][0]["rle"]}));
    assert!((value(&half, "mask_iou") - 1.0 / 3.0).abs() < 1e-9, "{half}");
    served
        .post(&format!("{at}/scores"), json!({"truth": "nobody", "mask": {"rle": mask["rle"]}}))
        .problem(404, "unknown-id");
    let wrong = json!({"truth": truth["truth"], "mask": {"rle": mask["rle"]}, "protocol": "mine"});
    served.post(&format!("{at}/scores"), wrong).problem(400, "invalid-request");
    served.ask("POST", &format!("{at}/truths")).file(&picture(9, 9, 0)).send().problem(422, "unreadable");
}

#[test]
fn files_to_take_away() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    let mask = |x: u32| {
        served.post(&format!("{at}/masks"), json!({"points": [[x, 95, 1]]})).is(200).json()["masks"][0].clone()
    };
    let (cup, spoon) = (mask(170), mask(300));
    let objects =
        json!([{"name": "cup", "mask": {"result": cup["result"]}}, {"name": "spoon", "mask": {"rle": spoon["rle"]}}]);
    let export = |more: Value| {
        let mut asked = json!({"objects": objects});
        more.as_object().unwrap().iter().for_each(|(key, value)| asked[key] = value.clone());
        served.post(&format!("{at}/exports"), asked)
    };
    let both = levels(&export(json!({"format": "mask"})).is(200).body);
    let area = |x: u64| x;
    assert_eq!(both.as_raw().iter().filter(|level| **level == 255).count() as u64, area(2 * 24 * 24));

    // what the command writes for the same mask
    let photo = Photo::decode(&turned(), "turned", &DecodeLimits::default(), Colours::Srgb).unwrap();
    let one = json!([{"mask": {"result": cup["result"]}}]);
    let cutout = served.post(&format!("{at}/exports"), json!({"format": "cutout", "objects": one})).is(200);
    let expected = hrseg::pipeline::Mask {
        index: 0,
        predicted_iou: None,
        levels: decode_mask(
            &served.get(&format!("{at}/results/{}", cup["result"].as_str().unwrap())).body,
            "mask",
            &DecodeLimits::default(),
        )
        .unwrap()
        .levels,
        rle: rle(&cup["rle"]),
        soft: false,
    };
    assert_eq!(cutout.body, pictures::cutout(&photo, &expected).unwrap());
    let cropped =
        export(json!({"format": "cutout", "crop": true, "background": "#ff0080", "colours": "freed"})).is(200);
    let cropped = image::load_from_memory(&cropped.body).unwrap();
    assert_eq!((cropped.width(), cropped.height(), cropped.color()), (154, 24, image::ColorType::Rgb8));
    assert_eq!(cropped.into_rgb8().get_pixel(60, 5).0, [255, 0, 128]);

    let coco = export(json!({"format": "coco"})).is(200).json();
    assert_eq!(coco["annotations"][1]["segmentation"], spoon["rle"]);
    assert_eq!(coco["categories"], json!([{"id": 1, "name": "cup"}, {"id": 2, "name": "spoon"}]));
    let polygons = export(json!({"format": "polygons"})).is(200).json();
    assert_eq!(
        polygons["annotations"][0]["segmentation"],
        json!([[158.0, 83.0, 182.0, 83.0, 182.0, 107.0, 158.0, 107.0]])
    );
    let labels = export(json!({"format": "labels"})).is(200);
    assert_eq!(labels.body[25], 3, "a palette");

    for (wrong, field) in [
        (json!({"format": "mask", "objects": []}), "objects"),
        (json!({"format": "cutout", "background": "red"}), "background"),
        (json!({"format": "polygons", "tolerance": 17}), "tolerance"),
    ] {
        assert_eq!(export(wrong).problem(400, "invalid-request")["field"], field);
    }
    export(json!({"format": "gif"})).problem(400, "invalid-request");
}
