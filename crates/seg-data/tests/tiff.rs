//! TIFFs of all kinds: their pixels, and what is told of them.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{data, fnv, table};
use seg_data::{DecodeLimits, load_image};

/// The pixels that the file's maker put in (`make_tiff.py`), and a note where they are a guess or not all there is.
#[test]
fn pixels_are_what_was_put_in() {
    let rows = table("tiff.txt");
    assert_eq!(rows.len(), std::fs::read_dir(data("tiff")).unwrap().count());
    let mut wrong = Vec::new();
    for row in rows {
        let found = match load_image(data("tiff").join(&row[0]), &DecodeLimits::default()) {
            Ok(loaded) => {
                let (w, h) = loaded.dimensions();
                let told = loaded.notes.join("; ");
                let right = match row[4].as_str() {
                    "*" => told.is_empty(),
                    word => told.contains(word),
                };
                if [w.to_string(), h.to_string(), fnv(loaded.image.as_raw())] == row[1..4] && right {
                    continue;
                }
                format!("{w}x{h} {:?} {told:?}", &loaded.image.as_raw()[..6])
            }
            Err(error) => error.to_string(),
        };
        wrong.push(format!("{}: {found}", row[0]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
