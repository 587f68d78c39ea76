//! What is written of a tracked video.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seg_data::output::{Overwrite, create_folder, write, write_png, write_with};
use seg_data::{DecodeLimits, RgbImage, labels, load_image, render};
use seg_models::sam2::video::FrameMasks;

use super::args::{Format, TrackArgs};
use crate::pipeline::frames::{self, FrameRecord, ObjectRecord};

/// Names of a video's results.
#[derive(Clone, Debug)]
pub struct Outputs {
    folder: PathBuf,
    stem: OsString,
    formats: Vec<Format>,
}

impl Outputs {
    /// Of the video `input`, as the options say.
    pub fn new(args: &TrackArgs) -> Self {
        let input = args.input.canonicalize().unwrap_or_else(|_| args.input.clone());
        let stem = match input.is_dir() {
            true => input.file_name().map(OsStr::to_owned), // `bear.old/` keeps its ending
            false => input.file_stem().map(OsStr::to_owned),
        };
        let all = [Format::Labels, Format::Overlay, Format::Rle, Format::Gif];
        Self {
            folder: args.output.clone(),
            stem: stem.unwrap_or_else(|| "video".into()),
            formats: all.into_iter().filter(|format| args.writes(*format)).collect(),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(ending);
        self.folder.join(name)
    }

    fn of_frame(&self, format: Format, name: &OsStr) -> Option<PathBuf> {
        let (folder, ending) = match format {
            Format::Labels => ("", ".png"),
            Format::Overlay => (".overlay", ".png"),
            Format::Rle => (".rle", ".json"),
            Format::Gif => return None,
        };
        let mut file = name.to_owned();
        file.push(ending);
        Some(self.beside(folder).join(file))
    }

    /// The files of a frame, in the order in which they are written.
    pub fn files(&self, name: &OsStr) -> Vec<PathBuf> {
        self.formats.iter().filter_map(|format| self.of_frame(*format, name)).collect()
    }

    /// What is remembered, for `--resume`.
    pub fn state(&self) -> PathBuf {
        self.beside(".state.safetensors")
    }

    /// The animation, if it is asked for.
    pub fn gif(&self) -> Option<PathBuf> {
        self.formats.contains(&Format::Gif).then(|| self.beside(".gif"))
    }

    /// Makes the folders.
    pub fn create_folders(&self) -> anyhow::Result<()> {
        create_folder(&self.folder)?;
        for file in self.files(OsStr::new("frame")) {
            if let Some(folder) = file.parent() {
                create_folder(folder)?;
            }
        }
        Ok(())
    }

    /// Writes a frame's files.
    pub fn write(
        &self,
        name: &OsStr,
        image: &RgbImage,
        masks: &FrameMasks,
        drawn: &render::Prompts,
        record: &FrameRecord,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let apart = masks.without_overlap()?;
        for format in &self.formats {
            let Some(path) = self.of_frame(*format, name) else { continue };
            match format {
                Format::Labels => {
                    write(&path, &labels::png(&frames::label_map(&apart, masks.size))?, Overwrite::Replace)?;
                }
                Format::Overlay => write_png(&path, &frames::overlay(image, &apart, drawn)?, Overwrite::Replace)?,
                Format::Rle => {
                    write(&path, serde_json::to_string_pretty(record)?.as_bytes(), Overwrite::Replace)?;
                }
                Format::Gif => continue,
            }
            written.push(path);
        }
        Ok(written)
    }

    /// Puts the overlays of the frames `names` together; those that are not there are left out.
    pub fn write_gif(&self, path: &Path, names: &[OsString], fps: f32, limits: &DecodeLimits) -> anyhow::Result<()> {
        let overlays =
            names.iter().filter_map(|name| self.of_frame(Format::Overlay, name)).filter(|path| path.exists());
        let pictures = overlays.map(|file| Ok(load_image(&file, limits)?.image));
        write_with(path, Overwrite::Replace, |out| frames::write_gif(out, pictures, fps))
            .context("cannot write the animation")
    }
}

/// One line for a person.
pub fn line(record: &FrameRecord, written: &[PathBuf]) -> String {
    let pixels = f64::from(record.width) * f64::from(record.height);
    let object = |o: &ObjectRecord| match o.area {
        0 => format!("object {} not seen", o.object),
        area => format!("object {} {:.1} %", o.object, 100.0 * area as f64 / pixels),
    };
    let objects: Vec<String> = record.objects.iter().map(object).collect();
    let shown = written.first().map_or(String::new(), |path| format!("  ->  {}", path.display()));
    format!("{}: {}{shown}", record.name, objects.join(", "))
}
