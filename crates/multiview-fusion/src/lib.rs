#![doc = include_str!("../README.md")]

mod hmim;
mod mcem;
mod views;

pub use hmim::Hmim;
pub use mcem::{Mcem, McemConfig, McemOutput, PositionTable, half_pixel_sine_map};
pub use views::ViewGrid;
