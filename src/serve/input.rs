//! What comes in a body: JSON, a file, nothing.

use std::future::Future;
use std::io::{self, Write};

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::App;
use super::body::{self, Bounds, Metered, Why};
use super::problem::{Code, Problem, Result};

/// Largest body of JSON, in bytes: masks of all frames of a video are the largest.
const MOST_JSON: u64 = 256 << 20;

/// A kind of body.
pub trait Input: Sized + Send + 'static {
    /// Reads it.
    fn read(app: &App, request: Request) -> impl Future<Output = Result<Self>> + Send;

    /// Its media types, with what is in them.
    fn describe(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)>;
}

/// No body, or one that is not looked at.
pub struct NoBody;

impl Input for NoBody {
    async fn read(_: &App, _: Request) -> Result<Self> {
        Ok(Self)
    }

    fn describe(_: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        Vec::new()
    }
}

/// JSON.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Input for Json<T> {
    async fn read(app: &App, request: Request) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let kind = media_type(&parts.headers);
        let json = kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json");
        if !json && !kind.is_empty() {
            let detail = format!("the body is {kind}, expected application/json");
            return Err(Problem::new(Code::UnsupportedType, detail));
        }
        let bounds = Bounds { most: MOST_JSON, option: "no option", patience: app.options.patience };
        let bytes = body::read(body, length(&parts.headers), bounds, app.figures.clone()).await?;
        // nothing is an object without fields
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if !json && !bytes.is_empty() {
            return Err(Problem::new(Code::UnsupportedType, "the body has no type, expected application/json"));
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let problem = Problem::new(Code::InvalidRequest, error.into_inner().to_string());
            if path == "." { problem } else { problem.at(path) }
        })?;
        reader.end().map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))?;
        Ok(Self(value))
    }

    fn describe(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        vec![("application/json", generator.subschema_for::<T>())]
    }
}

/// One file: the body itself, or the one part of a form.
pub struct Upload(pub Vec<u8>);

impl Input for Upload {
    async fn read(app: &App, request: Request) -> Result<Self> {
        let bounds = Bounds { most: app.options.max_body, option: "--max-body", patience: app.options.patience };
        let announced = length(request.headers());
        app.expect(announced, bounds.most)?;
        // what is on its way counts, too: uploads together take no more than the largest one may, or a little less than the cache
        let _room = app.upload_room(announced.unwrap_or(bounds.most).min(bounds.most)).await?;
        let kind = media_type(request.headers());
        if !kind.starts_with("multipart/") {
            refuse_text(&kind)?;
            return body::read(request.into_body(), announced, bounds, app.figures.clone()).await.map(Self);
        }
        let mut form = Form::new(app, request, bounds).await?;
        let mut bytes = Vec::new();
        let found = form.each(|_, name, piece| {
            if name == "image" {
                bytes.extend_from_slice(piece);
            }
            Ok(())
        });
        match found.await?.iter().filter(|name| *name == "image").count() {
            1 => Ok(Self(bytes)),
            n => {
                let detail = format!("the form has {n} parts called `image`, expected one");
                Err(Problem::new(Code::InvalidRequest, detail))
            }
        }
    }

    fn describe(_: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        let form = json_schema!({"type": "object", "required": ["image"],
            "properties": {"image": {"type": "string", "contentMediaType": "application/octet-stream"}}});
        vec![("application/octet-stream", binary()), ("image/*", binary()), ("multipart/form-data", form)]
    }
}

/// A video's file, or its frames, in a folder of ours under names of ours.
pub struct Film {
    /// Deleted with this.
    pub folder: TempDir,
    /// Frames as files of the folder, or one file `film`.
    pub frames: Option<usize>,
}

impl Film {
    /// The name of the file that is no frame.
    pub const FILE: &'static str = "film";
}

