//! Sheets of procedural pictures: `procedural_sheet OUT_DIR [SPEC.toml | thin | objects | plain]`.
//!
//! Without a specification: one sheet for each kind, one for each background, the two tasks, and clips with their sentences. Left the picture, right its
//! mask; for prompted pictures the mask with box and clicks, then the coarse mask. Prints the time for a picture.

use std::path::Path;
use std::time::Instant;

use image::imageops::replace;
use seg_data::output::{Overwrite, write_png};
use seg_data::render::{OverlayStyle, Prompts, overlay};
use seg_data::training::procedural::{Ground, Kind, Procedural, Span, Spec, Split, Task};
use seg_data::training::{Example, Examples, Place};
use seg_data::{GrayImage, RgbImage};

const ROWS: u32 = 3;
const COLUMNS: u32 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().unwrap_or_else(|| "procedural_sheets".into());
    let out = Path::new(&out);
    std::fs::create_dir_all(out)?;
    if let Some(spec) = arguments.next() {
        return sheet(&Procedural::open(Some(&spec), None)?, &out.join("sheet.png"));
    }
    let size = Span::new(320., 320.);
    for kind in Kind::DRAWN {
        let spec = Spec { size, kinds: [(kind, 1.)].into_iter().collect(), ..Spec::default() };
        sheet(&Procedural::new(spec, None)?, &out.join(format!("kind_{kind}.png")))?;
    }
    for ground in Ground::DRAWN {
        let backgrounds = [(ground, 1.)].into_iter().collect();
        let spec = Spec { size, backgrounds, ..Spec::default() };
        sheet(&Procedural::new(spec, None)?, &out.join(format!("ground_{}.png", ground.name())))?;
    }
    for name in Spec::NAMES {
        let spec = Spec::named(name).ok_or("a name that is none")?;
        let spec = Spec { size: if spec.task == Task::Prompted { size } else { spec.size }, ..spec };
        sheet(&Procedural::new(spec, None)?, &out.join(format!("task_{name}.png")))?;
    }
    clips(&Procedural::new(Spec { size: Span::new(192., 192.), ..Spec::default() }, None)?, &out.join("clips.png"))
}

/// A clip a row, what is meant laid over it.
fn clips(pictures: &Procedural, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let clips = (0..8)
        .map(|index| {
            let split = if index < 6 { Split::Training } else { Split::HeldOut };
            pictures.clip(Place { seed: 5, epoch: 0, index }, split)
        })
        .collect::<seg_data::Result<Vec<_>>>()?;
    println!("{}: {:.1} ms a clip", path.display(), began.elapsed().as_secs_f64() * 1e3 / 8.);
    let mut whole = RgbImage::new(192 * 8, 192 * 8);
    for (row, clip) in clips.iter().enumerate() {
        println!("{row}: {}", clip.sentence);
        for (column, (frame, mask)) in clip.frames.iter().zip(&clip.masks).enumerate() {
            let style = OverlayStyle { dim: 0., ..OverlayStyle::default() };
            let shown = overlay(frame, mask, &Prompts::default(), &style)?;
            replace(&mut whole, &shown, 192 * column as i64, 192 * row as i64);
        }
    }
    write_png(path, &whole, Overwrite::Replace)?;
    Ok(())
}

fn sheet(pictures: &Procedural, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let examples = (0..u64::from(ROWS * COLUMNS))
        .map(|index| pictures.example(Place { seed: 5, epoch: 0, index }))
        .collect::<seg_data::Result<Vec<_>>>()?;
    let each = began.elapsed().as_secs_f64() * 1e3 / f64::from(ROWS * COLUMNS);
    let panels: Vec<Vec<RgbImage>> = examples.iter().map(panels).collect::<Result<_, _>>()?;
    let widest = |k: usize| panels.iter().filter_map(|p| p.get(k)).map(RgbImage::width).max().unwrap_or(0);
    let (wide, high) = ((0..3).map(widest).sum::<u32>(), examples.iter().map(|e| e.image.height()).max().unwrap_or(0));
    let mut whole = RgbImage::new(wide * COLUMNS, high * ROWS);
    for (i, panels) in panels.iter().enumerate() {
        let (mut x, y) = (i as u32 % COLUMNS * wide, i as u32 / COLUMNS * high);
        for panel in panels {
            replace(&mut whole, panel, i64::from(x), i64::from(y));
            x += panel.width();
        }
    }
    write_png(path, &whole, Overwrite::Replace)?;
    println!("{}: {each:.1} ms a picture", path.display());
    Ok(())
}

fn panels(example: &Example) -> Result<Vec<RgbImage>, Box<dyn std::error::Error>> {
    let gray = |mask: &GrayImage| {
        RgbImage::from_fn(mask.width(), mask.height(), |x, y| image::Rgb([mask.get_pixel(x, y)[0]; 3]))
    };
    let Some(prompt) = &example.prompt else { return Ok(vec![example.image.clone(), gray(&example.mask)]) };
    let prompts = Prompts { points: prompt.clicks.clone(), boxes: prompt.bounds.into_iter().collect() };
    let shown = overlay(&example.image, &example.mask, &prompts, &OverlayStyle::default())?;
    Ok([Some(example.image.clone()), Some(shown), prompt.coarse.as_ref().map(gray)].into_iter().flatten().collect())
}
