//! The whole memory: frames in, conditioned features out.

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Dropout, Linear, sine_position_map, trace};

use crate::attention::MemoryAttention;
use crate::bank::Selection;
use crate::config::{PointerPositions, VideoMemoryConfig};
use crate::encoder::MemoryEncoder;

/// What the memory attention looks at, as tokens.
#[derive(Clone, Debug)]
pub struct MemoryTokens {
    /// `[B, M, Cm]`: whole maps, then pointers.
    pub tokens: Tensor,
    /// `[1 or B, M, Cm]`, added to the keys.
    pub positions: Tensor,
    /// How many tokens at the end are pieces of pointers, which have no place on the map.
    pub num_obj_ptr_tokens: usize,
}

/// Everything that video adds to SAM 2's image model: memory encoder, memory attention, temporal and pointer positions.
///
/// Keys: `memory_attention`, `memory_encoder`, `maskmem_tpos_enc`, `no_mem_pos_enc`, and by configuration
/// `no_obj_embed_spatial`, `obj_ptr_tpos_proj`.
#[derive(Clone, Debug)]
pub struct VideoMemory {
    cfg: VideoMemoryConfig,
    memory_attention: MemoryAttention,
    memory_encoder: MemoryEncoder,
    maskmem_tpos_enc: Tensor,             // [slots, 1, 1, Cm]
    no_obj_embed_spatial: Option<Tensor>, // [1, Cm]
    obj_ptr_tpos_proj: Option<Linear>,
}

impl VideoMemory {
    /// Reads the memory; `vb` is at the root of the official state dict.
    pub fn new(cfg: &VideoMemoryConfig, vb: VarBuilder) -> Result<Self> {
        let (dim, mem_dim) = (cfg.attention.d_model, cfg.encoder.out_dim);
        if mem_dim == 0 || !dim.is_multiple_of(mem_dim) || mem_dim != cfg.attention.kv_in_dim {
            candle_core::bail!(
                "video memory: maps of {mem_dim} channels for keys of {} and pointers of {dim}, expected the first two equal and the third a multiple",
                cfg.attention.kv_in_dim
            );
        }
        // in every official file, and used by no official configuration
        vb.get((1, 1, dim), "no_mem_pos_enc")?;
        let projected = cfg.pointer_positions != PointerPositions::Zero;
        Ok(Self {
            memory_attention: MemoryAttention::new(&cfg.attention, vb.pp("memory_attention"))?,
            memory_encoder: MemoryEncoder::new(&cfg.encoder, vb.pp("memory_encoder"))?,
            maskmem_tpos_enc: vb.get((cfg.bank.num_maskmem, 1, 1, mem_dim), "maskmem_tpos_enc")?,
            no_obj_embed_spatial: match cfg.no_obj_embed_spatial {
                true => Some(vb.get((1, mem_dim), "no_obj_embed_spatial")?),
                false => None,
            },
            obj_ptr_tpos_proj: match projected {
                true => Some(Linear::new(dim, mem_dim, vb.pp("obj_ptr_tpos_proj"))?),
                false => None,
            },
            cfg: cfg.clone(),
        })
    }

