//! What the server says when something is wrong: `application/problem+json` (RFC 9457), with a `code` to branch on.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use seg_data::DataError;
use serde::Serialize;

use super::ids;
use crate::pipeline;

/// Media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What is wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Not the JSON or query that is expected; `field` names where.
    InvalidRequest,
    /// The token is missing or wrong.
    Unauthorized,
    /// A page of another origin asked.
    ForeignOrigin,
    /// An id that is not there (any more).
    UnknownId,
    /// No such route.
    UnknownRoute,
    /// A model that is not served, or could not be loaded.
    UnknownModel,
    /// The route takes other methods.
    Method,
    /// The body came too slowly.
    TooSlow,
    /// A preview that a newer one replaced.
    Superseded,
    /// A model that is still being loaded.
    Loading,
    /// A body over a limit.
    TooLarge,
    /// An image over a limit.
    TooManyPixels,
    /// A video over a limit.
    TooManyFrames,
    /// More memory than there is for it.
    TooMuchMemory,
    /// Neither JSON nor a file where one is expected.
    UnsupportedType,
    /// The `Host` is no name of this server.
    UnknownHost,
    /// A file that cannot be read.
    Unreadable,
    /// A prompt that the model cannot take.
    InvalidPrompt,
    /// A video file, and no program to read it with.
    NoFfmpeg,
    /// A fault of ours.
    Internal,
    /// The queue is full.
    Busy,
    /// The server is going down.
    Stopping,
    /// It took longer than the time limit.
    TimeLimit,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 23] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::ForeignOrigin,
        Self::UnknownId,
        Self::UnknownRoute,
        Self::UnknownModel,
        Self::Method,
        Self::TooSlow,
        Self::Superseded,
        Self::Loading,
        Self::TooLarge,
        Self::TooManyPixels,
        Self::TooManyFrames,
        Self::TooMuchMemory,
        Self::UnsupportedType,
        Self::UnknownHost,
        Self::Unreadable,
        Self::InvalidPrompt,
        Self::NoFfmpeg,
        Self::Internal,
        Self::Busy,
        Self::Stopping,
        Self::TimeLimit,
    ];

    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (400, "invalid-request", "the request is not as expected"),
            Self::Unauthorized => (401, "unauthorized", "a token is needed"),
            Self::ForeignOrigin => (403, "foreign-origin", "another page asked"),
            Self::UnknownId => (404, "unknown-id", "it is not there"),
            Self::UnknownRoute => (404, "unknown-route", "there is no such route"),
            Self::UnknownModel => (404, "unknown-model", "the model is not served"),
            Self::Method => (405, "method", "the route takes another method"),
            Self::TooSlow => (408, "too-slow", "the body comes too slowly"),
            Self::Superseded => (409, "superseded", "a newer preview took its place"),
            Self::Loading => (409, "loading", "the model is being loaded"),
            Self::TooLarge => (413, "too-large", "the body is too large"),
            Self::TooManyPixels => (413, "too-many-pixels", "the image is too large"),
            Self::TooManyFrames => (413, "too-many-frames", "the video is too long"),
            Self::TooMuchMemory => (413, "too-much-memory", "it needs too much memory"),
            Self::UnsupportedType => (415, "unsupported-type", "the body's type is not expected here"),
            Self::UnknownHost => (421, "unknown-host", "this server has no such name"),
            Self::Unreadable => (422, "unreadable", "the file cannot be read"),
            Self::InvalidPrompt => (422, "invalid-prompt", "the model cannot take the prompt"),
            Self::NoFfmpeg => (422, "no-ffmpeg", "there is no program to read the video with"),
            Self::Internal => (500, "internal", "a fault of the server"),
            Self::Busy => (503, "busy", "the server is busy"),
            Self::Stopping => (503, "stopping", "the server is going down"),
            Self::TimeLimit => (504, "time-limit", "it took too long"),
        }
    }

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.parts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A problem on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    /// Where in the request.
    pub field: Option<String>,
    /// What the server's log calls it.
    pub incident: Option<String>,
    /// Seconds.
    pub retry_after: Option<u64>,
}

