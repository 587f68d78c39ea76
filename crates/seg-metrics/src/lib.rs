#![doc = include_str!("../README.md")]

pub mod bits;
pub mod borders;
pub mod distance;
mod error;
pub mod hce;
mod plane;
pub mod polyline;
pub mod thin;

pub use error::{Error, Result};
pub use plane::Plane;
