//! A picture of a run's curves: a panel a kind of number.

use super::Line;
use crate::Result;
use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_7X13};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line as Stroke, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Text};
use seg_data::RgbImage;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Width and height of a panel, and what axes and captions take of it: left, top, right, bottom.
const PANEL: (u32, u32) = (760, 260);
const MARGIN: [i32; 4] = [76, 26, 20, 26];
/// Colours that stay apart for the colour-blind (the first seven are Okabe's and Ito's).
const COLOURS: [[u8; 3]; 10] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [0, 0, 0],
    [110, 70, 200],
    [140, 140, 140],
    [120, 70, 20],
];
/// Width of a letter, and height of a row of captions.
const LETTER: i32 = 7;
const ROW: i32 = 15;
const GREY: Rgb888 = Rgb888::new(205, 205, 205);
const INK: Rgb888 = Rgb888::new(40, 40, 40);

/// Steps and values by the number's name.
type Series<'l> = BTreeMap<&'l str, Vec<(f64, f64)>>;

/// Draws all numbers of a log: those whose names begin alike up to the last `/` and `_` stand in one panel (`train/loss`, `train/loss_iou`).
///
/// A number of the training is drawn as it is, faint, and as its running mean over a fiftieth of the run.
///
/// # Errors
/// None to speak of: a log without numbers gives an empty panel.
pub fn curves(lines: &[Line]) -> Result<RgbImage> {
    let mut panels: BTreeMap<String, Series<'_>> = BTreeMap::new();
    for line in lines {
        for (name, value) in line.scalars.iter().filter(|(name, value)| value.is_finite() && drawn(name)) {
            let panel = panels.entry(panel_of(name)).or_default();
            panel.entry(name).or_default().push((line.step as f64, *value));
        }
    }
    let last = lines.iter().map(|line| line.step).max().unwrap_or(1).max(1);
    let captions: Vec<_> = panels.iter().map(|(title, series)| Captions::new(title, series)).collect();
    let height = captions.iter().map(Captions::panel_height).sum::<u32>().max(PANEL.1);
    let mut canvas = Canvas(RgbImage::from_pixel(PANEL.0, height, image::Rgb([255; 3])));
    let mut top = 0;
    for ((title, series), captions) in panels.iter().zip(&captions) {
        panel(&mut canvas, top, title, series, captions, last as f64);
        top += captions.panel_height() as i32;
    }
    Ok(canvas.0)
}

/// Where the names of a panel's series stand: behind its title, in as many rows as they need.
struct Captions {
    /// Left end and row of each.
    places: Vec<(i32, i32)>,
    rows: i32,
}

impl Captions {
    fn new(title: &str, series: &Series<'_>) -> Self {
        let [left, _, right, _] = MARGIN;
        let end = PANEL.0 as i32 - right;
        let (mut x, mut row) = (left + LETTER * (title.len() as i32 + 3), 0);
        let places = series.keys().map(|name| {
            let width = LETTER * short(name).len() as i32;
            if x + width > end && x > left {
                (x, row) = (left, row + 1);
            }
            let place = (x, row);
            x += width + 2 * LETTER;
            place
        });
        let places = places.collect();
        Self { places, rows: row + 1 }
    }

    fn panel_height(&self) -> u32 {
        PANEL.1 + (ROW * (self.rows - 1)) as u32
    }
}

fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Of the many scores of a validation the chief ones.
fn drawn(name: &str) -> bool {
    const SCORES: [&str; 8] =
        ["mae", "smeasure.sm", "fmeasure.max", "wfm_beta1", "mask_iou", "J&F-Mean", "J-Mean", "F-Mean"];
    // of those after a click the boundaries': that is what clicks are for
    name.strip_prefix("val/").is_none_or(|score| SCORES.contains(&score) || score.ends_with(".biou"))
}

fn panel_of(name: &str) -> String {
    let (group, rest) = name.split_once('/').unwrap_or(("", name));
    let kind = rest.split('_').next().unwrap_or(rest);
    // scores of a validation are between 0 and 1: one panel
    if group == "val" { "val".into() } else { format!("{group}/{kind}") }
}

