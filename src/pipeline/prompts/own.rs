//! The JSON that `hrseg segment` writes: what was asked then is asked again.

use seg_data::training::referring::Segmentation;
use serde::Deserialize;
use serde_json::Value;

use super::{AskedImage, AskedObject, PromptFile, click};

#[derive(Deserialize)]
struct Record {
    image: String,
    width: Option<u32>,
    height: Option<u32>,
    prompts: Option<Asked>,
    #[serde(default)]
    objects: Vec<Object>,
    #[serde(default)]
    masks: Vec<Found>,
}

#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    points: Vec<[f32; 3]>,
    r#box: Option<[f32; 4]>,
}

/// Of `--prompts`.
#[derive(Deserialize)]
struct Object {
    object: String,
    category: Option<u64>,
    prompts: Asked,
    mask: Option<Found>,
}

/// A mask: of `--everything`, or what another run has given.
#[derive(Deserialize)]
struct Found {
    label: Option<u64>,
    segmentation: Option<Segmentation>,
    rle: Option<Segmentation>,
}

impl Asked {
    fn object(self, name: String, category: Option<u64>, mask: Option<Segmentation>) -> AskedObject {
        let points = self.points.into_iter().map(click).collect();
        AskedObject { name, category, points, bbox: self.r#box, mask }
    }
}

/// Records, one an image.
pub fn parse(all: Vec<Value>) -> Result<PromptFile, String> {
    let mut images = Vec::with_capacity(all.len());
    for (at, value) in all.into_iter().enumerate() {
        let record: Record = serde_json::from_value(value).map_err(|error| {
            format!("record {}: {error}; expected COCO's `images` and `annotations`, its results, or what hrseg segment writes", at + 1)
        })?;
        let mut masks = record.masks.into_iter();
        let objects = match record.prompts {
            // one object, whose best mask is the first
            Some(asked) => {
                let mask = masks.next().and_then(|found| found.rle);
                vec![asked.object("1".into(), None, mask)]
            }
            None if !record.objects.is_empty() => {
                let asked = |o: Object| o.prompts.object(o.object, o.category, o.mask.and_then(|found| found.rle));
                record.objects.into_iter().map(asked).collect()
            }
            None => (1..)
                .zip(masks)
                .map(|(number, found)| {
                    let name = found.label.unwrap_or(number).to_string();
                    Asked::default().object(name, None, found.segmentation.or(found.rle))
                })
                .collect(),
        };
        let size = record.width.zip(record.height);
        images.push(AskedImage { file_name: record.image, id: None, size, objects });
    }
    Ok(PromptFile { images, categories: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_models::Point;
    use serde_json::json;

    #[test]
    fn what_was_asked_is_asked_again() {
        let one = json!({"image": "photos/a.jpg", "width": 4, "height": 1, "model": "mobile-sam",
            "prompts": {"points": [[3, 4, 1], [5, 6, 0]], "box": null, "mask": null, "multimask": false},
            "masks": [{"index": 0, "rle": {"size": [1, 4], "counts": "01"}}]});
        let several =
            json!({"image": "b.jpg", "objects": [{"object": "left", "category": 2, "prompts": {"box": [1, 2, 3, 4]}}]});
        let everything = json!({"image": "c.jpg", "masks": [{"label": 1, "segmentation": {"size": [1, 4], "counts": "01"}, "area": 0}]});
        let found = parse(vec![one, several, everything]).unwrap();
        let [a, b, c] = &found.images[..] else { panic!("{found:?}") };
        assert_eq!((a.file_name.as_str(), a.size), ("photos/a.jpg", Some((4, 1))));
        assert_eq!(a.objects[0].points[1], Point { x: 5., y: 6., positive: false });
        assert_eq!(
            (b.objects[0].name.as_str(), b.objects[0].bbox, b.objects[0].category),
            ("left", Some([1., 2., 3., 4.]), Some(2))
        );
        assert!(c.objects[0].mask.is_some() && c.objects[0].bbox.is_none());
        assert!(parse(vec![json!({"picture": 1})]).unwrap_err().contains("record 1"));
    }
}
