//! The router: the API, the page, and what looks after servers.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::{Code, Problem};
use super::{App, api, guard, page};

/// All that is answered.
pub fn router(app: &App) -> Router {
    let mut router: Router<App> = Router::new()
        .route("/v1/openapi.json", get(document))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures));
    for route in api::routes() {
        let (path, service) = route.into_service();
        router = router.route(path, service);
    }
    let counted = Arc::clone(app);
    let panicked = move |payload: Box<dyn Any + Send + 'static>| {
        counted.figures.panicked();
        Problem::panicked(payload.as_ref()).into_response()
    };
    router
        .fallback(other)
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::Method, "the header `Allow` names the methods there are")
        })
        // bodies are bounded where they are read
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), count))
        .layer(from_fn_with_state(Arc::clone(app), guard::guard))
        .with_state(Arc::clone(app))
}

/// The page's files; nothing else is there.
async fn other(request: Request) -> Response {
    let path = request.uri().path();
    let read = request.method() == "GET" || request.method() == "HEAD";
    if let Some(file) = page::file(path).filter(|_| read) {
        return file;
    }
    Problem::new(Code::UnknownRoute, "there is no such route; /v1/openapi.json has all").into_response()
}

async fn document(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.to_string()).into_response()
}

async fn ready(State(app): State<App>) -> Response {
    match app.models.settled() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "loading\n").into_response(),
    }
}

async fn figures(State(app): State<App>) -> Response {
    let text = app.figures.text(app.store.census());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Counts and times what is answered.
async fn count(State(app): State<App>, path: Option<MatchedPath>, uri: Uri, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let response = next.run(request).await;
    let page = || if page::file(uri.path()).is_some() { "page" } else { "none" };
    let route = path.as_ref().map_or_else(page, MatchedPath::as_str);
    app.figures.request(route, response.status().as_u16(), start.elapsed());
    response
}
