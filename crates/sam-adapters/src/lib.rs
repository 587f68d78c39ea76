#![doc = include_str!("../README.md")]

pub mod mp_adapter;
pub mod prompt;

pub use mp_adapter::{MpAdapter, MpAdapterConfig};
pub use prompt::{PROMPT_CHANNELS, PromptAdapters, PromptedHiera, wrapped_name};
