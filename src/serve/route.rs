//! Routes as one table: what is registered with the router is what is described in the API's document, of the same types.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use axum::extract::{FromRequestParts as _, Query, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::App;
use super::events::{self, Events, Line, Queued, Stage, Teller, time_limit};
use super::input::Input;
use super::problem::{Code, Problem, Result};
use super::queue::{Class, Turn};

/// What a handler knows of a request beside its body.
pub struct Ctx<Q = NoQuery> {
    pub app: App,
    pub params: HashMap<String, String>,
    pub query: Q,
    accept: Accept,
}

/// A route without a query.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
pub struct NoQuery {}

/// In what form the client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accept {
    Json,
    Png,
    Events,
}

impl Accept {
    /// By the first type that is named and known.
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let known = text.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Some(Self::Events),
            "image/png" => Some(Self::Png),
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        });
        known.unwrap_or(Self::Json)
    }
}

/// What a handler answers.
pub enum Answer<T> {
    Json(T),
    /// With where it is from now on.
    Created(String, T),
    Events(Events<T>),
    File(File),
    Nothing,
}

/// Bytes of a media type.
pub struct File {
    pub media: &'static str,
    pub bytes: Vec<u8>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl File {
    pub fn new(media: &'static str, bytes: Vec<u8>) -> Self {
        Self { media, bytes, headers: Vec::new() }
    }

    /// To be saved under this name, not shown.
    pub fn attached(mut self, name: &'static str) -> Self {
        let value = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
        self.headers.extend(value.map(|value| (header::CONTENT_DISPOSITION, value)));
        self
    }

    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }
}

impl<Q> Ctx<Q> {
    /// A part of the path.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// Whether a picture is wanted in place of JSON.
    pub fn wants_png(&self) -> bool {
        self.accept == Accept::Png
    }

    /// Whether the client listens to events.
    pub fn wants_events(&self) -> bool {
        self.accept == Accept::Events
    }

    /// Has `work` done, in its turn: its result, within the time limit.
    ///
    /// # Errors
    /// Those of the queue and of the work.
    pub async fn compute<T: Send + 'static>(
        &self,
        class: Class,
        work: impl FnOnce(&Turn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let limit = (class != Class::Long).then_some(self.app.options.time_limit);
        let (mut place, result) = self.app.queue.enter(class, work)?;
        let result = within(limit, result).await?;
        place.finish();
        result.unwrap_or_else(|_| Err(Problem::internal("work without a result")))
    }

    /// The same, told as it goes on where the client listens.
    ///
    /// # Errors
    /// Those of the queue, and of the work where the client waits for its result alone.
    pub async fn told<T: Send + 'static>(
        &self,
        class: Class,
        work: impl FnOnce(&Turn, &Teller) -> Result<T> + Send + 'static,
    ) -> Result<Answer<T>> {
        if self.accept != Accept::Events {
            let teller = Teller::silent();
            return Ok(Answer::Json(self.compute(class, move |turn| work(turn, &teller)).await?));
        }
        let (teller, line) = Line::new();
        let limit = (class != Class::Long).then_some(self.app.options.time_limit);
        let (place, result) = self.app.queue.enter(class, move |turn| work(turn, &teller))?;
        Ok(Answer::Events(line.events(place, result, limit)))
    }

    /// Does `work` that needs no model, beside the queue; only few at a time.
    ///
    /// # Errors
    /// Those of the work, and when there is no room for it in time.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let limit = Some(self.app.options.time_limit);
        let permit = within(limit, self.app.aside.clone().acquire_owned()).await?.map_err(Problem::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // even when the client goes away the work counts until it is done
            let _permit = permit;
            work()
        });
        match within(limit, done).await? {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => {
                    self.app.figures.panicked();
                    Err(Problem::panicked(payload.as_ref()))
                }
                Err(error) => Err(Problem::internal(error)),
            },
        }
    }
}

