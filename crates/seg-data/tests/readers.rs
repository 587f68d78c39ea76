//! Masks as the readers of evaluation toolkits have them: files that `data/make_readers.py` made, with what OpenCV 4.14 and Pillow 13.0 gave.
#![allow(clippy::unwrap_used)]

mod common;

use common::{data, fnv, table};
use seg_data::{DecodeLimits, MaskReader, MaskRole, Meaning, load_levels};

#[test]
fn grey_as_opencv_and_pillow_have_it() {
    let (mut bad, mut compared) = (Vec::new(), 0);
    for row in table("readers.txt") {
        let (file, expected) = row.split_first().unwrap();
        for (reader, expected) in [MaskReader::OpenCv, MaskReader::Pillow].into_iter().zip(expected.chunks_exact(3)) {
            if expected[0] == "-" {
                continue; // they cannot read it
            }
            let path = data("readers").join(file);
            let found = match load_levels(&path, MaskRole::Truth, reader, &DecodeLimits::default()) {
                Ok(read) => {
                    let (width, height) = read.levels.dimensions();
                    format!("{width} {height} {}", fnv(read.levels.as_raw()))
                }
                Err(error) => error.to_string(),
            };
            compared += 1;
            if found != expected.join(" ") {
                bad.push(format!("{file} {reader:?}: {found}, expected {}", expected.join(" ")));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {compared}:\n{}", bad.len(), bad.join("\n"));
    assert!(compared > 115, "only {compared} compared");
}

#[test]
fn the_background_of_a_gif_is_told() {
    let meaning = |file: &str, reader| {
        load_levels(data("readers").join(file), MaskRole::Truth, reader, &DecodeLimits::default()).unwrap().meaning
    };
    for file in ["clear_background0.gif", "clear_background3.gif", "small.gif"] {
        assert_eq!(meaning(file, MaskReader::OpenCv), Meaning::Backdrop, "{file}");
        assert_ne!(meaning(file, MaskReader::Pillow), Meaning::Backdrop, "{file}");
    }
    assert_ne!(meaning("palette8.gif", MaskReader::OpenCv), Meaning::Backdrop);
}
