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
        let words = row[4].replace('_', " ");
        let found = match load_image(data("tiff").join(&row[0]), &DecodeLimits::default()) {
            Ok(loaded) => {
                let (w, h) = loaded.dimensions();
                let told = loaded.notes.join("; ");
                let right = if row[4] == "*" { told.is_empty() } else { told.contains(&words) };
                if [w.to_string(), h.to_string(), fnv(loaded.image.as_raw())] == row[1..4] && right {
                    continue;
                }
                format!("{w}x{h} {:?} {told:?}", &loaded.image.as_raw()[..6])
            }
            Err(error) if row[3] == "refused" && error.to_string().contains(&words) => continue,
            Err(error) => error.to_string(),
        };
        wrong.push(format!("{}: {found}", row[0]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A prompt or a truth is asked for its indices, not for its colours.
#[test]
fn indices_of_palettes() {
    let limits = DecodeLimits::default();
    let indices = seg_data::labels::load(data("tiff/palette_2bit.tif"), &limits).unwrap().unwrap();
    let expected = |x: u32, y: u32| (((x * 7 + y * 5) % 256) >> 6) as u8;
    assert!(indices.enumerate_pixels().all(|(x, y, p)| p.0[0] == expected(x, y)));
    assert!(seg_data::labels::load(data("tiff/grey_2bit.tif"), &limits).unwrap().is_none());
}
