//! Sets with sentences, made up for each test.

use std::path::PathBuf;

use image::Luma;
use serde_json::json;

use super::*;
use crate::labels::png;
use crate::output::{Overwrite, write, write_png};
use crate::rle::Rle;

struct Set(tempfile::TempDir);

impl Set {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn json(&self, name: &str, value: &serde_json::Value) {
        write(self.file(name), value.to_string().as_bytes(), Overwrite::Replace).unwrap();
    }

    /// A frame that tells its number, under the name of a JPEG: what a file is, its content says.
    fn frame(&self, name: &str, number: u8) {
        write_png(self.file(name), &RgbImage::from_pixel(8, 6, image::Rgb([number; 3])), Overwrite::Replace).unwrap();
    }
}

fn place(index: u64) -> Place {
    Place { seed: 2, epoch: 0, index }
}

/// A row of the mask inside for each frame, none in the frames beyond `seen`.
fn labels(number: u32, seen: u32) -> GrayImage {
    GrayImage::from_fn(8, 6, |x, y| Luma([if number < seen && y == number % 6 { 1 + u8::from(x < 4) } else { 0 }]))
}

#[test]
fn left_and_right_change_places() {
    assert_eq!(mirrored("the Left man on the left, bright, righthand"), "the Left man on the right, bleft, lefthand");
    assert_eq!(mirrored("caf\u{e9}"), "caf\u{e9}");
    assert_eq!(plain_sentence("  A  Red\tring "), "a red ring");
}

#[test]
fn ref_youtube_vos() {
    let set = Set::new();
    let names: Vec<String> = (0..12).map(|i| format!("{:05}", 5 * i)).collect();
    for (i, name) in names.iter().enumerate() {
        set.frame(&format!("train/JPEGImages/v/{name}.jpg"), i as u8);
        let png = png(&labels(i as u32, 9)).unwrap();
        write(set.file(&format!("train/Annotations/v/{name}.png")), &png, Overwrite::Replace).unwrap();
    }
    let expressions = json!({"0": {"exp": "a dog on the left", "obj_id": "2"}, "1": {"exp": "a cat", "obj_id": 1}});
    let meta = json!({"videos": {"v": {"expressions": expressions, "frames": names}}});
    set.json("meta_expressions/train/meta_expressions.json", &meta);
    let open = || ReferringVideos::ref_youtube_vos(set.0.path(), "train", ClipFrames::of(5));
    let videos = open().unwrap();
    // the frames 0, 5 and 10 of either sentence
    assert_eq!(videos.len(), Some(6));
    let clip = videos.clip(place(1)).unwrap();
    assert_eq!((clip.sentence.as_str(), clip.name.as_str()), ("a dog on the left", "v/00025 sentence 0"));
    assert_eq!((clip.frames.len(), clip.clone()), (5, videos.clip(place(1)).unwrap()));
    for (frame, mask) in clip.frames.iter().zip(&clip.masks) {
        let number = u32::from(frame.get_pixel(0, 0).0[0]);
        let expected =
            GrayImage::from_fn(8, 6, |x, y| Luma([if labels(number, 9).get_pixel(x, y).0 == [2] { 255 } else { 0 }]));
        assert_eq!(*mask, expected);
    }
    let numbers: Vec<u8> = clip.frames.iter().map(|frame| frame.get_pixel(0, 0).0[0]).collect();
    assert!(numbers.is_sorted() && numbers.contains(&5), "{numbers:?}");
    // clips without the object are drawn again
    assert!((0..6).all(|i| videos.clip(place(i)).unwrap().seen().contains(&true)));
    let digest = videos.digest().unwrap();
    assert_eq!((digest.len(), &digest), (64, &open().unwrap().digest().unwrap()));
    // a sentence without an object, as in the hidden test sets
    let hidden = json!({"videos": {"v": {"expressions": {"0": {"exp": "a dog"}}, "frames": ["00000"]}}});
    set.json("meta_expressions/valid/meta_expressions.json", &hidden);
    let error = ReferringVideos::ref_youtube_vos(set.0.path(), "valid", ClipFrames::of(5)).unwrap_err().to_string();
    assert!(error.contains("sentence 0 of video v") && error.contains("meta_expressions.json"), "{error}");
    std::fs::remove_file(set.file("train/Annotations/v/00025.png")).unwrap();
    assert!(videos.clip(place(1)).unwrap_err().to_string().contains("00025.png"));
}

