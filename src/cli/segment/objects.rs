//! `hrseg segment --prompts`: many objects of many images, asked about in a file.

use std::path::{Path, PathBuf};

use clap::Args;
use seg_data::Rle;
use seg_data::rle::CocoRle;
use seg_models::Prompts;
use seg_models::registry::ModelName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::Format;
use super::output::{Outputs, Put};
use super::run_file::OfImage;
use super::together;
use crate::pipeline::labels::MOST;
use crate::pipeline::prompts::{AskedImage, AskedObject, PromptFile, Take};
use crate::pipeline::{
    CoarseRecord, MaskRecord, ObjectRecord, ObjectsRecord, Photo, Pipeline, PromptRecord, Watch, pictures,
};

/// A file of prompts.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Many objects")]
pub struct PromptFileArgs {
    /// What to cut out of which image, any number of objects each: COCO's JSON (annotations with boxes or masks, or a detector's results), CSV, or the JSON
    /// of an earlier run
    #[arg(long = "prompts", value_name = "FILE", conflicts_with_all = ["points", "bbox", "mask", "refine", "multimask", "everything"])]
    pub path: Option<PathBuf>,

    /// What is taken of objects that have both a box, or clicks, and a mask
    #[arg(long, value_enum, default_value_t = Take::Box, requires = "path", value_name = "WHAT")]
    pub take: Take,
}

impl PromptFileArgs {
    /// Reads the file, where there is one, and refuses what `model` cannot be asked.
    ///
    /// # Errors
    /// One line.
    pub fn read(&self, model: ModelName) -> Result<Option<PromptFile>, String> {
        let Some(path) = &self.path else { return Ok(None) };
        let file = PromptFile::read(path, self.take).map_err(|error| error.to_string())?;
        file.fits(model).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Some(file))
    }
}

/// An image, and what is asked about it, if a file asks.
pub type Asked<'f> = (PathBuf, Option<&'f AskedImage>);

/// The inputs that the file asks about, and notes on what is left of either.
///
/// # Errors
/// None of them; one that may be several images.
pub fn matched<'f>(
    files: Vec<PathBuf>,
    prompts: &'f PromptFile,
    name: &Path,
) -> Result<(Vec<Asked<'f>>, Vec<String>), String> {
    let mut finder = prompts.finder();
    let (mut asked, mut without) = (Vec::new(), Vec::new());
    for file in files {
        match finder.find(&file).map_err(|problem| format!("{}: {problem}", file.display()))? {
            Some(image) => asked.push((file, Some(image))),
            None => without.push(file.display().to_string()),
        }
    }
    let name = name.display();
    if asked.is_empty() {
        let first = prompts.images.first().map_or(String::new(), AskedImage::told);
        return Err(format!("{name} asks about none of the inputs; the first image that it asks about is {first}"));
    }
    let left: Vec<String> = finder.left().into_iter().map(AskedImage::told).collect();
    let note = |what: &str, names: Vec<String>| {
        let some = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 3 { ", ..." } else { "" };
        (!names.is_empty()).then(|| format!("{what}: {} ({some}{more})", names.len()))
    };
    let notes = [
        note(&format!("inputs that {name} does not ask about"), without),
        note(&format!("images of {name} that are not among the inputs"), left),
    ];
    Ok((asked, notes.into_iter().flatten().collect()))
}

/// Every file that will be written for an image, in the order in which they are.
pub fn files(outputs: &Outputs, asked: &AskedImage) -> Vec<PathBuf> {
    let own = |(format, ending): (Format, &'static str)| {
        asked.objects.iter().filter(move |_| outputs.asked(format)).map(move |object| of(outputs, object, ending))
    };
    [MASK, CUTOUT].into_iter().flat_map(own).chain(together::files(outputs)).collect()
}

/// Files of each object.
const MASK: (Format, &str) = (Format::Mask, "mask.png");
const CUTOUT: (Format, &str) = (Format::Cutout, "cutout.png");

fn of(outputs: &Outputs, object: &AskedObject, ending: &str) -> PathBuf {
    outputs.path(&format!("{}.{ending}", object.name))
}

