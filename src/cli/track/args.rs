//! What `hrseg track` is told.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use seg_models::Point;
use seg_models::registry::{ModelKind, ModelName, MpgSam2Size, Sam2Size};
use seg_models::sam2::Sam2Version;

use crate::cli::photo::PhotoArgs;
use crate::cli::segment::args::{parse_box, parse_point};
use crate::pipeline::frames::Ways;

const EXAMPLES: &str = "\
Examples:
  hrseg track bear/ --model sam2.1-tiny --weights sam2.1_hiera_tiny.pt --point 0:1:420,230
  hrseg track clip.gif --model sam2.1-large --weights sam2.1_hiera_large.pt --box 0:1:30,40,210,300 --point 12:2:90,80
  hrseg track match.mp4 --model sam2.1-small --weights sam2.1_hiera_small.pt --mask 0:1:player.png --format labels,gif
  hrseg track park/ --model mpg-sam2 --weights mpg-sam2-ytvos/ --text 'the dog on the left'

Frames and objects are numbers: FRAME counts from 0 in the order of the frames, OBJECT is 1 to 255 as you like.
Prompts of one object on one frame belong together; a mask stands alone. Tracking goes from the first prompted frame to
the end, then from there back to the beginning.

With --text the whole video, or each clip of --clip frames, is looked at together with the sentence before its first frame
is done; the object has the number 1. The sentence is taken as it is: upper case and white space count.

Files written, for a video <stem> and each of its frames <frame>:
  DIR/<stem>/<frame>.png           the objects' numbers as an indexed PNG with DAVIS's colours; where objects overlap,
                                   the more certain one
  DIR/<stem>.overlay/<frame>.png   the frame with the objects drawn over it
  DIR/<stem>.rle/<frame>.json      score, box, area and COCO RLE of every object, overlaps kept
  DIR/<stem>.gif                   the overlays as an animation, at most 640 pixels wide or high
  DIR/<stem>.state.safetensors     what is remembered, for --resume; deleted when all frames are done

A frame that cannot be read is told and left out; the others go on without it. Frames may differ in size.
The weights must be a complete official file: image-only ones have no memory to track with.";

/// Masks of objects through a video: point at them once, get them on every frame.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TrackArgs {
    /// A folder of frames, an animation (GIF, APNG, WebP), or a video file (this needs the program ffmpeg)
    #[arg(value_name = "DIR|ANIMATION|VIDEO")]
    pub input: PathBuf,

    /// Model: sam2-... or sam2.1-..., for --text mpg-sam2 or mpg-sam2-tiny [default: sam2.1-tiny, with --text mpg-sam2]
    #[arg(long, value_name = "NAME", value_parser = ModelName::from_str)]
    pub model: Option<ModelName>,

    /// Checkpoint: a file, a folder that has it, or hub:owner/repo/file; by default the manifest's sources
    #[arg(long, value_name = "FILE|DIR|hub:repo/file")]
    pub weights: Option<String>,

    #[command(flatten)]
    pub photo: PhotoArgs,

    /// What to look for, in words
    #[arg(long, value_name = "SENTENCE", conflicts_with_all = ["points", "boxes", "masks", "direction", "fill_holes"])]
    pub text: Option<String>,

    /// With --text: the sentencepiece model or transformers' tokenizer.json, beside the weights by default
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// With --text: cut the video into clips of N frames that know nothing of each other (24 for weights of MeViS); by default one clip
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub clip: Option<u32>,

    /// A click: on the object (1, the default) or on what does not belong to it (0)
    #[arg(long = "point", value_name = "FRAME:OBJECT:X,Y[:0|1]", value_parser = parse_frame_point)]
    pub points: Vec<On<Point>>,

    /// A box around the object: left, top, right, bottom
    #[arg(long = "box", value_name = "FRAME:OBJECT:X0,Y0,X1,Y1", value_parser = parse_frame_box)]
    pub boxes: Vec<On<[f32; 4]>>,

    /// The object's mask: 128 and more is inside; of an indexed PNG the pixels with the object's number
    #[arg(long = "mask", value_name = "FRAME:OBJECT:FILE", value_parser = parse_frame_mask)]
    pub masks: Vec<On<PathBuf>>,

    /// Which way from the first prompted frame
    #[arg(long, value_enum, default_value_t = Ways::Both, value_name = "WAY")]
    pub direction: Ways,

    /// Folder for the results, made if it is not there
    #[arg(short, long, default_value = "out", value_name = "DIR")]
    pub output: PathBuf,

    /// What to write
    #[arg(long = "format", value_enum, value_delimiter = ',', value_name = "LIST",
          default_values_t = [Format::Labels, Format::Overlay, Format::Rle])]
    pub formats: Vec<Format>,

    /// Frames a second of the GIF
    #[arg(long, default_value_t = 12.0, value_name = "N", allow_negative_numbers = true, value_parser = parse_rate)]
    pub fps: f32,

    /// Write over results that are there already
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,

    /// Go on where an interrupted run with the same prompts stopped
    #[arg(long)]
    pub resume: bool,

    /// Fill holes of up to this many pixels of the 256x256 mask
    #[arg(long, default_value_t = 8, value_name = "AREA", allow_negative_numbers = true)]
    pub fill_holes: u32,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Indexed PNGs of the objects' numbers.
    Labels,
    /// PNGs of the frames with the objects over them.
    Overlay,
    /// JSON with COCO RLE.
    Rle,
    /// The overlays as an animation.
    Gif,
}

