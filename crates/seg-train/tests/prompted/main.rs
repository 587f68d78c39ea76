//! What the promptable systems' trainings stand on: frozen encoders, embeddings on disk, clicks.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod clicks;
mod embeddings;
mod frozen;