#[test]
fn mevis_joins_the_annotations_of_a_sentence() {
    let set = Set::new();
    let frames = ["a", "b", "c"];
    frames.iter().enumerate().for_each(|(i, name)| set.frame(&format!("train/JPEGImages/v/{name}.jpg"), i as u8));
    let column = |x0: u32| {
        let pixels: Vec<u8> = (0..48).map(|i| u8::from(i % 8 == x0)).collect();
        json!(Rle::encode(&pixels, 8, 6).unwrap().to_coco())
    };
    set.json("train/mask_dict.json", &json!({"7": [column(0), null, column(2)], "9": [column(5), null, null]}));
    let expressions = json!({"0": {"exp": "both birds", "obj_id": [0, 1], "anno_id": [7, 9]}});
    set.json("train/meta_expressions.json", &json!({"videos": {"v": {"expressions": expressions, "frames": frames}}}));
    let videos = ReferringVideos::mevis(set.0.path(), "train", ClipFrames { count: 3, step: 1 }).unwrap();
    assert_eq!(videos.len(), Some(3));
    for index in 0..3 {
        let clip = videos.clip(place(index)).unwrap();
        for (frame, mask) in clip.frames.iter().zip(&clip.masks) {
            let columns: Vec<u32> = (0..8).filter(|x| mask.get_pixel(*x, 3).0 == [255]).collect();
            let expected = [&[0, 5][..], &[], &[2]][usize::from(frame.get_pixel(0, 0).0[0])];
            assert_eq!(columns, expected);
        }
    }
    let expressions = json!({"0": {"exp": "a bird", "anno_id": [8]}});
    set.json("train/meta_expressions.json", &json!({"videos": {"v": {"expressions": expressions, "frames": frames}}}));
    let videos = ReferringVideos::mevis(set.0.path(), "train", ClipFrames::of(1)).unwrap();
    assert!(videos.clip(place(0)).unwrap_err().to_string().contains("no annotation 8"));
}

#[test]
fn refcoco_by_references_and_converted() {
    let set = Set::new();
    set.frame("train2014/1.jpg", 1);
    let counts = json!({"size": [6, 8], "counts": [6, 6, 36]});
    let images = json!([{"id": 1, "file_name": "1.jpg", "width": 8, "height": 6, "license": 3}]);
    let annotations = json!([
        {"id": 10, "image_id": 1, "segmentation": [[0, 0, 4, 0, 4, 6, 0, 6]], "iscrowd": 0},
        {"id": 11, "image_id": 1, "segmentation": counts},
    ]);
    set.json("instances.json", &json!({"images": images, "annotations": annotations}));
    let references: Vec<Reference> = serde_json::from_value(json!([
        {"ann_id": 10, "split": "train", "ref_id": 0, "sentences": [{"sent": "left half", "tokens": ["left", "half"]}, {"sent": "big one"}]},
        {"ann_id": 11, "split": "train", "sentences": [{"sent": "second column"}]},
        {"ann_id": 12, "split": "val", "sentences": [{"sent": "nothing"}]},
    ]))
    .unwrap();
    let folder = set.0.path().join("train2014");
    let open = |split| ReferringImages::from_references(&references, &set.file("instances.json"), &folder, split);
    let images = open("train").unwrap();
    let sentences: Vec<String> = (0..3).map(|i| images.clip(place(i)).unwrap().sentence).collect();
    assert_eq!(sentences, ["left half", "big one", "second column"]);
    let inside =
        |clip: &ClipExample| (0..8).filter(|x| clip.masks[0].get_pixel(*x, 2).0 == [255]).collect::<Vec<u32>>();
    assert_eq!(inside(&images.clip(place(1)).unwrap()), [0, 1, 2, 3]);
    assert_eq!(inside(&images.clip(place(2)).unwrap()), [1]);
    assert!(open("val").unwrap_err().to_string().contains("no annotation 12"));
    assert!(open("testA").unwrap_err().to_string().contains("no sentence in testA"));

    let converted = json!([{"id": 5, "file_name": "1.jpg", "width": 8, "height": 6, "caption": "Left  half"}]);
    let annotations = json!([{"id": 1, "image_id": 5, "segmentation": [[0, 0, 4, 0, 4, 6, 0, 6]]}]);
    set.json("instances_refcoco_train.json", &json!({"images": converted, "annotations": annotations}));
    let images = ReferringImages::from_converted(&set.file("instances_refcoco_train.json"), &folder).unwrap();
    let clip = images.clip(place(0)).unwrap();
    assert_eq!((clip.sentence.as_str(), inside(&clip)), ("Left  half", vec![0, 1, 2, 3]));
    assert_eq!(images.digest().unwrap().len(), 64);
    // a picture that is not the one of the annotations
    write_png(set.file("train2014/1.jpg"), &RgbImage::new(9, 6), Overwrite::Replace).unwrap();
    assert!(images.clip(place(0)).unwrap_err().to_string().contains("9x6"));
    assert!(images.clip(place(1)).unwrap_err().to_string().contains("less than 1"));
}
