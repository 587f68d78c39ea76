//! Videos: in, followed, out.

use std::io::{Cursor, Read as _};

use hrseg::serve::Options;
use serde_json::{Value, json};

use crate::client::Event;
use crate::fixture::{Served, until};
use crate::{file, levels, picture, rle};

/// The path of a video of these frames.
fn of_frames(served: &Served, frames: &[Vec<u8>]) -> String {
    let parts: Vec<(&str, &[u8])> = frames.iter().map(|frame| ("frame", frame.as_slice())).collect();
    let reply = served.ask("POST", "/v1/videos").form(&parts).send().is(201);
    assert_eq!(reply.json()["frames"], frames.len());
    reply.header("location").unwrap().to_owned()
}

fn frames(events: &[Event]) -> Vec<u64> {
    events.iter().filter(|event| event.name == "frame").map(|event| event.data["frame"].as_u64().unwrap()).collect()
}

#[test]
fn a_frame_is_an_image() {
    let served = Served::new(Options::default());
    let reply = served.ask("POST", "/v1/videos").file(&file("clip.gif")).send().is(201);
    let record = reply.json();
    assert_eq!((&record["width"], &record["height"], &record["frames"]), (&json!(160), &json!(96), &json!(8)));
    assert!(record["fps"].as_f64().unwrap() > 1.0);
    let at = reply.header("location").unwrap();
    assert_eq!(served.get(at).is(200).json()["frames"], 8);
    let thumbnail = served.get(&format!("{at}/frames/3/pixels?max_side=40&format=jpeg")).is(200);
    let thumbnail = image::load_from_memory(&thumbnail.body).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (40, 24));
    let mask = served.post(&format!("{at}/frames/3/masks"), json!({"points": [[38, 48, 1]]})).is(200).json();
    let result = mask["masks"][0]["result"].as_str().unwrap();
    served.get(&format!("{at}/frames/3/results/{result}")).is(200);
    served.get(&format!("{at}/frames/4/results/{result}")).problem(404, "unknown-id");
    served.get(&format!("{at}/frames/8/pixels")).problem(404, "unknown-id");
    served.get(&format!("{at}/frames/x/pixels")).problem(404, "unknown-id");
    served.get(&at.replace("videos", "images")).problem(404, "unknown-id");
    served.ask("DELETE", at).send().is(204);
    served.get(&format!("{at}/frames/3/pixels")).problem(404, "unknown-id");
}

