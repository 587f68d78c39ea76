//! COCO's JSON of many images, as `pycocotools` reads it.

use std::io::{self, Write};

use seg_data::Rle;
use serde_json::{Value, json};

/// An annotation: area and box are those of `rle`, all else what `more`, an object of JSON, says, its shape above all. Ids begin at 1.
pub fn annotation(id: u64, image: u64, category: u64, rle: &Rle, more: Value) -> Value {
    let own = json!({"id": id, "image_id": image, "category_id": category, "area": rle.area(), "bbox": rle.bbox(), "iscrowd": 0});
    match (own, more) {
        (Value::Object(mut own), Value::Object(more)) => {
            own.extend(more);
            own.into()
        }
        (own, _) => own,
    }
}

/// Writes a document image by image, so that none of it has to be in memory but the images' names.
pub struct Writer<W> {
    out: W,
    images: Vec<Value>,
    /// The last image's.
    image: u64,
    annotations: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a document.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"annotations\": [")?;
        Ok(Self { out, images: Vec::new(), image: 0, annotations: 0 })
    }

    /// The next image, of `size` width and height; the objects that follow are on it. `id` is its number; where there is none, its place among all from 1.
    pub fn image(&mut self, id: Option<u64>, file_name: &str, (width, height): (u32, u32)) {
        let id = id.unwrap_or(self.images.len() as u64 + 1);
        self.image = id;
        self.images.push(json!({"id": id, "file_name": file_name, "width": width, "height": height}));
    }

    /// An object of the last image and of a category, with what `more`, an object of JSON, says of it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn object(&mut self, category: u64, rle: &Rle, more: Value) -> io::Result<()> {
        self.annotations += 1;
        let mut value = annotation(self.annotations, self.image, category, rle, more);
        value["segmentation"] = json!(rle.to_coco());
        let comma = if self.annotations > 1 { "," } else { "" };
        write!(self.out, "{comma}\n{value}")
    }

    /// Ends the document with the numbers and names of its categories.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self, categories: &[(u64, String)]) -> io::Result<()> {
        let categories: Vec<Value> = categories.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
        let (images, categories) = (Value::from(self.images), Value::from(categories));
        writeln!(self.out, "\n],\n\"images\": {images},\n\"categories\": {categories}}}")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_every_image_and_object() -> Result<(), Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes)?;
        writer.image(None, "a \"b\".jpg", (3, 2));
        writer.object(1, &Rle::encode(&[0, 1, 1, 0, 1, 1], 3, 2)?, json!({"score": 0.5}))?;
        writer.object(4, &Rle::encode(&[1, 0, 0, 0, 0, 0], 3, 2)?, Value::Null)?;
        writer.image(Some(70), "empty.jpg", (1, 1));
        writer.finish(&[(1, "object".into())])?;
        let found: Value = serde_json::from_slice(&bytes)?;
        assert_eq!(found["images"][0]["file_name"], "a \"b\".jpg");
        assert_eq!(found["images"][1], json!({"id": 70, "file_name": "empty.jpg", "width": 1, "height": 1}));
        let first = &found["annotations"][0];
        assert_eq!((&first["bbox"], &first["area"]), (&json!([1, 0, 2, 2]), &json!(4)));
        assert_eq!((&first["score"], &first["segmentation"]["size"]), (&json!(0.5), &json!([2, 3])));
        assert_eq!(
            (&found["annotations"][1]["category_id"], &found["categories"][0]["name"]),
            (&json!(4), &json!("object"))
        );
        let ids: Vec<&Value> = (0..2).map(|i| &found["annotations"][i]["id"]).collect();
        assert_eq!(ids, [&json!(1), &json!(2)]);
        // a document of nothing is one, too
        let mut bytes = Vec::new();
        Writer::new(&mut bytes)?.finish(&[])?;
        assert_eq!(serde_json::from_slice::<Value>(&bytes)?["annotations"], json!([]));
        Ok(())
    }
}
