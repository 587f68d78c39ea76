//! COCO's annotations, and what detectors write for its benchmark.

use std::collections::HashMap;

use seg_data::training::referring::Segmentation;
use serde::Deserialize;
use serde_json::Value;

use super::{AskedImage, AskedObject, PromptFile, click};

#[derive(Deserialize)]
struct Document {
    images: Vec<Image>,
    annotations: Vec<Value>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

/// An annotation, or a result, which has no number.
#[derive(Deserialize)]
struct Annotation {
    id: Option<u64>,
    image_id: u64,
    category_id: Option<u64>,
    /// Left, top, width, height.
    bbox: Option<[f32; 4]>,
    segmentation: Option<Segmentation>,
    /// Not COCO's: `[x, y, label]`.
    #[serde(default)]
    points: Vec<[f32; 3]>,
}

impl Annotation {
    fn read(value: Value, at: usize) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|error| format!("annotation {}: {error}", at + 1))
    }

    /// `number`: its place among those of its image.
    fn asked(self, number: usize) -> AskedObject {
        // detectors that give masks alone write a box of nothing
        let bbox = self.bbox.filter(|b| b[2] != 0. || b[3] != 0. || self.segmentation.is_none());
        AskedObject {
            name: self.id.unwrap_or(number as u64).to_string(),
            category: self.category_id,
            points: self.points.into_iter().map(click).collect(),
            bbox: bbox.map(|[x, y, w, h]| [x, y, x + w, y + h]),
            mask: self.segmentation.filter(|shape| !matches!(shape, Segmentation::Polygons(p) if p.is_empty())),
        }
    }
}

/// Images, annotations, categories.
pub fn parse(value: Value) -> Result<PromptFile, String> {
    let document: Document = serde_json::from_value(value).map_err(|error| format!("no JSON of COCO: {error}"))?;
    let mut places = HashMap::new();
    let mut images = Vec::with_capacity(document.images.len());
    for Image { id, file_name, width, height } in document.images {
        if places.insert(id, images.len()).is_some() {
            return Err(format!("two images have the id {id}"));
        }
        images.push(AskedImage { file_name, id: Some(id), size: width.zip(height), objects: Vec::new() });
    }
    for (at, value) in document.annotations.into_iter().enumerate() {
        let annotation = Annotation::read(value, at)?;
        let Some(place) = places.get(&annotation.image_id) else {
            return Err(format!("annotation {}: no image has the id {}", at + 1, annotation.image_id));
        };
        let objects = &mut images[*place].objects;
        objects.push(annotation.asked(objects.len() + 1));
    }
    let categories = document.categories.into_iter().map(|Category { id, name }| (id, name)).collect();
    Ok(PromptFile { images, categories })
}

/// A list of results: their images are known by number alone.
pub fn parse_results(all: Vec<Value>) -> Result<PromptFile, String> {
    let mut places = HashMap::new();
    let mut images: Vec<AskedImage> = Vec::new();
    for (at, value) in all.into_iter().enumerate() {
        let mut result = Annotation::read(value, at)?;
        result.id = None;
        let place = *places.entry(result.image_id).or_insert_with(|| {
            images.push(AskedImage { id: Some(result.image_id), ..AskedImage::default() });
            images.len() - 1
        });
        let objects = &mut images[place].objects;
        objects.push(result.asked(objects.len() + 1));
    }
    Ok(PromptFile { images, categories: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_are_boxes_or_masks_of_numbered_images() {
        let found = parse_results(vec![
            json!({"image_id": 42, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}),
            json!({"image_id": 7, "category_id": 2, "segmentation": {"size": [1, 1], "counts": "01"}, "bbox": [0, 0, 0, 0]}),
            json!({"image_id": 42, "category_id": 1, "bbox": [5, 6, 7, 8.5]}),
        ])
        .unwrap();
        let ids: Vec<_> = found.images.iter().map(|image| image.id).collect();
        assert_eq!(ids, [Some(42), Some(7)]);
        let [first, second] = &found.images[0].objects[..] else { panic!("{found:?}") };
        assert_eq!((first.bbox, second.bbox), (Some([1., 2., 4., 6.]), Some([5., 6., 12., 14.5])));
        assert_eq!((first.name.as_str(), second.name.as_str()), ("1", "2"));
        let masked = &found.images[1].objects[0];
        assert!(masked.bbox.is_none() && masked.mask.is_some() && masked.category == Some(2));
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused() {
        let image = json!({"id": 1, "file_name": "a.jpg"});
        for (value, part) in [
            (json!({"images": [image, image], "annotations": []}), "two images have the id 1"),
            (json!({"images": [image], "annotations": [{"image_id": 2}]}), "annotation 1: no image has the id 2"),
            (json!({"images": [image], "annotations": [{"image_id": 1, "bbox": [1, 2]}]}), "annotation 1: "),
            (json!({"images": [{"id": "x", "file_name": "a"}], "annotations": []}), "no JSON of COCO"),
        ] {
            let message = parse(value).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
