//! Many objects of many images, asked about in a file.

use image::GenericImageView;
use serde_json::{Value, json};

use super::common::{Sandbox, is_net, json, mobile_sam};

/// Two photos of 600×400, and `text` as a file of prompts.
fn sandbox(name: &str, text: &str) -> Sandbox {
    Sandbox::new().with_photo("coffee.jpg", "a.jpg").with_photo("coffee.jpg", "b.jpg").with_file(name, text.as_bytes())
}

fn segment(sandbox: &Sandbox, args: &[&str]) -> super::common::Run {
    let weights = mobile_sam().to_str().unwrap();
    sandbox.hrseg(&[&["segment", "a.jpg", "b.jpg", "--weights", weights][..], args].concat())
}

fn write(path: &std::path::Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

const TABLE: &str = "image,object,x0,y0,x1,y1,x,y,label\na.jpg,cup,100,50,300,250,,,\na.jpg,cup,,,,,110,60,0\na.jpg,the spoon,400,100,650,200,,,\nc.jpg,1,1,2,3,4,,,\n";

#[test]
fn each_object_has_its_files_and_the_run_one_json() {
    let sandbox = sandbox("p.csv", TABLE);
    let run = segment(&sandbox, &["--prompts", "p.csv"]).exits(0);
    assert!(run.stdout.contains("a.jpg: 2 objects  ->  out/a.overlay.png"), "{run:#?}");
    for note in [
        "inputs that p.csv does not ask about: 1 (b.jpg)",
        "images of p.csv that are not among the inputs: 1 (c.jpg)",
        "a.jpg: boxes that reach beyond the image, and are cut there: 1",
        "all masks: out/coco.json",
    ] {
        assert!(run.stderr.contains(note), "{note}: {run:#?}");
    }
    #[rustfmt::skip]
    let names = [
        "a.cup.cutout.png", "a.cup.mask.png", "a.json", "a.labels.png", "a.overlay.png", "a.the spoon.cutout.png", "a.the spoon.mask.png", "coco.json",
    ];
    assert_eq!(sandbox.names("out"), names);
    let record = json(&sandbox.path("out/a.json"));
    assert_eq!(record["objects"][0]["prompts"]["points"], json!([[110., 60., 0.]]));
    assert_eq!(record["objects"][1]["prompts"]["box"], json!([400., 100., 600., 200.]));
    let all = json(&sandbox.path("out/coco.json"));
    assert_eq!(
        (&all["annotations"][1]["object"], &all["categories"][0]["name"]),
        (&json!("the spoon"), &json!("object"))
    );
    assert_eq!(all["annotations"][1]["segmentation"], record["objects"][1]["mask"]["rle"]);

    // the masks are those that the object has when it is asked about alone
    let alone = ["--box", "100,50,300,250", "--point", "110,60:0", "-o", "alone"];
    segment(&sandbox, &alone).exits(0);
    let pixels = |path: &str| image::open(sandbox.path(path)).unwrap().into_luma8();
    assert_eq!(pixels("out/a.cup.mask.png"), pixels("alone/a.mask.png"));

    // what was asked is asked again from the record; the run goes on where it was cut off
    let again = ["--prompts", "out/a.json", "-o", "again", "--format", "mask,rle"];
    segment(&sandbox, &again).exits(0);
    assert_eq!(pixels("again/a.the spoon.mask.png"), pixels("out/a.the spoon.mask.png"));
    assert_eq!(
        std::fs::read(sandbox.path("again/a.labels.png")).unwrap(),
        std::fs::read(sandbox.path("out/a.labels.png")).unwrap()
    );
    segment(&sandbox, &again).exits(1);
    std::fs::remove_file(sandbox.path("again/coco.json")).unwrap();
    let run = segment(&sandbox, &[&again[..], &["--resume"]].concat()).exits(0);
    assert!(run.stdout.is_empty() && sandbox.path("again/coco.json").exists(), "{run:#?}");
}

#[test]
fn annotations_of_coco_keep_their_numbers() {
    let sandbox = sandbox("p.json", "");
    let square = |x: u32| json!([x, 50, x + 100, 50, x + 100, 150, x, 150]);
    let images =
        json!([{"id": 70, "file_name": "val/b.jpg", "width": 600, "height": 400}, {"id": 9, "file_name": "val/a.jpg"}]);
    let document = json!({"images": images, "categories": [{"id": 5, "name": "cup"}], "annotations": [
        {"id": 31, "image_id": 70, "category_id": 5, "bbox": [100, 50, 100, 100], "segmentation": [square(100)]},
        {"id": 32, "image_id": 9, "category_id": 5, "bbox": [300, 50, 100, 100], "segmentation": [square(300)]},
    ]});
    write(&sandbox.path("p.json"), &document);
    let (first, second) = (mobile_sam().to_str().unwrap(), is_net(3).to_str().unwrap());
    for take in ["box", "mask"] {
        #[rustfmt::skip]
        let run = sandbox.hrseg(&[
            "segment", ".", "--model", "sam+isnet", "--weights", second, "--stage-one-weights", first,
            "--prompts", "p.json", "--take", take, "-o", take, "--format", "mask,rle",
        ]);
        run.exits(0);
        assert_eq!(
            sandbox.names(take),
            ["a.32.mask.png", "a.json", "a.labels.png", "b.31.mask.png", "b.json", "b.labels.png", "coco.json"]
        );
        let all = json(&sandbox.path(&format!("{take}/coco.json")));
        let (image, annotation) = (&all["images"][1], &all["annotations"][1]);
        assert_eq!((&image["id"], &image["file_name"]), (&json!(70), &json!("val/b.jpg")));
        assert_eq!((&annotation["image_id"], &annotation["category_id"]), (&json!(70), &json!(5)));
        assert_eq!(all["categories"], document["categories"]);
        let record = json(&sandbox.path(&format!("{take}/a.json")));
        assert_eq!(record["objects"][0]["prompts"]["box"].is_null(), take == "mask");
        assert_eq!(record["objects"][0]["coarse"]["model"].is_null(), take == "mask");
        let size = image::open(sandbox.path(&format!("{take}/a.32.mask.png"))).unwrap().dimensions();
        assert_eq!(size, (600, 400));
    }
    // a size that is another image's, a box beside it: the others are done
    let mut wrong = document.clone();
    wrong["images"][0]["width"] = json!(640);
    write(&sandbox.path("p.json"), &wrong);
    let run = segment(&sandbox, &["--prompts", "p.json", "-o", "wrong"]).exits(1);
    assert!(run.stderr.contains("b.jpg: the prompts are for 640x400 pixels, and it has 600x400"), "{run:#?}");
    assert!(sandbox.path("wrong/a.32.mask.png").exists());
    write(&sandbox.path("r.json"), &json!([{"image_id": 1, "category_id": 1, "bbox": [700, 5, 9, 9], "score": 0.5}]));
    let moved = sandbox.with_photo("coffee.jpg", "photo_0001.jpg");
    let weights = mobile_sam().to_str().unwrap();
    let run =
        moved.hrseg(&["segment", "photo_0001.jpg", "--weights", weights, "--prompts", "r.json", "-o", "r"]).exits(1);
    assert!(run.stderr.contains("object \"1\": the box 700,5,709,14 lies outside of its 600x400 pixels"), "{run:#?}");
}

#[test]
fn what_cannot_be_is_refused_before_a_model_is_loaded() {
    let sandbox = sandbox("p.csv", TABLE);
    for (args, part) in [
        (&["--prompts", "p.csv", "--box", "1,2,3,4"][..], "cannot be used with"),
        (&["--prompts", "p.csv", "--everything"], "cannot be used with"),
        (&["--take", "mask"], "--prompts"),
        (&["--prompts", "none.csv"], "none.csv"),
        (&["--prompts", "a.jpg"], "a.jpg: no JSON"),
        (&["--prompts", "p.csv", "--model", "is-net"], "is-net takes no prompts"),
        (&["--prompts", "p.csv", "--model", "mpg-sam2"], "hrseg track"),
    ] {
        let run = sandbox.hrseg(&[&["segment", "a.jpg", "b.jpg"], args].concat()).exits(2);
        assert!(run.stderr.contains(part), "{args:?}: {run:#?}");
        assert!(!sandbox.path("out").exists());
    }
    let run = sandbox.hrseg(&["segment", "b.jpg", "--prompts", "p.csv"]).exits(2);
    assert!(
        run.stderr.contains("p.csv asks about none of the inputs; the first image that it asks about is a.jpg"),
        "{run:#?}"
    );
}
