//! Prompts a little outside of the image.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

use std::borrow::Cow;

use seg_models::{Point, Prompts};

#[test]
fn less_than_a_pixel_is_moved_and_told() {
    let prompts =
        Prompts { points: vec![Point { x: -0.99, y: 48.5, positive: false }], ..Prompts::bbox([-0.3, 8., 64.4, 40.]) };
    let (moved, notes) = prompts.clamped(64, 48).unwrap();
    assert_eq!((moved.points[0], moved.bbox), (Point { x: 0., y: 48., positive: false }, Some([0., 8., 64., 40.])));
    assert!(
        notes.len() == 2 && notes[0].contains("(-0.99, 48.5)") && notes[1].contains("[0.0, 8.0, 64.0, 40.0]"),
        "{notes:?}"
    );
    let inside = Prompts::point(64., 0.);
    assert!(matches!(inside.clamped(64, 48).unwrap(), (Cow::Borrowed(_), notes) if notes.is_empty()));
}

#[test]
fn a_pixel_is_refused() {
    let refused = |prompts: Prompts| prompts.clamped(64, 48).unwrap_err().to_string();
    assert!(refused(Prompts::point(-1., 5.)).contains("(-1, 5)"));
    assert!(refused(Prompts::point(5., 49.)).contains("(5, 49)"));
    assert!(refused(Prompts::point(f32::NAN, 5.)).contains("NaN"));
    assert!(refused(Prompts::bbox([0., 0., 65., 5.])).contains("65"));
    assert!(refused(Prompts::bbox([64.1, 0., 64.9, 5.])).contains("empty"));
    assert!(refused(Prompts::bbox([9., 0., 9., 5.])).contains("empty"));
}
