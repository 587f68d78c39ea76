#![doc = include_str!("../README.md")]

pub mod tiny_vit;

pub use tiny_vit::{TinyVit, TinyVitConfig};