async fn within<F: Future>(limit: Option<Duration>, work: F) -> Result<F::Output> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| time_limit()),
        None => Ok(work.await),
    }
}

/// One method of one path.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub doc: Doc,
    service: MethodRouter<App>,
}

/// Makes a schema when the document is made.
pub type Describe = Box<dyn Fn(&mut SchemaGenerator) -> Schema>;
/// The same of a body, by content type.
pub type DescribeBody = Box<dyn Fn(&mut SchemaGenerator) -> Vec<(&'static str, Schema)>>;

/// What the document says of it.
pub struct Doc {
    pub summary: &'static str,
    pub query: Describe,
    pub body: DescribeBody,
    pub status: StatusCode,
    /// None without JSON.
    pub json: Option<Describe>,
    pub events: Vec<(&'static str, Describe)>,
    pub files: Vec<&'static str>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A route whose `handler` takes the query `Q` and the body `I`, and answers with `T`.
pub fn route<Q, I, T, F, R>(method: Method, path: &'static str, summary: &'static str, handler: F) -> Route
where
    Q: DeserializeOwned + JsonSchema + Send + 'static,
    I: Input,
    T: Serialize + JsonSchema + Send + 'static,
    F: Fn(Ctx<Q>, I) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Answer<T>>> + Send + 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    let service = on(filter, move |State(app): State<App>, request: Request| {
        let handler = handler.clone();
        async move {
            let answer = async {
                let (ctx, request) = context::<Q>(app, request).await?;
                let input = I::read(&ctx.app, request).await?;
                handler(ctx, input).await
            };
            answer.await.map_or_else(Problem::into_response, respond)
        }
    });
    let nothing = std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>();
    let doc = Doc {
        summary,
        query: Box::new(|generator| Q::json_schema(generator)),
        body: Box::new(I::describe),
        status: if nothing && method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK },
        json: (!nothing).then(|| Box::new(schema::<T>) as _),
        events: Vec::new(),
        files: Vec::new(),
    };
    Route { method, path, doc, service }
}

async fn context<Q: DeserializeOwned>(app: App, request: Request) -> Result<(Ctx<Q>, Request)> {
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &app).await;
    let params = params.map_err(|error| Problem::new(Code::InvalidRequest, error.body_text()))?;
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let query = Query::<Q>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|error| Problem::new(Code::InvalidRequest, error.body_text()).at("query"))?;
    let accept = Accept::of(&parts.headers);
    Ok((Ctx { app, params, query, accept }, Request::from_parts(parts, body)))
}

fn respond<T: Serialize + Send + 'static>(answer: Answer<T>) -> Response {
    let json = |value: &T| match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::internal(error).into_response(),
    };
    match answer {
        Answer::Json(value) => json(&value),
        Answer::Created(location, value) => {
            let mut response = json(&value);
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::CREATED;
            }
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Answer::Events(stream) => events::respond(stream),
        Answer::File(File { media, bytes, headers }) => {
            let mut response = ([(header::CONTENT_TYPE, media)], bytes).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value);
            }
            response
        }
        Answer::Nothing => StatusCode::NO_CONTENT.into_response(),
    }
}

impl Route {
    /// Answers with `201`.
    pub fn creates(mut self) -> Self {
        self.doc.status = StatusCode::CREATED;
        self
    }

    /// Tells events of this name with data of this type.
    pub fn event<T: JsonSchema + 'static>(mut self, name: &'static str) -> Self {
        self.doc.events.push((name, Box::new(schema::<T>)));
        self
    }

    /// Tells how far it is, and at last an answer of this type.
    pub fn progress<T: JsonSchema + 'static>(self) -> Self {
        self.event::<Queued>("queued").event::<Stage>("stage").event::<T>("ready")
    }

    /// May answer with a file of this media type.
    pub fn file(mut self, media: &'static str) -> Self {
        self.doc.files.push(media);
        self
    }

    /// For the router.
    pub fn into_service(self) -> (&'static str, MethodRouter<App>) {
        (self.path, self.service)
    }
}