fn panel(canvas: &mut Canvas, top: i32, title: &str, series: &Series<'_>, captions: &Captions, last: f64) {
    let [left, above, right, below] = MARGIN;
    let (x0, x1) = (left, PANEL.0 as i32 - right);
    let first_row = top + above - 9;
    let (y0, y1) = (top + above + ROW * (captions.rows - 1), top + captions.panel_height() as i32 - below);
    let values = || series.values().flatten().map(|(_, value)| *value);
    let (mut low, mut high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low >= high {
        (low, high) = (low - low.abs().max(1e-6) * 0.1, high + high.abs().max(1e-6) * 0.1);
    }
    let ink = MonoTextStyle::new(&FONT_7X13, INK);
    for i in 0..=4 {
        let y = y1 - (y1 - y0) * i / 4;
        canvas.stroke((x0, y), (x1, y), GREY, 1);
        let value = low + (high - low) * f64::from(i) / 4.;
        canvas.text(&number(value), (x0 - 6, y + 4), ink, Alignment::Right);
        let x = x0 + (x1 - x0) * i / 4;
        canvas.text(&number((last * f64::from(i) / 4.).round()), (x, y1 + 16), ink, Alignment::Center);
    }
    canvas.text(title, (x0, first_row), ink, Alignment::Left);
    let at = |(step, value): (f64, f64)| {
        let x = x0 + ((x1 - x0) as f64 * step / last).round() as i32;
        (x, y1 - ((y1 - y0) as f64 * (value - low) / (high - low)).round() as i32)
    };
    for (i, ((name, points), &(x, row))) in series.iter().zip(&captions.places).enumerate().rev() {
        let [r, g, b] = COLOURS[i % COLOURS.len()];
        let faint = |v: u8| v / 4 + 190;
        let noisy = name.starts_with("train/") && *name != "train/lr";
        if noisy && points.len() > 50 {
            canvas.path(points.iter().map(|p| at(*p)), Rgb888::new(faint(r), faint(g), faint(b)), 1);
        }
        let width = if noisy { points.len() / 50 } else { 0 };
        canvas.path(smooth(points, width).into_iter().map(at), Rgb888::new(r, g, b), 2);
        let label = MonoTextStyle::new(&FONT_7X13, Rgb888::new(r, g, b));
        canvas.text(short(name), (x, first_row + ROW * row), label, Alignment::Left);
    }
}

/// Each point as the mean of those up to `width` before it.
fn smooth(points: &[(f64, f64)], width: usize) -> Vec<(f64, f64)> {
    (0..points.len())
        .map(|i| {
            let window = &points[i.saturating_sub(width)..=i];
            (points[i].0, window.iter().map(|(_, value)| value).sum::<f64>() / window.len() as f64)
        })
        .collect()
}

fn number(value: f64) -> String {
    match value.abs() {
        0. => "0".into(),
        v if !(1e-3..1e5).contains(&v) => format!("{value:.1e}"),
        v if v >= 100. => format!("{value:.0}"),
        v if v >= 1. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A picture that is drawn on.
pub(crate) struct Canvas(RgbImage);

impl Canvas {
    pub(crate) fn new(image: RgbImage) -> Self {
        Self(image)
    }

    pub(crate) fn image(&mut self) -> &mut RgbImage {
        &mut self.0
    }

    /// A line of text from its left end.
    pub(crate) fn caption(&mut self, text: &str, at: (i32, i32)) {
        self.text(text, at, MonoTextStyle::new(&FONT_7X13, INK), Alignment::Left);
    }

    fn stroke(&mut self, from: (i32, i32), to: (i32, i32), colour: Rgb888, width: u32) {
        let Ok(()) =
            Stroke::new(from.into(), to.into()).into_styled(PrimitiveStyle::with_stroke(colour, width)).draw(self);
    }

    fn path(&mut self, points: impl IntoIterator<Item = (i32, i32)>, colour: Rgb888, width: u32) {
        let mut before: Option<(i32, i32)> = None;
        for point in points {
            match before {
                Some(before) => self.stroke(before, point, colour, width),
                // a single point is seen, too
                None => {
                    let Ok(()) = Rectangle::with_center(point.into(), Size::new(3, 3))
                        .into_styled(PrimitiveStyle::with_fill(colour))
                        .draw(self);
                }
            }
            before = Some(point);
        }
    }

    fn text(&mut self, text: &str, at: (i32, i32), style: MonoTextStyle<'_, Rgb888>, alignment: Alignment) {
        let Ok(_) = Text::with_alignment(text, at.into(), style, alignment).draw(self);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> std::result::Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else { continue };
            if x < self.0.width() && y < self.0.height() {
                self.0.put_pixel(x, y, image::Rgb([colour.r(), colour.g(), colour.b()]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_for_each_kind() {
        let line = |step: u64| {
            let loss = 1. / (1. + step as f64 / 20.) + 0.05 * (step as f64).sin();
            let mut scalars = BTreeMap::from([("train/loss".to_owned(), loss), ("train/lr".to_owned(), 1e-4)]);
            scalars.insert("train/loss_iou".to_owned(), loss / 2.);
            if step.is_multiple_of(50) {
                scalars.insert("val/mask_iou".to_owned(), 1. - loss);
                scalars.insert("val/precision_at.0.5".to_owned(), 1.);
            }
            Line { step, scalars }
        };
        let picture = curves(&(1..=200).map(line).collect::<Vec<_>>()).unwrap();
        assert_eq!(picture.dimensions(), (PANEL.0, 3 * PANEL.1));
        let has = |colour: [u8; 3]| picture.pixels().any(|p| p.0 == colour);
        assert!(has(COLOURS[0]) && has(COLOURS[1]) && !has(COLOURS[5]));
        if let Some(folder) = std::env::var_os("HRSEG_SHOW") {
            picture.save(std::path::Path::new(&folder).join("curve.png")).unwrap();
        }
        assert_eq!(curves(&[]).unwrap().dimensions(), PANEL);
    }

    #[test]
    fn captions_stand_side_by_side_in_as_many_rows_as_they_need() {
        let names: Vec<String> = (0..12).map(|i| format!("train/loss_of_output_{i:02}")).collect();
        let series: Series<'_> = names.iter().map(|name| (name.as_str(), vec![(1., 0.5)])).collect();
        let captions = Captions::new("train/loss", &series);
        let width = LETTER * short(&names[0]).len() as i32;
        assert!(captions.rows > 1 && captions.places[0].0 > MARGIN[0] + LETTER * "train/loss".len() as i32);
        for pair in captions.places.windows(2) {
            let ((x0, row0), (x1, row1)) = (pair[0], pair[1]);
            assert!(x0 + width <= PANEL.0 as i32 - MARGIN[2] && (row1 > row0 || x1 > x0 + width), "{pair:?}");
        }
        let line = Line { step: 1, scalars: names.iter().map(|name| (name.clone(), 0.5)).collect() };
        assert_eq!(curves(&[line]).unwrap().height(), PANEL.1 + (ROW * (captions.rows - 1)) as u32);
    }
}
