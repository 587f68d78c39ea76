//! Bodies as they come in: no larger than is allowed, and no slower.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::figures::Figures;
use super::problem::{Code, Problem, Result};

/// Bytes that a second has to bring on average over [`super::Options::patience`].
pub const LEAST: u64 = 1000;

/// Why a body was not read to its end.
#[derive(Clone, Debug, Default)]
pub struct Why(Arc<Mutex<Option<Problem>>>);

impl Why {
    fn set(&self, problem: Problem) -> io::Error {
        let text = problem.detail.clone();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        io::Error::other(text)
    }

    /// The reason, or that the client went away.
    pub fn problem(&self) -> Problem {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        why.unwrap_or_else(|| Problem::new(Code::InvalidRequest, "the body ends before it is complete"))
    }
}

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub most: u64,
    /// The option that sets it, for the message.
    pub option: &'static str,
    pub patience: Duration,
}

/// A body that is counted and timed.
pub struct Metered {
    inner: BodyDataStream,
    bounds: Bounds,
    left: u64,
    window: Pin<Box<Sleep>>,
    in_window: u64,
    why: Why,
    figures: Arc<Figures>,
}

impl Metered {
    /// Reads `body` within `bounds`; the second is asked when reading fails.
    pub fn new(body: Body, bounds: Bounds, figures: Arc<Figures>) -> (Self, Why) {
        let why = Why::default();
        let metered = Self {
            inner: body.into_data_stream(),
            bounds,
            left: bounds.most,
            window: Box::pin(sleep(bounds.patience)),
            in_window: 0,
            why: why.clone(),
            figures,
        };
        (metered, why)
    }

    /// The next piece.
    ///
    /// # Errors
    /// Too much, too slowly, or a client that went away: what [`Why::problem`] says.
    pub async fn piece(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Metered {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.inner).poll_next(context) {
            Poll::Ready(Some(Ok(bytes))) => {
                let len = bytes.len() as u64;
                self.figures.uploaded(len);
                self.in_window += len;
                let Some(left) = self.left.checked_sub(len) else {
                    let Bounds { most, option, .. } = self.bounds;
                    let detail = format!("the body has more than {most} bytes ({option})");
                    return Poll::Ready(Some(Err(self.why.set(Problem::new(Code::TooLarge, detail)))));
                };
                self.left = left;
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                while self.window.as_mut().poll(context).is_ready() {
                    let patience = self.bounds.patience;
                    if self.in_window < LEAST * patience.as_secs().max(1) {
                        let detail =
                            format!("the body brought {} bytes in {} s", self.in_window, patience.as_secs_f32());
                        return Poll::Ready(Some(Err(self.why.set(Problem::new(Code::TooSlow, detail)))));
                    }
                    self.in_window = 0;
                    let next = Instant::now() + patience;
                    self.window.as_mut().reset(next);
                }
                Poll::Pending
            }
        }
    }
}

/// All of a body. `announced` is what its head says of its length.
///
/// # Errors
/// As [`Metered::piece`].
pub async fn read(body: Body, announced: Option<u64>, bounds: Bounds, figures: Arc<Figures>) -> Result<Vec<u8>> {
    if announced.is_some_and(|length| length > bounds.most) {
        let Bounds { most, option, .. } = bounds;
        let length = announced.unwrap_or_default();
        let detail = format!("the body has {length} bytes, at most {most} are taken ({option})");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let (mut metered, why) = Metered::new(body, bounds, figures);
    let mut bytes = Vec::new();
    while let Some(piece) = metered.piece().await {
        bytes.extend_from_slice(&piece.map_err(|_| why.problem())?);
    }
    Ok(bytes)
}