#[test]
fn objects_are_followed() {
    let served = Served::new(Options::default());
    let at = of_frames(&served, &(0..5).map(|t| picture(80, 60, 40 * t)).collect::<Vec<_>>());
    let ask = |body: Value| served.ask("POST", &format!("{at}/propagate")).json(&body).events().send();
    let prompts =
        json!([{"frame": 2, "object": 1, "points": [[30, 30, 1]]}, {"frame": 2, "object": 7, "box": [10, 10, 50, 40]}]);
    let events = ask(json!({"prompts": prompts})).is(200).events();
    assert_eq!((events[0].name.as_str(), frames(&events)), ("queued", vec![2, 3, 4, 1, 0]));
    let told = events.iter().find(|event| event.name == "frame").unwrap();
    assert_eq!((&told.data["done"], &told.data["of"]), (&json!(1), &json!(5)));
    let objects = told.data["objects"].as_array().unwrap();
    assert_eq!(objects.iter().map(|object| object["object"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(rle(&objects[0]["rle"]).area(), objects[0]["area"]);
    assert_eq!(events.last().unwrap().data["frames"], 5);

    let forward = ask(json!({"prompts": prompts, "direction": "forward", "from": 3})).is(200).events();
    assert_eq!(frames(&forward), [3, 4]);
    // what is told of a frame does not depend on where telling begins
    let of = |events: &[Event]| events.iter().find(|event| event.data["frame"] == 3).unwrap().data["objects"].clone();
    assert_eq!(of(&forward), of(&events));
    let backward = ask(json!({"prompts": prompts, "direction": "backward", "to": 1})).is(200).events();
    assert_eq!(frames(&backward), [2, 1]);
    let plain =
        served.post(&format!("{at}/propagate"), json!({"prompts": prompts, "direction": "forward"})).is(200).json();
    assert_eq!(plain["told"].as_array().unwrap().len(), 3);
    assert_eq!(plain["told"][1]["objects"], of(&events));

    for (wrong, field) in [
        (json!([]), "prompts"),
        (json!([{"frame": 5, "object": 1, "points": [[1, 1, 1]]}]), "prompts[0].frame"),
        (json!([{"frame": 0, "object": 0, "points": [[1, 1, 1]]}]), "prompts[0].object"),
        (json!([{"frame": 0, "object": 1}]), "prompts[0]"),
    ] {
        let problem = served.post(&format!("{at}/propagate"), json!({"prompts": wrong})).problem(422, "invalid-prompt");
        assert_eq!(problem["field"], field);
    }
    let outside = served
        .post(&format!("{at}/propagate"), json!({"prompts": [{"frame": 0, "object": 1, "points": [[99, 1, 1]]}]}));
    assert!(outside.problem(422, "invalid-prompt")["detail"].as_str().unwrap().contains("object 1 on frame 0"));
    served
        .post(&format!("{at}/propagate"), json!({"model": "mobile-sam", "prompts": prompts}))
        .problem(422, "invalid-prompt");
    served.post(&format!("{at}/describe"), json!({"text": "a dog"})).problem(404, "unknown-model");
}

#[test]
fn masks_of_a_video_as_files() {
    let served = Served::new(Options::default());
    let at = of_frames(&served, &(0..3).map(|t| picture(80, 60, t)).collect::<Vec<_>>());
    let square = |x: u32| {
        let boxed = json!({"box": [x, 10, x + 20, 30]});
        served.post(&format!("{at}/frames/0/masks"), boxed).is(200).json()["masks"][0]["rle"].clone()
    };
    let masks = json!({"0": {"1": square(10), "2": square(20)}, "2": {"2": square(40)}});
    let export = |format: &str| {
        served.post(&format!("{at}/exports"), json!({"format": format, "masks": masks, "names": {"1": "dog"}}))
    };
    let zipped = |format: &str| {
        let mut zip = zip::ZipArchive::new(Cursor::new(export(format).is(200).body)).unwrap();
        let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        let mut first = Vec::new();
        zip.by_index(0).unwrap().read_to_end(&mut first).unwrap();
        (names, first)
    };
    let (names, first) = zipped("davis");
    assert_eq!(names, ["00000.png", "00002.png"]);
    let colours = image::load_from_memory(&first).unwrap().into_rgb8();
    assert_eq!(
        [12, 25, 35, 60].map(|x| colours.get_pixel(x, 20).0),
        [[128, 0, 0], [0, 128, 0], [0, 128, 0], [0, 0, 0]]
    );
    let (names, first) = zipped("rle");
    assert_eq!(names, ["00000.json", "00002.json"]);
    let record: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!((&record["objects"][0]["label"], &record["objects"][0]["area"]), (&json!("dog"), &json!(400)));
    let gif = export("overlay").is(200);
    assert_eq!((&gif.body[..6], gif.header("content-type")), (&b"GIF89a"[..], Some("image/gif")));
    served.post(&format!("{at}/exports"), json!({"format": "davis", "masks": {}})).problem(400, "invalid-request");
    served
        .post(&format!("{at}/exports"), json!({"format": "davis", "masks": {"3": {}}}))
        .problem(400, "invalid-request");
    assert!(levels(&served.get(&format!("{at}/frames/0/pixels")).is(200).body).width() == 80);
}

#[test]
fn videos_over_the_limits() {
    let served = Served::new(Options { max_frames: 2, max_video: 20_000, ..Options::default() });
    served.ask("POST", "/v1/videos").file(&file("clip.gif")).send().problem(413, "too-many-frames");
    let frame = picture(20, 20, 1);
    let three = [("frame", frame.as_slice()); 3];
    served.ask("POST", "/v1/videos").form(&three).send().problem(413, "too-many-frames");
    served.ask("POST", "/v1/videos").file(&[0; 20_001]).send().problem(413, "too-large");
    served.ask("POST", "/v1/videos").form(&[("frame", &frame), ("other", b"1")]).send().problem(400, "invalid-request");
    let still = served.ask("POST", "/v1/videos").file(&frame).send().problem(422, "unreadable");
    assert!(still["detail"].as_str().unwrap().starts_with("a single image"), "{still}");
    until("nothing is kept", || served.figure("videos") == 0.0);
}
