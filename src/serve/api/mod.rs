//! The API: a handler a route, with the types of its bodies.

mod common;
mod embeddings;
mod everything;
mod exports;
mod images;
mod masks;
mod results;
mod scores;
mod server;
mod track;
mod video_exports;
mod videos;

pub use common::RunLengths;

use axum::http::Method;

use super::route::{Route, route};

const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";
const ZIP: &str = "application/zip";

/// All routes.
pub fn routes() -> Vec<Route> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let mut routes = vec![
        route(get.clone(), "/v1/info", "Version, limits, samples, and whether a token is wanted", server::info),
        route(get.clone(), "/v1/models", "The models, and what each can do", server::models),
        route(post.clone(), "/v1/images", "An image in, its id out", images::create).creates(),
        route(get.clone(), "/v1/images/{id}", "What is known of an image", images::get),
        route(delete.clone(), "/v1/images/{id}", "Forgets an image", images::delete),
        route(post.clone(), "/v1/videos", "A video, an animation or frames in, an id out", videos::create).creates(),
        route(get.clone(), "/v1/videos/{id}", "What is known of a video", videos::get),
        route(delete, "/v1/videos/{id}", "Forgets a video", videos::delete),
        route(
            post.clone(),
            "/v1/videos/{id}/propagate",
            "Prompts in, the objects of every frame out",
            track::propagate,
        )
        .event::<track::Told>("frame")
        .progress::<track::Tracked>(),
        route(
            post.clone(),
            "/v1/videos/{id}/describe",
            "A sentence in, the object of every frame out",
            track::describe,
        )
        .event::<track::Told>("frame")
        .progress::<track::Tracked>(),
        route(post, "/v1/videos/{id}/exports", "Masks of a video as a file", video_exports::export)
            .file(ZIP)
            .file("image/gif"),
    ];
    routes.extend(of_pictures(Paths::IMAGE));
    routes.extend(of_pictures(Paths::FRAME));
    routes
}

/// Where the routes of a picture are.
struct Paths {
    pixels: &'static str,
    embeddings: &'static str,
    masks: &'static str,
    result: &'static str,
    everything: &'static str,
    truths: &'static str,
    scores: &'static str,
    exports: &'static str,
}

macro_rules! paths {
    ($base:literal) => {
        Paths {
            pixels: concat!($base, "/pixels"),
            embeddings: concat!($base, "/embeddings"),
            masks: concat!($base, "/masks"),
            result: concat!($base, "/results/{result}"),
            everything: concat!($base, "/everything"),
            truths: concat!($base, "/truths"),
            scores: concat!($base, "/scores"),
            exports: concat!($base, "/exports"),
        }
    };
}

impl Paths {
    const IMAGE: Self = paths!("/v1/images/{id}");
    const FRAME: Self = paths!("/v1/videos/{id}/frames/{n}");
}

fn of_pictures(at: Paths) -> [Route; 8] {
    let (get, post) = (Method::GET, Method::POST);
    [
        route(get.clone(), at.pixels, "Pixels, upright and in sRGB: whole, reduced, or a part", images::pixels)
            .file(PNG)
            .file(JPEG),
        route(post.clone(), at.embeddings, "Has a model look at the picture beforehand", embeddings::embed)
            .progress::<embeddings::Embedded>(),
        route(post.clone(), at.masks, "Prompts in, masks out", masks::masks).file(PNG),
        route(get, at.result, "A mask as PNG", results::png).file(PNG),
        route(post.clone(), at.everything, "All masks of the picture", everything::everything)
            .progress::<everything::Everything>(),
        route(post.clone(), at.truths, "A true mask to measure against", scores::truth),
        route(post.clone(), at.scores, "A mask against a truth", scores::scores),
        route(post, at.exports, "Masks as a file", exports::export).file(PNG).file("application/json"),
    ]
}
