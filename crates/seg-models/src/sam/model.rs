//! SAM whole: image encoder, prompt encoder, mask decoder.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::{MaskDecoder, MaskDecoderOutput, PromptEmbeddings, PromptEncoder};
use seg_layers::Observer;
use vit_encoder::{ImageEncoderViT, TinyVit};

use super::config::{SamConfig, SamEncoderConfig};

/// The image encoders that SAM runs on.
#[derive(Clone, Debug)]
pub enum SamImageEncoder {
    /// MobileSAM's.
    TinyVit(Box<TinyVit>),
    /// SAM's own.
    Vit(Box<ImageEncoderViT>),
}

impl SamImageEncoder {
    /// Reads the encoder; `vb` is at `image_encoder`.
    pub fn new(cfg: &SamEncoderConfig, vb: VarBuilder) -> Result<Self> {
        match cfg {
            SamEncoderConfig::TinyVit(cfg) => Ok(Self::TinyVit(Box::new(TinyVit::new(cfg, vb)?))),
            SamEncoderConfig::Vit(cfg) => Ok(Self::Vit(Box::new(ImageEncoderViT::new(cfg, vb)?))),
        }
    }

    /// Normalised images `[B, 3, S, S]` to embeddings `[B, 256, S/16, S/16]`.
    pub fn forward(&self, images: Tensor) -> Result<Tensor> {
        match self {
            Self::TinyVit(encoder) => encoder.forward(images),
            Self::Vit(encoder) => encoder.forward(&images),
        }
    }

    /// As [`SamImageEncoder::forward`], with the intermediate maps that the encoder shows.
    pub fn forward_with(&self, images: Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        match self {
            Self::TinyVit(encoder) => encoder.forward_with(images, observer),
            Self::Vit(encoder) => encoder.forward_with(&images, observer),
        }
    }
}

/// SAM (arXiv 2304.02643) and MobileSAM (arXiv 2306.14289).
///
/// Keys: `image_encoder`, `prompt_encoder`, `mask_decoder`.
#[derive(Clone, Debug)]
pub struct Sam {
    image_encoder: SamImageEncoder,
    prompt_encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    image_size: usize,
}

impl Sam {
    /// Keys of an official MobileSAM file that no mask comes from: the classifier of its encoder's distillation.
    pub const MOBILE_SAM_UNUSED: [&'static str; 2] = ["image_encoder.norm_head.", "image_encoder.head."];

    /// Reads the model; `vb` is at the root of the official state dict.
    pub fn new(cfg: &SamConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            image_encoder: SamImageEncoder::new(&cfg.image_encoder, vb.pp("image_encoder"))?,
            prompt_encoder: PromptEncoder::new(&cfg.prompt_encoder, vb.pp("prompt_encoder"))?,
            mask_decoder: MaskDecoder::new(&cfg.mask_decoder, vb.pp("mask_decoder"))?,
            image_size: cfg.image_size,
        })
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// The image encoder.
    pub fn image_encoder(&self) -> &SamImageEncoder {
        &self.image_encoder
    }

    /// The prompt encoder.
    pub fn prompt_encoder(&self) -> &PromptEncoder {
        &self.prompt_encoder
    }

    /// The mask decoder.
    pub fn mask_decoder(&self) -> &MaskDecoder {
        &self.mask_decoder
    }

    /// Normalised, padded images `[B, 3, S, S]` to embeddings `[B, 256, S/16, S/16]`.
    pub fn encode_image(&self, images: Tensor) -> Result<Tensor> {
        let (_, channels, h, w) = images.dims4()?;
        let size = self.image_size;
        if channels != 3 || (h, w) != (size, size) {
            candle_core::bail!("SAM: images of shape {:?}, expected [B, 3, {size}, {size}]", images.shape());
        }
        self.image_encoder.forward(images)
    }

    /// Masks for a batch of prompts; `image_embeddings` have the prompts' batch or 1.
    pub fn decode(
        &self,
        image_embeddings: &Tensor,
        prompts: &PromptEmbeddings,
        multimask_output: bool,
    ) -> Result<MaskDecoderOutput> {
        let image_pe = self.prompt_encoder.dense_pe()?;
        self.mask_decoder.forward(image_embeddings, &image_pe, prompts, None, multimask_output)
    }
}
