//! The files that `hrseg segment` writes for an image.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seg_data::output::{Overwrite, write, write_png};
use seg_data::{GrayImage, RgbImage, Rle, render};
use seg_models::promptable::MASK_THRESHOLD;
use seg_models::{Prediction, Prompts};
use serde::Serialize;

use super::args::Format;

/// Masks that `--multimask` asks for.
pub const CANDIDATES: usize = 3;

/// Names of an image's results.
#[derive(Clone, Debug)]
pub struct Outputs {
    folder: PathBuf,
    /// Not always text: file systems may have names that are not UTF-8.
    stem: OsString,
    formats: Vec<Format>,
}

impl Outputs {
    /// Of `image`, in `folder`.
    pub fn new(folder: &Path, image: &Path, formats: &[Format]) -> Self {
        Self { folder: folder.to_owned(), stem: seg_data::inputs::stem(image), formats: formats.to_vec() }
    }

    fn path(&self, ending: &str) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(".");
        name.push(ending);
        self.folder.join(name)
    }

    /// The mask at `rank`: the best has no number.
    fn mask_path(&self, rank: usize) -> PathBuf {
        if rank == 0 { self.path("mask.png") } else { self.path(&format!("mask.{rank}.png")) }
    }

    fn has(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// Every file that will be written for `masks` masks.
    pub fn files(&self, masks: usize) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if self.has(Format::Mask) {
            files.extend((0..masks).map(|rank| self.mask_path(rank)));
        }
        let others = [(Format::Cutout, "cutout.png"), (Format::Overlay, "overlay.png"), (Format::Rle, "json")];
        files.extend(others.into_iter().filter(|(format, _)| self.has(*format)).map(|(_, ending)| self.path(ending)));
        files
    }

    /// Writes everything; on an error what this image has written already is taken back.
    pub fn write(&self, image: &RgbImage, result: &Segmented, overwrite: Overwrite) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let outcome = self.write_all(image, result, overwrite, &mut written);
        if outcome.is_err() && overwrite == Overwrite::Refuse {
            for path in &written {
                // nothing more can be done about a file that cannot be removed
                let _ = std::fs::remove_file(path);
            }
        }
        if outcome.is_ok() && overwrite == Overwrite::Replace {
            self.remove_stale(result.masks.len());
        }
        outcome.map(|()| written)
    }

    /// Candidate masks of an earlier run that asked for more of them would pass for this one's.
    fn remove_stale(&self, masks: usize) {
        if self.has(Format::Mask) {
            for path in (masks.max(1)..CANDIDATES).map(|rank| self.mask_path(rank)).filter(|path| path.exists()) {
                // it may be somebody else's by now: then it stays
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn write_all(
        &self,
        image: &RgbImage,
        result: &Segmented,
        overwrite: Overwrite,
        written: &mut Vec<PathBuf>,
    ) -> anyhow::Result<()> {
        let best = result.masks.first().context("the model returned no mask")?;
        if self.has(Format::Mask) {
            for (rank, mask) in result.masks.iter().enumerate() {
                let path = self.mask_path(rank);
                write_png(&path, mask, overwrite)?;
                written.push(path);
            }
        }
        if self.has(Format::Cutout) {
            let path = self.path("cutout.png");
            write_png(&path, &render::cutout(image, best)?, overwrite)?;
            written.push(path);
        }
        if self.has(Format::Overlay) {
            let path = self.path("overlay.png");
            let overlay = render::overlay(image, best, &result.drawn_prompts, &render::OverlayStyle::default())?;
            write_png(&path, &overlay, overwrite)?;
            written.push(path);
        }
        // last: a JSON says that the image is complete
        if self.has(Format::Rle) {
            let path = self.path("json");
            write(&path, serde_json::to_string_pretty(&result.record)?.as_bytes(), overwrite)?;
            written.push(path);
        }
        Ok(())
    }
}

/// The inputs less those that are results of others: with the photos' own folder as output (`photos -o photos`), the
/// next run would find masks, cut-outs and overlays among the photos.
pub fn without_own_results(mut files: Vec<PathBuf>, folder: &Path) -> Vec<PathBuf> {
    const MOST_MASKS: usize = 3;
    let formats = [Format::Mask, Format::Cutout, Format::Overlay];
    let results: HashSet<PathBuf> = files
        .iter()
        .filter(|file| in_folder(file, folder))
        .flat_map(|file| Outputs::new(file.parent().unwrap_or(Path::new("")), file, &formats).files(MOST_MASKS))
        .collect();
    files.retain(|file| !results.contains(file));
    files
}

/// Whether `folder`, by whichever name, is where `file` lies.
fn in_folder(file: &Path, folder: &Path) -> bool {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    parent == folder || matches!((parent.canonicalize(), folder.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// An image's masks, best first, with what is told about them.
pub struct Segmented {
    /// 255 inside, 0 outside.
    pub masks: Vec<GrayImage>,
    /// What goes into the JSON.
    pub record: Record,
    drawn_prompts: render::Prompts,
}

/// The JSON of an image.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    image: String,
    width: u32,
    height: u32,
    model: String,
    prompts: PromptRecord,
    /// Best first.
    masks: Vec<MaskRecord>,
}

#[derive(Clone, Debug, Serialize)]
struct PromptRecord {
    /// `[x, y, label]`.
    points: Vec<[f32; 3]>,
    r#box: Option<[f32; 4]>,
    mask: Option<String>,
    multimask: bool,
}

#[derive(Clone, Debug, Serialize)]
struct MaskRecord {
    /// Position among the model's outputs.
    index: usize,
    predicted_iou: f32,
    /// Pixels inside.
    area: u64,
    /// Share of the image inside, 0..1.
    area_share: f64,
    /// Left, top, width, height.
    bbox: [u32; 4],
    /// COCO's compressed run lengths.
    rle: seg_data::rle::CocoRle,
}

impl Segmented {
    /// Thresholds the prediction and ranks its masks by predicted IoU.
    pub fn new(
        image: &Path,
        (width, height): (u32, u32),
        model: &str,
        prompts: &Prompts,
        mask_file: Option<&Path>,
        prediction: &Prediction,
    ) -> anyhow::Result<Self> {
        let ious = &prediction.iou_predictions;
        if let Some(bad) = ious.iter().find(|iou| !iou.is_finite()) {
            anyhow::bail!("the model predicted an IoU of {bad}: its weights or number type do not fit");
        }
        let mut ranking: Vec<usize> = (0..ious.len()).collect();
        ranking.sort_by(|&a, &b| ious[b].total_cmp(&ious[a]));
        let mut masks = Vec::with_capacity(ranking.len());
        let mut records = Vec::with_capacity(ranking.len());
        for &index in &ranking {
            let logits = prediction.mask(index)?;
            if let Some(bad) = logits.iter().find(|logit| !logit.is_finite()) {
                anyhow::bail!("the model gave a mask with the value {bad}: its weights or number type do not fit");
            }
            let mask = seg_data::mask::from_logits(&logits, width, height, MASK_THRESHOLD)?;
            let rle = Rle::encode(mask.as_raw(), width, height)?;
            records.push(MaskRecord {
                index,
                predicted_iou: ious[index],
                area: rle.area(),
                area_share: rle.area() as f64 / (f64::from(width) * f64::from(height)),
                bbox: rle.bbox(),
                rle: rle.to_coco(),
            });
            masks.push(mask);
        }
        let record = Record {
            image: image.display().to_string(),
            width,
            height,
            model: model.to_owned(),
            prompts: PromptRecord {
                points: prompts.points.iter().map(|p| [p.x, p.y, f32::from(u8::from(p.positive))]).collect(),
                r#box: prompts.bbox,
                mask: mask_file.map(|path| path.display().to_string()),
                multimask: prompts.multimask,
            },
            masks: records,
        };
        let drawn_prompts = render::Prompts {
            points: prompts.points.iter().map(|p| (p.x, p.y, p.positive)).collect(),
            boxes: prompts.bbox.into_iter().collect(),
        };
        Ok(Self { masks, record, drawn_prompts })
    }

    /// One line for a person.
    pub fn line(&self, written: &[PathBuf]) -> String {
        let record = &self.record;
        let best = record.masks.first().map_or((0.0, 0.0), |mask| (mask.predicted_iou, mask.area_share));
        let shown = written
            .iter()
            .find(|path| path.to_string_lossy().ends_with("overlay.png"))
            .or_else(|| written.first())
            .map_or(String::new(), |path| format!("  ->  {}", path.display()));
        let (iou, share) = best;
        format!("{}: predicted IoU {iou:.3}, {:.1} % of the image{shown}", record.image, 100.0 * share)
    }

    /// One line for a program: the record with the files written.
    pub fn json(&self, written: &[PathBuf]) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(&self.record)?;
        let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        value["files"] = files.into();
        Ok(value.to_string())
    }
}
