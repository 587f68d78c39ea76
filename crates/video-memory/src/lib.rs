#![doc = include_str!("../README.md")]

mod attention;
mod bank;
mod config;
mod encoder;
mod history;
mod memory;
mod position;
mod rope_attention;
mod tracked;

pub use attention::MemoryAttention;
pub use bank::{Direction, MemoryBank, MemoryFrame, PastPointer, Selection, SlottedMap};
pub use config::{
    MaskForMemory, MemoryAttentionConfig, MemoryBankConfig, MemoryEncoderConfig, PointerPositions, Retention,
    VideoMemoryConfig,
};
pub use encoder::MemoryEncoder;
pub use history::PointerHistory;
pub use memory::{MemoryTokens, VideoMemory};
pub use position::sine_position_1d;
pub use rope_attention::{AxialRope, RopeAttention};
pub use tracked::TrackedFrames;
