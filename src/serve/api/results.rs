//! Masks by their names.

use std::sync::Arc;

use axum::http::header;
use png::{BitDepth, ColorType, Compression, Encoder};
use seg_data::{GrayImage, Rle};

use super::common::{Seen, Wish, embedding, picture_of};
use super::masks::prompts;
use crate::pipeline::Mask;
use crate::serve::App;
use crate::serve::events::Teller;
use crate::serve::input::NoBody;
use crate::serve::item::{Kept, Recipe};
use crate::serve::models::Job;
use crate::serve::problem::{Problem, Result};
use crate::serve::queue::Class;
use crate::serve::route::{Answer, Ctx, File};

/// Remembers a mask of a picture: its name.
pub fn keep(app: &App, seen: &Seen, mask: &Mask, recipe: &Recipe) -> String {
    let recipe = mask.soft.then(|| recipe.clone());
    let (id, bytes) = seen.item.keep(seen.frame, mask.rle.clone(), recipe);
    app.store.grow(&seen.item.id, bytes);
    if mask.soft {
        app.store.put_levels(&seen.item.id, &id, Arc::new(mask.levels.clone()));
    }
    id
}

pub async fn png(ctx: Ctx, _: NoBody) -> Result<Answer<()>> {
    let seen = ctx.picture().await?;
    let file = file(&ctx, &seen, ctx.param("result")).await?;
    let keep = format!("private, max-age={}, immutable", ctx.app.store.expires_in());
    Ok(Answer::File(file.header(header::CACHE_CONTROL, &keep)))
}

/// A result as PNG: 8 bits of soft ones, 1 bit of others.
pub async fn file<Q>(ctx: &Ctx<Q>, seen: &Seen, result: &str) -> Result<File> {
    let kept = seen.item.kept(seen.frame, result).ok_or_else(|| Problem::unknown_id("result"))?;
    let bytes = match &kept.soft {
        Some(_) => {
            let levels = levels(ctx, seen, &kept).await?;
            ctx.aside(move || seg_data::output::png(levels.as_ref()).map_err(Problem::internal)).await?
        }
        None => ctx.aside(move || one_bit(&kept.rle)).await?,
    };
    Ok(File::new(super::PNG, bytes))
}

/// How much each pixel is inside, 0 to 255; computed again where the cache has it no more.
pub async fn levels<Q>(ctx: &Ctx<Q>, seen: &Seen, kept: &Arc<Kept>) -> Result<Arc<GrayImage>> {
    let Some(recipe) = &kept.soft else {
        let kept = Arc::clone(kept);
        return ctx.aside(move || Ok(Arc::new(picture_of(&kept.rle)))).await;
    };
    if let Some(levels) = ctx.app.store.levels(&seen.item.id, &kept.id) {
        return Ok(levels);
    }
    let (_, loaded) = ctx.app.models.get(Some(recipe.model.as_str()), Job::Click)?;
    let pipeline = loaded.pipeline.clone().ok_or_else(|| Problem::unknown_id("result"))?;
    let wish = pipeline.encoder().map(|(encoder, _)| Wish::new(&ctx.app, &seen.picture, encoder));
    let (of, recipe, id, app) = (seen.clone(), recipe.clone(), kept.id.clone(), Arc::clone(&ctx.app));
    ctx.compute(Class::Click, move |turn| {
        let photo = &of.picture.photo;
        let prompts = prompts(&recipe, photo.seen())?;
        let wish = wish.as_ref().filter(|_| pipeline.needs_embedding(&prompts));
        let embedding = wish.map(|wish| embedding(wish, turn, &pipeline, photo, &Teller::silent())).transpose()?;
        let embedding = embedding.as_ref().map(|(embedding, ..)| embedding.as_ref());
        // what is soft has no clean-up
        let segmented = pipeline.segment_embedded(photo.seen(), embedding, &prompts, &())?;
        let levels = Arc::new(segmented.best()?.levels.clone());
        app.store.put_levels(&of.item.id, &id, Arc::clone(&levels));
        Ok(levels)
    })
    .await
}

/// A mask as a grey PNG of 1 bit, white inside.
pub fn one_bit(rle: &Rle) -> Result<Vec<u8>> {
    let (width, height) = rle.dimensions();
    let row = width.div_ceil(8) as usize;
    let mut bits = vec![0u8; row * height as usize];
    for (line, bits) in rle.decode().chunks_exact(width as usize).zip(bits.chunks_exact_mut(row)) {
        for (eight, byte) in line.chunks(8).zip(bits) {
            *byte = eight.iter().enumerate().fold(0, |byte, (i, inside)| byte | inside << (7 - i));
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().map_err(Problem::internal)?;
    writer.write_image_data(&bits).map_err(Problem::internal)?;
    writer.finish().map_err(Problem::internal)?;
    Ok(bytes)
}
