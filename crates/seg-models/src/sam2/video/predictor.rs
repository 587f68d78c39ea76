//! From pictures to features, and the start of sessions.

use candle_core::{DType, Device, Tensor};
use seg_data::tensor::{ValueRange, to_tensor};
use seg_data::{PilFilter, RgbImage, resize_pil};
use seg_layers::trace;

use super::model::Sam2VideoModel;
use super::session::{SessionOptions, VideoSession};
use crate::error::{Error, Result};
use crate::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use crate::sam2::Sam2ImageFeatures;

/// SAM 2's video predictor (sam2/sam2_video_predictor.py). It is shared by sessions, one a video, which hold the state.
#[derive(Clone, Debug)]
pub struct Sam2VideoPredictor {
    model: Sam2VideoModel,
    dtype: DType,
    device: Device,
}

/// An encoded frame: made once, used by prompts and by the tracking of all objects. Clones share their memory.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// Batch 1.
    pub features: Sam2ImageFeatures,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

impl Sam2VideoPredictor {
    /// A predictor on a model whose weights are of `dtype` on `device`.
    pub fn new(model: Sam2VideoModel, dtype: DType, device: &Device) -> Self {
        Self { model, dtype, device: device.clone() }
    }

    /// The model itself.
    pub fn model(&self) -> &Sam2VideoModel {
        &self.model
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The network's input, `[1, 3, S, S]`: squashed to the square as Pillow's bicubic filter does it on bytes (unlike the
    /// image predictor), scaled to 0..1, normalised.
    pub fn preprocess(&self, image: &RgbImage) -> Result<Tensor> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        let size = self.model.image_model().image_size() as u32;
        let square = resize_pil(image, (size, size), PilFilter::Bicubic)?;
        let tensor = to_tensor(&square, ValueRange::Unit, &self.device)?.unsqueeze(0)?;
        Ok(normalize(&tensor, IMAGENET_MEAN, IMAGENET_STD)?)
    }

    /// Encodes a frame: the slow part that all objects share.
    pub fn encode(&self, image: &RgbImage) -> Result<VideoFrame> {
        self.encode_preprocessed(self.preprocess(image)?, image.dimensions())
    }

    /// Encodes what [`Self::preprocess`] returns, of a frame of `size` (width and height in pixels).
    pub fn encode_preprocessed(&self, input: Tensor, size: (u32, u32)) -> Result<VideoFrame> {
        let _encode = trace::module("encode");
        let features = self.model.image_model().encode_image(input.to_dtype(self.dtype)?)?;
        Ok(VideoFrame { features, size })
    }

    /// A new video, nothing known of it yet.
    pub fn session(&self, options: SessionOptions) -> VideoSession<'_> {
        VideoSession::new(self, options)
    }
}