    /// Dropout for training, of the memory attention.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.memory_attention.set_dropout(dropout);
    }

    /// The configuration it was built with.
    pub fn config(&self) -> &VideoMemoryConfig {
        &self.cfg
    }

    /// The memory encoder alone.
    pub fn memory_encoder(&self) -> &MemoryEncoder {
        &self.memory_encoder
    }

    /// The memory attention alone.
    pub fn memory_attention(&self) -> &MemoryAttention {
        &self.memory_attention
    }

    /// A frame's memory map `[B, Cm, h, w]`, bfloat16 (`_encode_new_memory`): from its features without any memory term,
    /// `pix_feat [B, C, h, w]`, its mask logits `[B, 1, 16h, 16w]` and its object score `[B, 1]`. `from_user`: the mask
    /// comes of the user's prompts.
    pub fn encode(
        &self,
        pix_feat: &Tensor,
        high_res_masks: &Tensor,
        object_score_logits: &Tensor,
        from_user: bool,
    ) -> Result<Tensor> {
        // rounded channels last: the map stays a view of its tokens
        let map = self.encode_exact(pix_feat, high_res_masks, object_score_logits, from_user)?;
        map.permute((0, 2, 3, 1))?.to_dtype(DType::BF16)?.permute((0, 3, 1, 2))
    }

    /// As [`Self::encode`], not rounded: for training.
    pub fn encode_exact(
        &self,
        pix_feat: &Tensor,
        high_res_masks: &Tensor,
        object_score_logits: &Tensor,
        from_user: bool,
    ) -> Result<Tensor> {
        let mask = self.cfg.mask;
        let inside = if from_user && mask.binarize_mask_from_pts {
            high_res_masks.gt(0f64)?.to_dtype(pix_feat.dtype())?
        } else {
            seg_ops::activate(&high_res_masks.to_dtype(pix_feat.dtype())?, seg_ops::Activation::Sigmoid)?
        };
        let map = self.memory_encoder.forward(pix_feat, &inside.affine(mask.scale, mask.bias)?)?; // [B, Cm, h, w]
        match &self.no_obj_embed_spatial {
            Some(absent) => {
                let absence = object_score_logits.le(0f64)?.to_dtype(map.dtype())?; // [B, 1]
                let term = absence.broadcast_mul(absent)?.unsqueeze(1)?.unsqueeze(1)?; // [B, 1, 1, Cm]
                map.permute((0, 2, 3, 1))?.broadcast_add(&term)?.permute((0, 3, 1, 2))
            }
            None => Ok(map),
        }
    }

    /// The sine position of memory maps, `[1, Cm, h, w]`.
    pub fn map_positions(&self, (h, w): (usize, usize), like: &Tensor) -> Result<Tensor> {
        sine_position_map(self.cfg.encoder.out_dim, h, w, like.device())?.to_dtype(like.dtype())
    }

    /// The tokens of what a frame looks at, of the type and on the device of `like`, for maps of `size` = (h, w) tokens.
    ///
    /// # Errors
    /// If nothing is selected, a map is of another size, or a slot is not one of the configuration's.
    pub fn tokens(&self, selection: &Selection<'_>, size: (usize, usize), like: &Tensor) -> Result<MemoryTokens> {
        let (dtype, device) = (like.dtype(), like.device());
        let on_map = self.map_positions(size, like)?.permute((0, 2, 3, 1))?.flatten(1, 2)?; // [1, hw, Cm]
        let slots = self.maskmem_tpos_enc.dim(0)?;
        let (mut tokens, mut positions) = (Vec::new(), Vec::new());
        for map in &selection.maps {
            let (_, _, h, w) = map.maskmem_features.dims4()?;
            if (h, w) != size || map.slot >= slots {
                candle_core::bail!(
                    "memory: a map of {h}x{w} in slot {}, expected {}x{} and a slot below {slots}",
                    map.slot,
                    size.0,
                    size.1
                );
            }
            let map_tokens = map.maskmem_features.to_device(device)?.permute((0, 2, 3, 1))?.flatten(1, 2)?;
            tokens.push(map_tokens.to_dtype(dtype)?); // [B, hw, Cm]
            positions.push(on_map.broadcast_add(&self.maskmem_tpos_enc.get(map.slot)?)?);
        }
        let mut num_obj_ptr_tokens = 0;
        if !selection.pointers.is_empty() {
            let (of_pointers, at) = self.pointer_tokens(selection, like)?;
            num_obj_ptr_tokens = of_pointers.dim(1)?;
            tokens.push(of_pointers);
            positions.push(at);
        }
        if tokens.is_empty() {
            candle_core::bail!("memory: nothing to look at, expected at least one conditioning frame");
        }
        Ok(MemoryTokens {
            tokens: Tensor::cat(&tokens, 1)?,
            positions: Tensor::cat(&positions, 1)?,
            num_obj_ptr_tokens,
        })
    }

    /// Pointers in pieces as wide as the memory, `[B, P·C/Cm, Cm]`, and their positions `[1, P·C/Cm, Cm]`.
    fn pointer_tokens(&self, selection: &Selection<'_>, like: &Tensor) -> Result<(Tensor, Tensor)> {
        let pointers = selection.stacked_pointers(like)?; // [B, P, C]
        let (b, p, dim) = pointers.dims3()?;
        let mem_dim = self.cfg.encoder.out_dim;
        let pieces = dim / mem_dim;
        let tokens = pointers.reshape((b, p * pieces, mem_dim))?;
        let at = match (&self.obj_ptr_tpos_proj, self.cfg.pointer_positions) {
            (Some(projection), PointerPositions::Projected { signed }) => {
                let sine = selection.pointer_positions(dim, signed, like)?; // [P, C]
                let at = projection.forward(&sine)?.unsqueeze(1)?; // [P, 1, Cm]
                at.broadcast_as((p, pieces, mem_dim))?.reshape((1, p * pieces, mem_dim))?
            }
            _ => Tensor::zeros((1, p * pieces, mem_dim), like.dtype(), like.device())?,
        };
        Ok((tokens, at))
    }

    /// A frame's features `[B, C, h, w]` conditioned on what `selection` has: `[B, C, h, w]`, a view of channels-last memory.
    pub fn condition(&self, vision_features: &Tensor, selection: &Selection<'_>) -> Result<Tensor> {
        let _condition = trace::module("memory");
        let (b, c, h, w) = vision_features.dims4()?;
        let memory = self.tokens(selection, (h, w), vision_features)?;
        let curr = vision_features.permute((0, 2, 3, 1))?.flatten(1, 2)?; // [B, hw, C]
        let position = sine_position_map(c, h, w, vision_features.device())?.to_dtype(vision_features.dtype())?;
        let position = position.permute((0, 2, 3, 1))?.flatten(1, 2)?; // [1, hw, C]
        let conditioned = self.memory_attention.forward(&curr, &position, (h, w), &memory)?;
        conditioned.reshape((b, h, w, c))?.permute((0, 3, 1, 2))
    }
}