/// Something about an object on a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct On<T> {
    pub frame: usize,
    pub object: u8,
    pub what: T,
}

impl<T> On<T> {
    fn parse(text: &str, form: &str, what: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        let expected = || format!("expected {form}");
        let (frame, rest) = text.split_once(':').ok_or_else(expected)?;
        let (object, rest) = rest.split_once(':').ok_or_else(expected)?;
        let frame = frame.trim().parse().map_err(|_| format!("frame `{frame}`, expected a number from 0"))?;
        let object = match object.trim().parse() {
            Ok(object @ 1..) => object,
            _ => return Err(format!("object `{object}`, expected a number from 1 to 255")),
        };
        Ok(Self { frame, object, what: what(rest)? })
    }
}

fn parse_frame_point(text: &str) -> Result<On<Point>, String> {
    On::parse(text, "FRAME:OBJECT:X,Y, such as 0:1:500,375 or 0:1:500,375:0", parse_point)
}

fn parse_frame_box(text: &str) -> Result<On<[f32; 4]>, String> {
    On::parse(text, "FRAME:OBJECT:X0,Y0,X1,Y1, such as 0:1:75,275,1725,850", parse_box)
}

fn parse_frame_mask(text: &str) -> Result<On<PathBuf>, String> {
    On::parse(text, "FRAME:OBJECT:FILE, such as 0:1:mask.png", |file| Ok(PathBuf::from(file)))
}

fn parse_rate(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(rate) if (0.1..=100.0).contains(&rate) => Ok(rate),
        _ => Err("expected frames a second, 0.1 to 100".into()),
    }
}

impl TrackArgs {
    /// The model: the one named, or the usual one for what is given.
    pub fn model(&self) -> ModelName {
        let usual = match self.text {
            Some(_) => ModelName::MpgSam2(MpgSam2Size::Large),
            None => ModelName::Sam2(Sam2Version::V2_1, Sam2Size::Tiny),
        };
        self.model.unwrap_or(usual)
    }

    /// Refuses what no video could be tracked with.
    ///
    /// # Errors
    /// One line that says what to give instead.
    pub fn check(&self) -> Result<(), String> {
        let model = self.model();
        match (&self.text, model.kind()) {
            (Some(text), ModelKind::Referring) if text.trim().is_empty() => {
                return Err("--text is empty, expected words for the object, such as \"the dog on the left\"".into());
            }
            (Some(_), ModelKind::Referring) => return Ok(()),
            (Some(_), _) => return Err(format!("{model} takes no --text, expected mpg-sam2 or mpg-sam2-tiny")),
            (None, ModelKind::Referring) => {
                return Err(format!(
                    "{model} looks for what a sentence says: give --text, or a model for clicks, sam2.1-..."
                ));
            }
            (None, _) => {}
        }
        if let Some(option) = self.clip.map(|_| "--clip").or(self.tokenizer.as_ref().map(|_| "--tokenizer")) {
            return Err(format!("{option} goes with --text, which is not there"));
        }
        if !matches!(model, ModelName::Sam2(..)) {
            return Err(format!("{model} has no memory: expected a model that tracks, sam2-... or sam2.1-..."));
        }
        if self.points.is_empty() && self.boxes.is_empty() && self.masks.is_empty() {
            return Err(
                "there is nothing to track: give --point, --box or --mask, each with a frame and an object, or --text"
                    .into(),
            );
        }
        for (i, on) in self.boxes.iter().enumerate() {
            if self.boxes[..i].iter().any(|other| (other.frame, other.object) == (on.frame, on.object)) {
                return Err(format!("two boxes for object {} on frame {}, expected one", on.object, on.frame));
            }
        }
        for (i, on) in self.masks.iter().enumerate() {
            let at = (on.frame, on.object);
            let other = self.masks[..i].iter().any(|other| (other.frame, other.object) == at)
                || self.points.iter().any(|other| (other.frame, other.object) == at)
                || self.boxes.iter().any(|other| (other.frame, other.object) == at);
            if other {
                let (frame, object) = at;
                return Err(format!("object {object} has more than a mask on frame {frame}: a mask stands alone"));
            }
        }
        Ok(())
    }

    /// Whether `format` is asked for.
    pub fn writes(&self, format: Format) -> bool {
        // the animation is made of the overlays
        self.formats.contains(&format) || (format == Format::Overlay && self.formats.contains(&Format::Gif))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_frames_and_objects() {
        let point = parse_frame_point("3:7:1.5,2:0").unwrap();
        assert_eq!(point, On { frame: 3, object: 7, what: Point { x: 1.5, y: 2.0, positive: false } });
        assert_eq!(parse_frame_box("0:255:1,2,3,4").unwrap().what, [1., 2., 3., 4.]);
        assert_eq!(parse_frame_mask("0:1:C:/a:b.png").unwrap().what, PathBuf::from("C:/a:b.png"));
        for bad in ["1,2", "0:1,2", "0:0:1,2", "0:256:1,2", "-1:1:1,2", "0:1:1,2:3", "x:1:1,2"] {
            assert!(parse_frame_point(bad).is_err(), "{bad}");
        }
    }
}
