//! SAM 2's heads as video uses them: masks with an object pointer, gated by the object score.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::{MaskDecoderOutput, PointPrompts, argmax};
use seg_layers::{Activation, Conv2d, Mlp};
use seg_ops::{Conv2dParams, Resize};

use super::config::Sam2Config;
use super::model::Sam2ImageModel;

/// Logit of every pixel where the object is not in the picture.
pub const NO_OBJ_SCORE: f64 = -1024.0;

/// The parameters that make object pointers: `mask_downsample`, `obj_ptr_proj`, `no_obj_ptr`.
#[derive(Clone, Debug)]
pub struct ObjectPointerHead {
    mask_downsample: Conv2d,
    obj_ptr_proj: Mlp,
    no_obj_ptr: Tensor, // [1, C]
}

/// What [`ObjectPointerHead::forward_sam_heads`] returns. S is the image size, B the batch.
#[derive(Clone, Debug)]
pub struct SamHeadsOutput {
    /// `[B, M, S/4, S/4]` logits.
    pub low_res_multimasks: Tensor,
    /// `[B, M]`.
    pub ious: Tensor,
    /// The mask of the highest predicted IoU, `[B, 1, S/4, S/4]`.
    pub low_res_masks: Tensor,
    /// The same at the input's size, `[B, 1, S, S]`.
    pub high_res_masks: Tensor,
    /// `[B, C]`.
    pub obj_ptr: Tensor,
    /// `[B, 1]`.
    pub object_score_logits: Tensor,
}

impl ObjectPointerHead {
    /// Reads the head; `vb` is at the root of the official state dict.
    pub fn new(cfg: &Sam2Config, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.image_encoder.d_model;
        let params = Conv2dParams { stride: 4, ..Conv2dParams::default() };
        Ok(Self {
            mask_downsample: Conv2d::new(1, 1, 4, params, vb.pp("mask_downsample"))?,
            obj_ptr_proj: Mlp::new(&[dim, dim, dim, dim], Activation::Relu, vb.pp("obj_ptr_proj"))?,
            no_obj_ptr: vb.get((1, dim), "no_obj_ptr")?,
        })
    }

    /// Prompts to masks and a pointer (`_forward_sam_heads`). Without points a padding point stands in; a mask
    /// `[B, 1, …]` of another size than the decoder's is reduced with antialiasing. Where the object score is not
    /// positive, all logits become [`NO_OBJ_SCORE`] and the pointer the learned "no object".
    pub fn forward_sam_heads(
        &self,
        model: &Sam2ImageModel,
        backbone_features: &Tensor,
        high_res_features: &[Tensor; 2],
        points: Option<&PointPrompts>,
        mask_inputs: Option<&Tensor>,
        multimask_output: bool,
    ) -> Result<SamHeadsOutput> {
        let (batch, device) = (backbone_features.dim(0)?, backbone_features.device());
        let padding = PointPrompts::padding(batch, device)?;
        let (mh, mw) = model.prompt_encoder().config().mask_input_size();
        let mask_prompt = match mask_inputs {
            Some(mask) if mask.dims()[2..] == [mh, mw] => Some(mask.clone()),
            Some(mask) => Some(seg_ops::resize(mask, (mh, mw), &Resize::bilinear().antialiased())?),
            None => None,
        };
        let prompts = model.prompt_encoder().forward(Some(points.unwrap_or(&padding)), None, mask_prompt.as_ref())?;
        let decoded = model.decode(backbone_features, high_res_features, &prompts, multimask_output)?;
        self.finish(model.image_size(), &decoded)
    }

    /// What [`Self::forward_sam_heads`] makes of the decoder's answer, for images of `image_size` pixels.
    pub(crate) fn finish(&self, image_size: usize, decoded: &MaskDecoderOutput) -> Result<SamHeadsOutput> {
        let MaskDecoderOutput { masks, iou_predictions, sam_tokens, object_score_logits } = decoded;
        let appears = object_score_logits.gt(0f64)?; // [B, 1]
        let shape = masks.shape();
        let nothing = Tensor::full(NO_OBJ_SCORE as f32, shape, masks.device())?.to_dtype(masks.dtype())?;
        let low_res_multimasks = appears
            .reshape(((), 1, 1, 1))?
            .broadcast_as(shape)?
            .where_cond(masks, &nothing)?
            .to_dtype(candle_core::DType::F32)?;

        let best: Vec<usize> = iou_predictions
            .to_dtype(candle_core::DType::F32)?
            .to_vec2::<f32>()?
            .iter()
            .map(|ious| argmax(ious))
            .collect();
        let pick = |tensor: &Tensor| -> Result<Tensor> {
            let rows = best
                .iter()
                .enumerate()
                .map(|(b, &i)| tensor.narrow(0, b, 1)?.narrow(1, i, 1))
                .collect::<Result<Vec<_>>>()?;
            Tensor::cat(&rows, 0)
        };
        let low_res_masks = pick(&low_res_multimasks)?; // [B, 1, S/4, S/4]
        let high_res_masks = seg_ops::resize(&low_res_masks, (image_size, image_size), &Resize::bilinear())?;
        let token = pick(sam_tokens)?.squeeze(1)?; // [B, C]
        let appears = appears.to_dtype(token.dtype())?;
        let obj_ptr = self.gate_pointer(&self.obj_ptr_proj.forward(&token)?, &appears)?;
        Ok(SamHeadsOutput {
            low_res_multimasks,
            ious: iou_predictions.clone(),
            low_res_masks,
            high_res_masks,
            obj_ptr,
            object_score_logits: object_score_logits.clone(),
        })
    }

    /// The pointer where the object appears (`[B, 1]`, 1 or 0), "no object" where it does not.
    fn gate_pointer(&self, obj_ptr: &Tensor, appears: &Tensor) -> Result<Tensor> {
        let absent = appears.affine(-1., 1.)?;
        obj_ptr.broadcast_mul(appears)? + absent.broadcast_mul(&self.no_obj_ptr)?
    }

    /// A binary mask `[B, 1, S, S]` (0 or 1) taken as the answer itself (`_use_mask_as_output`): logits ±10, IoU 1,
    /// and a pointer from the decoder, which sees the mask as a prompt.
    pub fn use_mask_as_output(
        &self,
        model: &Sam2ImageModel,
        backbone_features: &Tensor,
        high_res_features: &[Tensor; 2],
        mask: &Tensor,
    ) -> Result<SamHeadsOutput> {
        let (batch, _, h, w) = mask.dims4()?;
        let high_res_masks = mask.affine(20., -10.)?;
        let low_res_masks = seg_ops::resize(&high_res_masks, (h / 4, w / 4), &Resize::bilinear().antialiased())?;
        let prompt = self.mask_downsample.forward(mask)?;
        let heads = self.forward_sam_heads(model, backbone_features, high_res_features, None, Some(&prompt), false)?;
        let appears = mask.flatten_from(1)?.max_keepdim(1)?.gt(0f64)?.to_dtype(heads.obj_ptr.dtype())?; // [B, 1]
        let obj_ptr = self.gate_pointer(&heads.obj_ptr, &appears)?;
        Ok(SamHeadsOutput {
            low_res_multimasks: low_res_masks.clone(),
            ious: Tensor::ones((batch, 1), mask.dtype(), mask.device())?,
            low_res_masks,
            high_res_masks,
            obj_ptr,
            object_score_logits: appears.affine(20., -10.)?,
        })
    }
}
