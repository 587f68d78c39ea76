//! What `hrseg segment` is told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use seg_models::Point;
use seg_models::registry::{ModelKind, ModelName};
use seg_models::{MaskPrompt, Prompts};

use super::everything::{self, EverythingArgs};
use super::objects::PromptFileArgs;
use crate::cli::mgd::MgdArgs;
use crate::cli::photo::PhotoArgs;
use crate::cli::shard::Shard;
use crate::pipeline::{self, Asked, FirstStage, Sources, Words};

const EXAMPLES: &str = "\
Examples:
  hrseg segment truck.jpg --point 500,375
  hrseg segment photos/ --box 75,275,1725,850 --format mask,cutout -o masks
  hrseg segment 'raw/*.png' --point 500,375 --point 20,20:0 --multimask --model sam2-tiny --weights sam2.safetensors
  hrseg segment bicycle.jpg --model sam+isnet --box 40,60,900,700        the box's mask, made exact to its thin parts
  hrseg segment photos/ --model is-net                                   the salient object of each, no prompt
  hrseg segment photos/ --model mgd-sam2 --weights mgd_sam2.pth --tta     the same at high resolution, the authors' protocol
  hrseg segment chair.jpg --model pi-sam-b --weights pi_sam_b.pth --box 90,45,361,270 --refine 120,90 --refine 300,200:0
  hrseg segment photos/ --prompts boxes.csv --format mask,rle             many objects of many photos; also COCO's JSON
  hrseg segment photos/ --model is-net --shard 3/16 -o out                one of 16 machines
  hrseg segment photos/ --everything                                     all objects of each photo, no prompt

Files written, for an image <stem>.jpg:
  DIR/<stem>.mask.png     8-bit grey, 255 inside; with --multimask the best mask, the others <stem>.mask.1.png ...
                          models of IS-Net: the probability, 0..255; DIR/<stem>.coarse.png what their first stage saw
  DIR/<stem>.cutout.png   the object alone, RGBA, in the photo's own colours
  DIR/<stem>.compare.png  two-stage models: coarse mask and exact mask side by side
  DIR/<stem>.overlay.png  the photo with the mask and the prompts drawn over it
  DIR/<stem>.json         prompts, predicted IoUs, boxes, areas, COCO RLE of every mask
With --prompts, for each object, by its name:
  DIR/<stem>.<object>.mask.png, DIR/<stem>.<object>.cutout.png; labels, overlay, JSON and coco.json as below
  A CSV's first line names its columns: image, perhaps object and category, a box x0,y0,x1,y1, a click x,y,label
With --everything:
  DIR/<stem>.labels.png   the number of each pixel's mask, from 1, the best first; 0 is none, and the smaller mask lies above.
                          Indexed colours, or 16 bits of grey where there are more than 255 masks
  DIR/<stem>.overlay.png  the photo with each mask in a colour of its own
  DIR/<stem>.json         every mask under the names that SAM's own code and SA-1B have, with its number
  DIR/coco.json           all masks of the run, as pycocotools reads them

Coordinates are pixels of the image as a viewer shows it (EXIF rotation applied), from the top-left corner.
The weights are fetched once, into the cache: see `hrseg weights list`.";

/// Masks, cut-outs, overlays and RLE of images: point at the object, get it cut out at full resolution.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SegmentArgs {
    /// Image files, folders of images, or quoted patterns
    #[arg(required = true, value_name = "IMAGE|DIR|GLOB")]
    pub inputs: Vec<OsString>,

    /// Model; `hrseg weights list` shows all names
    #[arg(long, default_value_t = ModelName::default(), value_name = "NAME", value_parser = ModelName::from_str)]
    pub model: ModelName,

    /// Checkpoint: a file, a folder that has it, or hub:owner/repo/file; by default the manifest's sources
    #[arg(long, value_name = "FILE|DIR|hub:repo/file")]
    pub weights: Option<String>,

    /// A click: on the object (1, the default) or on what does not belong to it (0)
    #[arg(long = "point", value_name = "X,Y[:0|1]", allow_hyphen_values = true, value_parser = parse_point)]
    pub points: Vec<Point>,

    /// A box around the object: left, top, right, bottom
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1", allow_hyphen_values = true, value_parser = parse_box)]
    pub bbox: Option<[f32; 4]>,

    /// A mask to start from, of the image's shape: 128 and more is inside
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,

    /// Pi-SAM: a click on an error of the box's mask, where the object is missing (1, the default) or something else was
    /// taken for it (0); each builds on those before it
    #[arg(long = "refine", value_name = "X,Y[:0|1]", allow_hyphen_values = true, value_parser = parse_point)]
    pub refine: Vec<Point>,

    /// Two-stage models: the model that finds the object (mobile-sam for sam+isnet, sam-vit-l for dis-sam)
    #[arg(long, value_name = "NAME", value_parser = ModelName::from_str)]
    pub stage_one: Option<ModelName>,

    /// Checkpoint of the first stage; for Pi-SAM the one of SAM that its encoder is from
    #[arg(long, value_name = "FILE|DIR|hub:repo/file")]
    pub stage_one_weights: Option<String>,

    /// Three candidate masks (part, object, whole), the best one first
    #[arg(long)]
    pub multimask: bool,

    #[command(flatten)]
    pub mgd: MgdArgs,

    #[command(flatten)]
    pub photo: PhotoArgs,

    /// Folder for the results, made if it is not there
    #[arg(short, long, default_value = "out", value_name = "DIR")]
    pub output: PathBuf,

    /// What to write
    #[arg(long = "format", value_enum, value_delimiter = ',', value_name = "LIST",
          default_values_t = [Format::Mask, Format::Cutout, Format::Overlay, Format::Rle, Format::Compare])]
    pub formats: Vec<Format>,

    /// Write over results that are there already
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,

    /// Leave out images whose results are all there already
    #[arg(long)]
    pub resume: bool,

    /// Part i of n of the images, counted from 1: for several processes or machines, each with a part of its own
    #[arg(long, value_name = "I/N", value_parser = Shard::from_str)]
    pub shard: Option<Shard>,

    /// Fill holes of up to this many pixels of the 256x256 mask
    #[arg(long, default_value_t = 0, value_name = "AREA", allow_negative_numbers = true)]
    pub fill_holes: u32,

    /// Remove specks of up to this many pixels of the 256x256 mask
    #[arg(long, default_value_t = 0, value_name = "AREA", allow_negative_numbers = true)]
    pub remove_sprinkles: u32,

    #[command(flatten)]
    pub file: PromptFileArgs,

    #[command(flatten)]
    pub everything: EverythingArgs,
}