/// A problem as it is sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProblemBody {
    /// `urn:hrseg:problem:` and the code.
    pub r#type: String,
    /// What the code means.
    pub title: &'static str,
    /// The HTTP status, once more.
    pub status: u16,
    /// What to branch on.
    pub code: Code,
    /// A sentence for people.
    pub detail: String,
    /// Where in the request it is, such as `points[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the server's log calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, incident: None, retry_after: None }
    }

    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// An id that is not there.
    pub fn unknown_id(what: &str) -> Self {
        Self::new(Code::UnknownId, format!("there is no such {what} (any more)"))
    }

    /// A fault of ours: what happened goes into the log, the client gets the name of that entry.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        let incident = ids::short();
        tracing::error!("incident {incident}: {what}");
        let detail = format!("a fault of the server: incident {incident} in its log");
        Self { incident: Some(incident), ..Self::new(Code::Internal, detail) }
    }

    /// The same of a panic.
    pub fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        Self::internal(format_args!("panic: {text}"))
    }

    pub fn body(&self) -> ProblemBody {
        let (status, code, title) = self.code.parts();
        ProblemBody {
            r#type: format!("urn:hrseg:problem:{code}"),
            title,
            status,
            code: self.code,
            detail: self.detail.clone(),
            field: self.field.clone(),
            incident: self.incident.clone(),
        }
    }

    /// What is wrong with an upload called `name` in the error's text.
    pub fn of_file(error: &DataError, name: &str) -> Self {
        let text = error.to_string();
        let text = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
        // no path of this machine goes out
        let text = if name.is_empty() { text.to_owned() } else { text.replace(name, "the upload") };
        let code = match error {
            DataError::TooLarge { what, .. } if what.contains("frames") => Code::TooManyFrames,
            DataError::TooLarge { what, .. } if what.contains("pixels") => Code::TooManyPixels,
            DataError::TooLarge { what, .. } if what.contains("memory") => Code::TooMuchMemory,
            DataError::TooLarge { .. } => Code::TooLarge,
            DataError::NoFfmpeg { .. } => Code::NoFfmpeg,
            DataError::Io { .. } | DataError::DiskFull { .. } | DataError::Encode { .. } | DataError::Tensor(_) => {
                return Self::internal(error);
            }
            _ => Code::Unreadable,
        };
        Self::new(code, text)
    }
}

impl Problem {
    /// What is wrong with a frame, whose file's name is ours.
    pub fn of_frame(error: &DataError) -> Self {
        let text = error.to_string();
        let name = text.split_once(": ").map_or("", |(name, _)| name);
        Self::of_file(error, name)
    }
}

impl From<seg_models::Error> for Problem {
    fn from(error: seg_models::Error) -> Self {
        use seg_models::Error as E;
        match &error {
            E::Tensor(_) | E::Checkpoint(_) | E::OtherEmbedding { .. } | E::LowResMaskShape { .. } => {
                Self::internal(&error)
            }
            E::Data(DataError::NothingInside { .. } | DataError::Rle { .. } | DataError::Size { .. }) => {
                Self::new(Code::InvalidPrompt, error.to_string())
            }
            E::Data(data) => Self::of_file(data, "the upload"),
            _ => Self::new(Code::InvalidPrompt, error.to_string()),
        }
    }
}

impl From<pipeline::Error> for Problem {
    fn from(error: pipeline::Error) -> Self {
        use pipeline::Error as E;
        match error {
            E::Model(error) => error.into(),
            E::Data(error) => Self::of_file(&error, "the upload"),
            other => Self::internal(other),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.code.status(), [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_json() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn no_name_of_a_file_goes_out() {
        let error = DataError::EmptyFile { name: "/tmp/x1/upload".into() };
        let problem = Problem::of_file(&error, "/tmp/x1/upload");
        assert_eq!(problem.code, Code::Unreadable);
        assert_eq!(problem.detail, "the file is empty (0 bytes); expected an image");
    }
}
