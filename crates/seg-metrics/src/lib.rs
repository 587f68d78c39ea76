#![doc = include_str!("../README.md")]

mod error;
mod plane;

pub use error::{Error, Result};
pub use plane::Plane;
