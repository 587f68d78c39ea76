#![doc = include_str!("../README.md")]

mod fusion;
mod mask_decoder;
pub mod mpg;
pub mod pi_sam;
mod prompt_encoder;
mod transformer;
pub mod u_decoder;

pub use fusion::{FusionBlock, FusionConfig, ProjectedMemory};
pub use mask_decoder::{
    DecodedMasks, DynamicMultimask, MaskDecoder, MaskDecoderConfig, MaskDecoderOutput, ObjectScore, PreparedImage,
    argmax, stability_scores,
};
pub use mpg::{FusedContext, FusionInputs, MpgFusion};
pub use pi_sam::{PiSamCoarse, PiSamDecoder, PiSamDecoderConfig};
pub use prompt_encoder::{PointPrompts, PromptEmbeddings, PromptEncoder, PromptEncoderConfig, label};
pub use transformer::{MlpKeys, ProjectedImage, TwoWayTransformer, TwoWayTransformerConfig};
pub use u_decoder::{DenseGlue, DoubleConv, Rfb, Up, UpOrder};
