//! Videos in.

use image::ImageFormat;
use schemars::JsonSchema;
use seg_data::Frames;
use serde::Serialize;

use super::images::HowRead;
use crate::serve::input::{Film, NoBody};
use crate::serve::item::{Item, Video, What};
use crate::serve::problem::{Problem, Result};
use crate::serve::route::{Answer, Ctx};

/// What is known of a video.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VideoRecord {
    pub id: String,
    /// Of the first frame, in pixels.
    pub width: u32,
    pub height: u32,
    /// How many there are, counted from 0.
    pub frames: usize,
    /// Frames a second, where the file says so.
    pub fps: Option<f64>,
    pub notes: Vec<String>,
    /// Seconds that it stays after it was last used.
    pub expires_in: u64,
}

impl VideoRecord {
    fn new(item: &Item, video: &Video, expires_in: u64) -> Self {
        let Video { frames, size: (width, height), fps, .. } = video;
        let damage = frames.damage().map(|damage| {
            let text = damage.to_string();
            let told = text.split_once(": ").map_or(text.as_str(), |(_, told)| told);
            format!("only the first {} frames can be read: {told}", frames.len())
        });
        let notes = frames.notes().iter().cloned().chain(damage).collect();
        let (width, height) = (*width, *height);
        Self { id: item.id.clone(), width, height, frames: frames.len(), fps: *fps, notes, expires_in }
    }
}

pub async fn create(ctx: Ctx<HowRead>, film: Film) -> Result<Answer<VideoRecord>> {
    let (limits, most, colours) = (ctx.app.options.decode.clone(), ctx.app.options.max_frames, ctx.query.colours());
    let video = ctx.aside(move || {
        let path = match film.frames {
            Some(_) => film.folder.path().to_owned(),
            None => film.folder.path().join(Film::FILE),
        };
        let fps = if film.frames.is_none() { rate(&path) } else { None };
        let name = path.display().to_string();
        let frames = Frames::open_up_to(&path, &limits, None, most).map_err(|error| Problem::of_file(&error, &name))?;
        let first = frames.photo(0).map_err(|error| Problem::of_frame(&error))?;
        let size = first.dimensions();
        // frames that were sent are read from where they lie
        let folder = film.frames.map(|_| film.folder);
        Ok(Video { frames, colours, size, fps, _folder: folder })
    });
    let item = ctx.app.store.insert(Item::new(What::Video(Box::new(video.await?))));
    let video = item.video()?;
    let record = VideoRecord::new(&item, video, ctx.app.store.expires_in());
    Ok(Answer::Created(format!("/v1/videos/{}", item.id), record))
}

pub async fn get(ctx: Ctx, _: NoBody) -> Result<Answer<VideoRecord>> {
    let item = ctx.item(true)?;
    let video = item.video()?;
    Ok(Answer::Json(VideoRecord::new(&item, video, ctx.app.store.expires_in())))
}

pub async fn delete(ctx: Ctx, _: NoBody) -> Result<Answer<()>> {
    let item = ctx.item(true)?;
    ctx.app.store.remove(&item.id);
    Ok(Answer::Nothing)
}

/// Frames a second of a GIF, by its first delay; none of what does not say so at its beginning.
fn rate(path: &std::path::Path) -> Option<f64> {
    use std::io::Read as _;
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    if image::guess_format(&head).ok()? != ImageFormat::Gif {
        return None;
    }
    // a graphic control extension: its delay is in hundredths of a second
    let at = head.windows(3).position(|three| three == [0x21, 0xf9, 4])?;
    let delay = u16::from_le_bytes([*head.get(at + 4)?, *head.get(at + 5)?]);
    (delay > 0).then(|| 100.0 / f64::from(delay))
}
