#![doc = include_str!("../README.md")]

mod config;
mod embedding;
mod encoder;
mod error;
mod layer;
mod multiway;
mod text;
pub mod tokenizer;

pub use config::Beit3Config;
pub use embedding::resample_vision_positions;
pub use encoder::{Beit3, Beit3Features};
pub use error::{Error, Result};
pub use text::TextTokens;
pub use tokenizer::{SentencePiece, Tokenizer};
