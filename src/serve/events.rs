//! Answers that are told as they come: server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_core::Stream;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::problem::{Code, Problem, Result};
use super::queue::Place;

/// Bytes that a client may be behind before its work is dropped.
const MOST_BEHIND: usize = 64 << 20;

/// How far work is in the queue.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Queued {
    /// Requests that go first.
    pub ahead: usize,
}

/// What is being done.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stage {
    /// In a word: `encoding`, `looking`, `finding the object`.
    pub stage: String,
    /// Steps that are done, where they can be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<usize>,
    /// Steps in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
}

impl Stage {
    pub fn new(stage: impl Into<String>) -> Self {
        Self { stage: stage.into(), done: None, of: None }
    }

    pub fn steps(stage: impl Into<String>, done: usize, of: usize) -> Self {
        Self { stage: stage.into(), done: Some(done), of: Some(of) }
    }
}

struct Said {
    event: &'static str,
    data: String,
}

/// Tells events from the thread that computes.
#[derive(Clone)]
pub struct Teller {
    sender: Option<mpsc::UnboundedSender<Said>>,
    behind: Arc<AtomicUsize>,
}

impl Teller {
    /// Nobody listens.
    pub fn silent() -> Self {
        Self { sender: None, behind: Arc::default() }
    }

    /// Tells an event.
    ///
    /// # Errors
    /// When the client has gone, or takes what it is told too slowly.
    pub fn tell(&self, event: &'static str, data: &impl Serialize) -> Result<()> {
        let Some(sender) = &self.sender else { return Ok(()) };
        let data = serde_json::to_string(data).map_err(Problem::internal)?;
        let behind = self.behind.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        if behind > MOST_BEHIND {
            let detail = format!("the events are taken too slowly: {behind} bytes wait");
            return Err(Problem::new(Code::TooSlow, detail));
        }
        sender.send(Said { event, data }).map_err(|_| Problem::new(Code::TimeLimit, "nobody listens any more"))
    }

    /// Tells what is being done.
    ///
    /// # Errors
    /// As [`Self::tell`].
    pub fn stage(&self, stage: &Stage) -> Result<()> {
        self.tell("stage", stage)
    }
}

/// The events of one piece of work, and its result as the last.
pub struct Events<T> {
    queued: Option<usize>,
    receiver: mpsc::UnboundedReceiver<Said>,
    behind: Arc<AtomicUsize>,
    result: Option<oneshot::Receiver<Result<T>>>,
    limit: Option<Pin<Box<Sleep>>>,
    place: Option<Place>,
}

/// A teller, and where what it tells is heard.
pub struct Line {
    receiver: mpsc::UnboundedReceiver<Said>,
    behind: Arc<AtomicUsize>,
}

impl Line {
    pub fn new() -> (Teller, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let behind = Arc::<AtomicUsize>::default();
        (Teller { sender: Some(sender), behind: Arc::clone(&behind) }, Self { receiver, behind })
    }

    /// With the work's place and result; `limit` is how long it may take.
    pub fn events<T>(self, place: Place, result: oneshot::Receiver<Result<T>>, limit: Option<Duration>) -> Events<T> {
        Events {
            queued: Some(place.ahead),
            receiver: self.receiver,
            behind: self.behind,
            result: Some(result),
            limit: limit.map(|limit| Box::pin(tokio::time::sleep(limit))),
            place: Some(place),
        }
    }
}

impl<T: Serialize> Events<T> {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(ahead) = self.queued.take() {
            return Poll::Ready(Some(json("queued", &Queued { ahead })));
        }
        if self.result.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Some(Said { event, data })) = self.receiver.poll_recv(context) {
            self.behind.fetch_sub(data.len(), Ordering::Relaxed);
            return Poll::Ready(Some(Event::default().event(event).data(data)));
        }
        if self.limit.as_mut().is_some_and(|limit| limit.as_mut().poll(context).is_ready()) {
            self.result = None;
            self.place = None;
            return Poll::Ready(Some(problem(&time_limit())));
        }
        // everything told is heard before the result: the teller is gone when that is there
        let Some(result) = self.result.as_mut() else { return Poll::Ready(None) };
        let result = std::task::ready!(Pin::new(result).poll(context));
        if let Ok(Said { event, data }) = self.receiver.try_recv() {
            // told between the two looks; the result is told next time
            self.result = Some(again(result));
            return Poll::Ready(Some(Event::default().event(event).data(data)));
        }
        self.result = None;
        if let Some(mut place) = self.place.take() {
            place.finish();
        }
        Poll::Ready(Some(match result.unwrap_or_else(|_| Err(Problem::internal("work without a result"))) {
            Ok(value) => json("ready", &value),
            Err(found) => problem(&found),
        }))
    }
}

/// A result that is asked for a second time.
fn again<T>(result: std::result::Result<Result<T>, oneshot::error::RecvError>) -> oneshot::Receiver<Result<T>> {
    let (sender, receiver) = oneshot::channel();
    if let Ok(result) = result {
        let _ = sender.send(result);
    }
    receiver
}

impl<T: Serialize> Stream for Events<T> {
    type Item = std::result::Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context).map(|event| event.map(Ok))
    }
}

/// Work that took longer than it may.
pub fn time_limit() -> Problem {
    Problem::new(Code::TimeLimit, "it took longer than --time-limit allows")
}

fn json(name: &str, data: &impl Serialize) -> Event {
    match serde_json::to_string(data) {
        Ok(text) => Event::default().event(name).data(text),
        Err(error) => problem(&Problem::internal(error)),
    }
}

fn problem(found: &Problem) -> Event {
    let text = serde_json::to_string(&found.body()).unwrap_or_default();
    Event::default().event("problem").data(text)
}

/// As an answer; a comment now and then keeps the connection open, and finds out whether anybody listens.
pub fn respond<T: Serialize + Send + 'static>(events: Events<T>) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))).into_response()
}
