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
    annotations: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a document.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"annotations\": [")?;
        Ok(Self { out, images: Vec::new(), annotations: 0 })
    }

    /// The next image, of `size` width and height; the objects that follow are on it.
    pub fn image(&mut self, file_name: &str, (width, height): (u32, u32)) {
        let id = self.images.len() + 1;
        self.images.push(json!({"id": id, "file_name": file_name, "width": width, "height": height}));
    }

    /// An object of the last image, with what `more`, an object of JSON, says of it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn object(&mut self, rle: &Rle, more: Value) -> io::Result<()> {
        self.annotations += 1;
        let mut value = annotation(self.annotations, self.images.len() as u64, 1, rle, more);
        value["segmentation"] = json!(rle.to_coco());
        let comma = if self.annotations > 1 { "," } else { "" };
        write!(self.out, "{comma}\n{value}")
    }

    /// Ends the document: all objects are of one category, whose name is `category`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self, category: &str) -> io::Result<()> {
        let (images, categories) = (Value::from(self.images), json!([{"id": 1, "name": category}]));
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
        writer.image("a \"b\".jpg", (3, 2));
        writer.object(&Rle::encode(&[0, 1, 1, 0, 1, 1], 3, 2)?, json!({"score": 0.5}))?;
        writer.object(&Rle::encode(&[1, 0, 0, 0, 0, 0], 3, 2)?, Value::Null)?;
        writer.image("empty.jpg", (1, 1));
        writer.finish("object")?;
        let found: Value = serde_json::from_slice(&bytes)?;
        assert_eq!(found["images"][0]["file_name"], "a \"b\".jpg");
        assert_eq!(found["images"][1], json!({"id": 2, "file_name": "empty.jpg", "width": 1, "height": 1}));
        let first = &found["annotations"][0];
        assert_eq!((&first["bbox"], &first["area"]), (&json!([1, 0, 2, 2]), &json!(4)));
        assert_eq!((&first["score"], &first["segmentation"]["size"]), (&json!(0.5), &json!([2, 3])));
        let ids: Vec<&Value> = (0..2).map(|i| &found["annotations"][i]["id"]).collect();
        assert_eq!(ids, [&json!(1), &json!(2)]);
        // a document of nothing is one, too
        let mut bytes = Vec::new();
        Writer::new(&mut bytes)?.finish("object")?;
        assert_eq!(serde_json::from_slice::<Value>(&bytes)?["annotations"], json!([]));
        Ok(())
    }
}