/// What is written for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// 8-bit grey PNG.
    Mask,
    /// RGBA PNG of the object alone.
    Cutout,
    /// PNG of the photo with the mask over it.
    Overlay,
    /// JSON with COCO RLE.
    Rle,
    /// PNG of coarse and exact mask side by side; of two-stage models only.
    Compare,
}

impl SegmentArgs {
    /// Where the models' weights are.
    pub fn sources(&self) -> Sources<'_> {
        let base = self.stage_one_weights.as_deref();
        let first_stage = match self.mask {
            Some(_) => FirstStage::Absent,
            None => FirstStage::Load(self.stage_one, base),
        };
        Sources { weights: self.weights.as_deref(), first_stage, base }
    }

    /// Refuses options that the model cannot follow, and a model without the prompts it needs.
    ///
    /// # Errors
    /// One line that says what to give instead.
    pub fn check(&self) -> Result<(), String> {
        let Self { model, .. } = self;
        self.mgd.check(*model)?;
        if self.everything.settings(*model)?.is_some() {
            return everything::check(&self.formats);
        }
        if self.file.path.is_some() {
            // each of its objects is checked when it is read
            return Ok(());
        }
        let refuse = |given: bool, message: String| if given { Err(message) } else { Ok(()) };
        let asked = Asked {
            points: !self.points.is_empty(),
            bbox: self.bbox.is_some(),
            mask: self.mask.is_some(),
            refine: !self.refine.is_empty(),
            multimask: self.multimask,
        };
        if let Some(first) = self.stage_one {
            refuse(
                model.kind() != ModelKind::TwoStage,
                format!("{model} has no --stage-one, expected sam+isnet or dis-sam"),
            )?;
            let fits = first.kind() == ModelKind::Promptable && !matches!(first, ModelName::PiSam(_));
            refuse(!fits, format!("--stage-one {first}: expected SAM, MobileSAM or SAM 2"))?;
        }
        refuse(
            self.stage_one_weights.is_some() && model.base().is_none(),
            format!("{model} has no first stage to give --stage-one-weights for"),
        )?;
        pipeline::check(*model, asked, &Words::OPTIONS)
    }

    /// What the model is asked.
    pub fn prompts(&self, mask: Option<MaskPrompt>) -> Prompts {
        let points = self.points.iter().chain(&self.refine).copied().collect();
        Prompts { points, bbox: self.bbox, mask, multimask: self.multimask }
    }
}

fn numbers<const N: usize>(text: &str, expected: &str) -> Result<[f32; N], String> {
    let values: Vec<f32> = text
        .split(',')
        .map(|v| v.trim().parse::<f32>().ok().filter(|v| v.is_finite()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected {expected}"))?;
    values.try_into().map_err(|_| format!("expected {expected}"))
}

pub(in crate::cli) fn parse_point(text: &str) -> Result<Point, String> {
    const EXPECTED: &str = "two numbers of pixels and perhaps a label, such as 500,375 or 500,375:0";
    let (xy, positive) = match text.split_once(':') {
        None | Some((_, "1")) => (text.split(':').next().unwrap_or(text), true),
        Some((xy, "0")) => (xy, false),
        Some((_, label)) => return Err(format!("label `{label}`, expected 1 (on the object) or 0 (not on it)")),
    };
    let [x, y] = numbers(xy, EXPECTED)?;
    Ok(Point { x, y, positive })
}

pub(in crate::cli) fn parse_box(text: &str) -> Result<[f32; 4], String> {
    numbers(text, "four numbers of pixels: left,top,right,bottom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_boxes() {
        assert_eq!(parse_point("500,375").unwrap(), Point { x: 500., y: 375., positive: true });
        assert_eq!(parse_point("1.5,2:0").unwrap(), Point { x: 1.5, y: 2., positive: false });
        assert_eq!(parse_point("-3,2:1").unwrap(), Point { x: -3., y: 2., positive: true });
        for bad in ["", "5", "1,2,3", "1,b", "1,2:2", "nan,1", "1,inf"] {
            assert!(parse_point(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_box("1,2,3,4").unwrap(), [1., 2., 3., 4.]);
        assert!(parse_box("1,2,3").is_err());
    }
}
