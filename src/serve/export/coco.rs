//! COCO's JSON: masks as runs, or as polygons.

use seg_data::Rle;
use serde_json::{Value, json};

use super::outline::{Outline, outlines};
use crate::pipeline::coco::annotation;

/// An object of a picture.
pub struct Annotated<'a> {
    pub name: &'a str,
    pub rle: &'a Rle,
}

/// Masks as compressed runs.
pub fn coco<'a>(objects: impl Iterator<Item = Annotated<'a>>, size: (u32, u32)) -> Value {
    document(objects, size, |rle| json!({"segmentation": rle.to_coco()}))
}

/// Masks as polygons that are off by `tolerance` pixels at most; holes beside them, for COCO has none.
pub fn polygons<'a>(objects: impl Iterator<Item = Annotated<'a>>, size: (u32, u32), tolerance: f64) -> Value {
    document(objects, size, |rle| {
        let (mut rings, mut holes) = (Vec::new(), Vec::new());
        for Outline { points, hole } in outlines(rle, tolerance) {
            let flat: Vec<f64> = points.into_iter().flatten().collect();
            if hole { holes.push(flat) } else { rings.push(flat) }
        }
        json!({"segmentation": rings, "holes": holes})
    })
}

/// Objects of one name are of one category.
fn document<'a>(
    objects: impl Iterator<Item = Annotated<'a>>,
    (width, height): (u32, u32),
    shape: impl Fn(&Rle) -> Value,
) -> Value {
    let mut names: Vec<&str> = Vec::new();
    let mut annotations = Vec::new();
    for (id, Annotated { name, rle }) in (1..).zip(objects) {
        let name = if name.is_empty() { "object" } else { name };
        let category = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        annotations.push(annotation(id, 1, category as u64 + 1, rle, shape(rle)));
    }
    let categories: Vec<Value> = (1..).zip(names).map(|(id, name): (u32, _)| json!({"id": id, "name": name})).collect();
    json!({
        "images": [{"id": 1, "width": width, "height": height, "file_name": ""}],
        "annotations": annotations,
        "categories": categories,
    })
}
