#![doc = include_str!("../README.md")]

pub mod mp_adapter;

pub use mp_adapter::{MpAdapter, MpAdapterConfig};
