#![doc = include_str!("../README.md")]

pub mod distance;
mod error;
mod plane;

pub use error::{Error, Result};
pub use plane::Plane;
