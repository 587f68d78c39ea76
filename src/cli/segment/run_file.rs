//! One JSON of COCO for all images of a run.

use std::path::{Path, PathBuf};

use seg_data::Rle;
use seg_data::output::{Overwrite, write_with};
use seg_data::rle::CocoRle;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::shard::Shard;
use crate::pipeline::coco::Writer;

/// The JSON of an image, as far as the run's needs it.
pub trait OfImage: DeserializeOwned {
    /// Which option has written it.
    const OPTION: &str;

    /// Its number, if it has one, its name, width and height.
    fn image(&self) -> (Option<u64>, &str, (u32, u32));

    /// Its objects: category, mask, and what else there is to say.
    fn objects(&self) -> impl Iterator<Item = (u64, &CocoRle, Value)>;
}

/// Where it is; each part of a run has one of its own.
pub fn path(folder: &Path, shard: Option<Shard>) -> PathBuf {
    folder.join(match shard {
        Some(Shard { index, count }) => format!("coco.{index}-of-{count}.json"),
        None => "coco.json".into(),
    })
}

/// The one category where no other is known.
pub fn one_category() -> Vec<(u64, String)> {
    vec![(1, "object".into())]
}

/// Puts the images' JSONs together, image by image.
///
/// # Errors
/// A JSON that cannot be read; those of writing.
pub fn write<R: OfImage>(
    path: &Path,
    records: &[PathBuf],
    categories: &[(u64, String)],
    overwrite: Overwrite,
) -> anyhow::Result<()> {
    write_with(path, overwrite, |out| {
        let mut writer = Writer::new(out)?;
        for file in records {
            let unfit = |reason: String| std::io::Error::other(format!("{}: {reason}", file.display()));
            let bytes = std::fs::read(file).map_err(|error| unfit(error.to_string()))?;
            let record: R = serde_json::from_slice(&bytes)
                .map_err(|error| unfit(format!("it is no record of {}: {error}", R::OPTION)))?;
            let (id, name, size) = record.image();
            let own = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
            // a number comes from a file of prompts, and so does the name then
            writer.image(id, if id.is_some() { name } else { &own }, size);
            for (category, rle, more) in record.objects() {
                let rle = Rle::from_coco(rle).map_err(|error| unfit(error.to_string()))?;
                writer.object(category, &rle, more)?;
            }
        }
        writer.finish(categories)
    })?;
    Ok(())
}