/// The prompts of an image's objects, laid on the photo, and notes.
///
/// # Errors
/// Prompts that lie outside; an image of another size.
pub fn prompts(asked: &AskedImage, photo: &Photo) -> anyhow::Result<(Vec<Prompts>, Vec<String>)> {
    let size @ (width, height) = photo.dimensions();
    if let Some((w, h)) = asked.size.filter(|told| *told != size) {
        anyhow::bail!("the prompts are for {w}x{h} pixels, and it has {width}x{height} as a viewer shows it");
    }
    if asked.objects.len() > MOST {
        anyhow::bail!("{} objects, expected {MOST} at most", asked.objects.len());
    }
    let (mut all, mut cut) = (Vec::with_capacity(asked.objects.len()), 0);
    for object in &asked.objects {
        let mut prompts = object.prompts(size)?;
        // boxes of detectors reach beyond the image
        if let Some(bbox @ [x0, y0, x1, y1]) = prompts.bbox {
            let within = [x0.max(0.), y0.max(0.), x1.min(width as f32), y1.min(height as f32)];
            if within[0] >= within[2] || within[1] >= within[3] {
                anyhow::bail!(
                    "object {:?}: the box {x0},{y0},{x1},{y1} lies outside of its {width}x{height} pixels",
                    object.name
                );
            }
            cut += usize::from(within != bbox);
            prompts.bbox = Some(within);
        }
        let placed = prompts.clamped(width, height).map(|(placed, _)| placed.into_owned());
        all.push(placed.map_err(|error| anyhow::anyhow!("object {:?}: {error}", object.name))?);
    }
    let note = (cut > 0).then(|| format!("boxes that reach beyond the image, and are cut there: {cut}"));
    Ok((all, note.into_iter().collect()))
}

/// An image in work.
pub struct Work<'a> {
    pub name: String,
    pub model: ModelName,
    pub asked: &'a AskedImage,
    pub photo: &'a Photo,
    pub prompts: &'a [Prompts],
}

impl Work<'_> {
    /// Segments the objects, and puts each one's files where `put` does as soon as it is there; those of all together behind them, the JSON last.
    ///
    /// # Errors
    /// Those of the model; those of `put`.
    pub fn make(
        &self,
        pipeline: &Pipeline,
        outputs: &Outputs,
        watch: &dyn Watch,
        put: Put<'_>,
    ) -> anyhow::Result<ObjectsRecord> {
        let Self { photo, asked, prompts, .. } = self;
        let (mut masks, mut objects): (Vec<Rle>, Vec<ObjectRecord>) = Default::default();
        pipeline.segment_each(photo.seen(), prompts, watch, |at, segmented| -> anyhow::Result<()> {
            let (object, best) = (&asked.objects[at], segmented.best()?);
            segmented.notes.iter().for_each(|said| watch.note(&format!("object {:?}: {said}", object.name)));
            if outputs.asked(MASK.0) {
                put(of(outputs, object, MASK.1), &pictures::mask(&best.levels)?)?;
            }
            if outputs.asked(CUTOUT.0) {
                put(of(outputs, object, CUTOUT.1), &pictures::cutout(photo, best)?)?;
            }
            objects.push(ObjectRecord {
                label: at as u32 + 1,
                object: object.name.clone(),
                category: object.category,
                prompts: PromptRecord::new(&prompts[at], None),
                mask: MaskRecord::from(best),
                coarse: segmented.coarse.as_ref().map(CoarseRecord::from),
            });
            masks.push(best.rle.clone());
            Ok(())
        })?;
        let record = ObjectsRecord {
            image: self.name.clone(),
            image_id: asked.id,
            file_name: asked.id.map(|_| asked.file_name.clone()).filter(|name| !name.is_empty()),
            width: photo.dimensions().0,
            height: photo.dimensions().1,
            model: self.model.to_string(),
            objects,
        };
        together::make(outputs, photo, &masks, &record, put)?;
        Ok(record)
    }
}

/// One line for a person.
pub fn line(record: &ObjectsRecord, shown: &str) -> String {
    let count = record.objects.len();
    format!("{}: {count} {}{shown}", record.image, if count == 1 { "object" } else { "objects" })
}

/// The JSON of an image, as far as it is read again.
#[derive(Deserialize)]
pub struct Written {
    image: String,
    image_id: Option<u64>,
    file_name: Option<String>,
    width: u32,
    height: u32,
    objects: Vec<WrittenObject>,
}

#[derive(Deserialize)]
struct WrittenObject {
    label: u32,
    object: String,
    category: Option<u64>,
    mask: WrittenMask,
}

#[derive(Deserialize)]
struct WrittenMask {
    predicted_iou: Option<f32>,
    rle: CocoRle,
}

impl OfImage for Written {
    const OPTION: &str = "--prompts";

    fn image(&self) -> (Option<u64>, &str, (u32, u32)) {
        (self.image_id, self.file_name.as_deref().unwrap_or(&self.image), (self.width, self.height))
    }

    fn objects(&self) -> impl Iterator<Item = (u64, &CocoRle, Value)> {
        self.objects.iter().map(|WrittenObject { label, object, category, mask }| {
            // a model that does not judge itself is as sure of all
            let score = mask.predicted_iou.unwrap_or(1.);
            (category.unwrap_or(1), &mask.rle, json!({"score": score, "label": label, "object": object}))
        })
    }
}
