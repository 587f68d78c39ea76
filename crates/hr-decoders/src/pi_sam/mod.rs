//! Pi-SAM's high-resolution mask decoder (ACM MM 2024; segment_anything/modeling/mask_decoder_pi.py of lmzpai/pi-sam).

mod config;
mod decoder;
mod head;
mod object_embedder;
mod upscale;

pub use config::PiSamDecoderConfig;
pub use decoder::{PiSamCoarse, PiSamDecoder};
pub use object_embedder::{DeformableConv2d, ObjectEmbedder};