impl Input for Film {
    async fn read(app: &App, request: Request) -> Result<Self> {
        let bounds = Bounds { most: app.options.max_video, option: "--max-video", patience: app.options.patience };
        let announced = length(request.headers());
        app.expect(announced, bounds.most)?;
        let folder = TempDir::with_prefix("hrseg-").map_err(Problem::internal)?;
        let kind = media_type(request.headers());
        if !kind.starts_with("multipart/") {
            refuse_text(&kind)?;
            let mut file = std::fs::File::create(folder.path().join(Self::FILE)).map_err(Problem::internal)?;
            let (mut metered, why) = Metered::new(request.into_body(), bounds, app.figures.clone());
            while let Some(piece) = metered.piece().await {
                let piece = piece.map_err(|_| why.problem())?;
                file.write_all(&piece).map_err(disk)?;
            }
            return Ok(Self { folder, frames: None });
        }
        let mut form = Form::new(app, request, bounds).await?;
        let most = app.options.max_frames;
        let mut open: Option<(usize, std::fs::File)> = None;
        let path = folder.path().to_owned();
        let names = form.each(move |part, name, piece| {
            if name != "frame" {
                return Ok(());
            }
            if part >= most {
                let detail = format!("the video has more than {most} frames (--max-frames)");
                return Err(Problem::new(Code::TooManyFrames, detail));
            }
            let file = match &mut open {
                Some((of, file)) if *of == part => file,
                other => {
                    // what it is its bytes tell
                    let name = format!("{part:05}.png");
                    let file = std::fs::File::create(path.join(name)).map_err(disk)?;
                    &mut other.insert((part, file)).1
                }
            };
            file.write_all(piece).map_err(disk)
        });
        let names = names.await?;
        let frames = names.iter().filter(|name| *name == "frame").count();
        if frames == 0 || frames < names.len() {
            let detail = format!(
                "the form has {} parts, of which {frames} are called `frame`; expected frames alone",
                names.len()
            );
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        Ok(Self { folder, frames: Some(frames) })
    }

    fn describe(_: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        let form = json_schema!({"type": "object", "required": ["frame"], "properties": {"frame": {"type": "array",
            "items": {"type": "string", "contentMediaType": "application/octet-stream"}}}});
        vec![("application/octet-stream", binary()), ("video/*", binary()), ("multipart/form-data", form)]
    }
}

fn binary() -> Schema {
    json_schema!({"type": "string", "contentMediaType": "application/octet-stream"})
}

/// A form whose parts are read piece by piece.
struct Form {
    parts: Multipart,
    why: Why,
}

impl Form {
    async fn new(app: &App, request: Request, bounds: Bounds) -> Result<Self> {
        let (head, body) = request.into_parts();
        let (metered, why) = Metered::new(body, bounds, app.figures.clone());
        let request = Request::from_parts(head, Body::from_stream(metered));
        let parts = Multipart::from_request(request, app).await;
        let parts = parts.map_err(|error| Problem::new(Code::InvalidRequest, error.body_text()))?;
        Ok(Self { parts, why })
    }

    /// Hands the pieces of each part over, with its number and name: the names of all. File names are not looked at.
    async fn each(&mut self, mut take: impl FnMut(usize, &str, &[u8]) -> Result<()> + Send) -> Result<Vec<String>> {
        /// Names are short; more than these are of no use to anybody.
        const MOST_PARTS: usize = 100_000;
        let mut names = Vec::new();
        loop {
            let part = self.parts.next_field().await;
            let part = part.map_err(|error| broken(&self.why, &error.body_text()))?;
            let Some(mut part) = part else { return Ok(names) };
            let name: String = part.name().unwrap_or_default().chars().take(20).collect();
            take(names.len(), &name, &[])?;
            loop {
                let piece = part.chunk().await;
                let piece = piece.map_err(|error| broken(&self.why, &error.body_text()))?;
                let Some(piece) = piece else { break };
                take(names.len(), &name, &piece)?;
            }
            if names.len() == MOST_PARTS {
                let detail = format!("the form has more than {MOST_PARTS} parts");
                return Err(Problem::new(Code::TooLarge, detail));
            }
            names.push(name);
        }
    }
}

/// What stopped the reading of a form: a bound, or the form itself.
fn broken(why: &Why, text: &str) -> Problem {
    let problem = why.problem();
    match problem.code {
        Code::InvalidRequest => Problem::new(Code::InvalidRequest, format!("the form cannot be read: {text}")),
        _ => problem,
    }
}

fn disk(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Problem::new(Code::TooLarge, "there is no room left on the server's disk for temporary files")
        }
        _ => Problem::internal(error),
    }
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// JSON and forms of text where a file is expected were sent to the wrong place.
fn refuse_text(kind: &str) -> Result<()> {
    let text = kind == "application/json" || kind == "application/x-www-form-urlencoded" || kind.starts_with("text/");
    match text && kind != "text/plain" {
        true => {
            let detail = format!("the body is {kind}, expected the file itself (application/octet-stream)");
            Err(Problem::new(Code::UnsupportedType, detail))
        }
        false => Ok(()),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
