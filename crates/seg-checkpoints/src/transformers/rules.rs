//! The names that transformers gives to the weights of the authors' models, as data.
//!
//! A `?` stands for one component of a name, which the other side gets in its place; `*` at the end for all that follow. The first
//! rule that fits decides; a name that none fits stays as it is. `~` becomes the family's word before prompt encoder and mask decoder.

/// How a tensor comes under its new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As it is.
    Same,
    /// Each row of the first axis is a tensor of its own; `{}` is its number.
    Rows,
    /// A part of a tensor that the authors keep in one: this one of so many, in order.
    Piece(usize, usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub theirs: &'static str,
    pub authors: &'static str,
    pub how: How,
}

const fn same(theirs: &'static str, authors: &'static str) -> Rule {
    Rule { theirs, authors, how: How::Same }
}

const fn rows(theirs: &'static str, authors: &'static str) -> Rule {
    Rule { theirs, authors, how: How::Rows }
}

const fn piece(place: usize, of: usize, theirs: &'static str, authors: &'static str) -> Rule {
    Rule { theirs, authors, how: How::Piece(place, of) }
}

/// A family of models.
pub(super) struct Family {
    /// What to call it, the class first.
    pub name: &'static str,
    /// Names that some tensor of it begins with: one is enough.
    pub signs: &'static [&'static str],
    /// What another class of transformers' puts before all these names.
    pub before: &'static [&'static str],
    /// What a class that is only a part leaves out: its sign, and the part's name in the whole.
    pub part: &'static [(&'static str, &'static str)],
    /// What `~` is.
    pub prompts: &'static str,
    pub rules: &'static [&'static [Rule]],
}

pub(super) const FAMILIES: [Family; 3] = [
    Family {
        name: "SamModel (SAM)",
        signs: &["vision_encoder.layers.0.", "vision_encoder.patch_embed.projection."],
        before: &[],
        part: &[],
        prompts: "",
        rules: &[SAM_IMAGE, PROMPTS_AND_MASKS],
    },
    Family {
        name: "Sam2Model or Sam2VideoModel (SAM 2)",
        signs: &["vision_encoder.backbone.blocks.", "vision_encoder.backbone.patch_embed.projection."],
        before: &[],
        part: &[("backbone.patch_embed.projection.", "vision_encoder.")],
        prompts: "sam_",
        rules: &[SAM2_IMAGE, SAM2_MEMORY, PROMPTS_AND_MASKS],
    },
    Family {
        name: "Dinov2Model (DINOv2)",
        signs: &["encoder.layer.0.layer_scale1."],
        before: &["dinov2.", "dinov2_with_registers."],
        part: &[],
        prompts: "",
        rules: &[DINOV2],
    },
];

const SAM_IMAGE: &[Rule] = &[
    same("vision_encoder.patch_embed.projection.?", "image_encoder.patch_embed.proj.?"),
    same("vision_encoder.layers.?.layer_norm1.?", "image_encoder.blocks.?.norm1.?"),
    same("vision_encoder.layers.?.layer_norm2.?", "image_encoder.blocks.?.norm2.?"),
    same("vision_encoder.layers.*", "image_encoder.blocks.*"),
    same("vision_encoder.neck.conv1.?", "image_encoder.neck.0.?"),
    same("vision_encoder.neck.layer_norm1.?", "image_encoder.neck.1.?"),
    same("vision_encoder.neck.conv2.?", "image_encoder.neck.2.?"),
    same("vision_encoder.neck.layer_norm2.?", "image_encoder.neck.3.?"),
    same("vision_encoder.*", "image_encoder.*"),
];

const SAM2_IMAGE: &[Rule] = &[
    same("vision_encoder.backbone.patch_embed.projection.?", "image_encoder.trunk.patch_embed.proj.?"),
    same("vision_encoder.backbone.blocks.?.layer_norm1.?", "image_encoder.trunk.blocks.?.norm1.?"),
    same("vision_encoder.backbone.blocks.?.layer_norm2.?", "image_encoder.trunk.blocks.?.norm2.?"),
    same("vision_encoder.backbone.blocks.?.mlp.proj_in.?", "image_encoder.trunk.blocks.?.mlp.layers.0.?"),
    same("vision_encoder.backbone.blocks.?.mlp.proj_out.?", "image_encoder.trunk.blocks.?.mlp.layers.1.?"),
    same("vision_encoder.backbone.*", "image_encoder.trunk.*"),
    same("vision_encoder.neck.convs.?.?", "image_encoder.neck.convs.?.conv.?"),
    same("vision_encoder.*", "image_encoder.*"),
    same("no_memory_embedding", "no_mem_embed"),
    // SAM's decoder has its MLPs under the authors' names already
    same("mask_decoder.transformer.layers.?.mlp.proj_in.?", "~mask_decoder.transformer.layers.?.mlp.layers.0.?"),
    same("mask_decoder.transformer.layers.?.mlp.proj_out.?", "~mask_decoder.transformer.layers.?.mlp.layers.1.?"),
    same("mask_decoder.pred_obj_score_head.proj_in.?", "~mask_decoder.pred_obj_score_head.layers.0.?"),
    same("mask_decoder.pred_obj_score_head.layers.0.?", "~mask_decoder.pred_obj_score_head.layers.1.?"),
    same("mask_decoder.pred_obj_score_head.proj_out.?", "~mask_decoder.pred_obj_score_head.layers.2.?"),
];

const SAM2_MEMORY: &[Rule] = &[
    same("memory_attention.layer_norm.?", "memory_attention.norm.?"),
    same("memory_attention.layers.?.layer_norm1.?", "memory_attention.layers.?.norm1.?"),
    same("memory_attention.layers.?.layer_norm2.?", "memory_attention.layers.?.norm2.?"),
    same("memory_attention.layers.?.layer_norm3.?", "memory_attention.layers.?.norm3.?"),
    same("memory_attention.layers.?.?.o_proj.?", "memory_attention.layers.?.?.out_proj.?"),
    same("memory_encoder.mask_downsampler.layers.0.conv.?", "memory_encoder.mask_downsampler.encoder.0.?"),
    same("memory_encoder.mask_downsampler.layers.0.layer_norm.?", "memory_encoder.mask_downsampler.encoder.1.?"),
    same("memory_encoder.mask_downsampler.layers.1.conv.?", "memory_encoder.mask_downsampler.encoder.3.?"),
    same("memory_encoder.mask_downsampler.layers.1.layer_norm.?", "memory_encoder.mask_downsampler.encoder.4.?"),
    same("memory_encoder.mask_downsampler.layers.2.conv.?", "memory_encoder.mask_downsampler.encoder.6.?"),
    same("memory_encoder.mask_downsampler.layers.2.layer_norm.?", "memory_encoder.mask_downsampler.encoder.7.?"),
    same("memory_encoder.mask_downsampler.layers.3.conv.?", "memory_encoder.mask_downsampler.encoder.9.?"),
    same("memory_encoder.mask_downsampler.layers.3.layer_norm.?", "memory_encoder.mask_downsampler.encoder.10.?"),
    same("memory_encoder.mask_downsampler.final_conv.?", "memory_encoder.mask_downsampler.encoder.12.?"),
    same("memory_encoder.feature_projection.?", "memory_encoder.pix_feat_proj.?"),
    same("memory_encoder.memory_fuser.layers.?.depthwise_conv.?", "memory_encoder.fuser.layers.?.dwconv.?"),
    same("memory_encoder.memory_fuser.layers.?.layer_norm.?", "memory_encoder.fuser.layers.?.norm.?"),
    same("memory_encoder.memory_fuser.layers.?.pointwise_conv1.?", "memory_encoder.fuser.layers.?.pwconv1.?"),
    same("memory_encoder.memory_fuser.layers.?.pointwise_conv2.?", "memory_encoder.fuser.layers.?.pwconv2.?"),
    same("memory_encoder.memory_fuser.layers.?.scale", "memory_encoder.fuser.layers.?.gamma"),
    same("memory_encoder.projection.?", "memory_encoder.out_proj.?"),
    same("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
    same("no_memory_positional_encoding", "no_mem_pos_enc"),
    same("no_object_pointer", "no_obj_ptr"),
    same("object_pointer_proj.proj_in.?", "obj_ptr_proj.layers.0.?"),
    same("object_pointer_proj.layers.0.?", "obj_ptr_proj.layers.1.?"),
    same("object_pointer_proj.proj_out.?", "obj_ptr_proj.layers.2.?"),
    same("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
    same("temporal_positional_encoding_projection_layer.?", "obj_ptr_tpos_proj.?"),
];

/// Of both.
const PROMPTS_AND_MASKS: &[Rule] = &[
    // the same table twice: this one first, for version 5 fills the other at random when it loads a file that has one
    same("shared_image_embedding.positional_embedding", super::POSITIONS),
    same("prompt_encoder.shared_embedding.positional_embedding", super::POSITIONS),
    rows("prompt_encoder.point_embed.weight", "~prompt_encoder.point_embeddings.{}.weight"),
    same("prompt_encoder.point_embed.*", "~prompt_encoder.point_embeddings.*"),
    same("prompt_encoder.mask_embed.conv1.?", "~prompt_encoder.mask_downscaling.0.?"),
    same("prompt_encoder.mask_embed.layer_norm1.?", "~prompt_encoder.mask_downscaling.1.?"),
    same("prompt_encoder.mask_embed.conv2.?", "~prompt_encoder.mask_downscaling.3.?"),
    same("prompt_encoder.mask_embed.layer_norm2.?", "~prompt_encoder.mask_downscaling.4.?"),
    same("prompt_encoder.mask_embed.conv3.?", "~prompt_encoder.mask_downscaling.6.?"),
    same("prompt_encoder.*", "~prompt_encoder.*"),
    same("mask_decoder.transformer.layers.?.layer_norm1.?", "~mask_decoder.transformer.layers.?.norm1.?"),
    same("mask_decoder.transformer.layers.?.layer_norm2.?", "~mask_decoder.transformer.layers.?.norm2.?"),
    same("mask_decoder.transformer.layers.?.layer_norm3.?", "~mask_decoder.transformer.layers.?.norm3.?"),
    same("mask_decoder.transformer.layers.?.layer_norm4.?", "~mask_decoder.transformer.layers.?.norm4.?"),
    same("mask_decoder.transformer.layers.?.?.o_proj.?", "~mask_decoder.transformer.layers.?.?.out_proj.?"),
    same("mask_decoder.transformer.layer_norm_final_attn.?", "~mask_decoder.transformer.norm_final_attn.?"),
    same("mask_decoder.transformer.?.o_proj.?", "~mask_decoder.transformer.?.out_proj.?"),
    same("mask_decoder.upscale_conv1.?", "~mask_decoder.output_upscaling.0.?"),
    same("mask_decoder.upscale_layer_norm.?", "~mask_decoder.output_upscaling.1.?"),
    same("mask_decoder.upscale_conv2.?", "~mask_decoder.output_upscaling.3.?"),
    same("mask_decoder.iou_prediction_head.proj_in.?", "~mask_decoder.iou_prediction_head.layers.0.?"),
    same("mask_decoder.iou_prediction_head.layers.0.?", "~mask_decoder.iou_prediction_head.layers.1.?"),
    same("mask_decoder.iou_prediction_head.proj_out.?", "~mask_decoder.iou_prediction_head.layers.2.?"),
    same("mask_decoder.output_hypernetworks_mlps.?.proj_in.?", "~mask_decoder.output_hypernetworks_mlps.?.layers.0.?"),
    same("mask_decoder.output_hypernetworks_mlps.?.layers.0.?", "~mask_decoder.output_hypernetworks_mlps.?.layers.1.?"),
    same("mask_decoder.output_hypernetworks_mlps.?.proj_out.?", "~mask_decoder.output_hypernetworks_mlps.?.layers.2.?"),
    same("mask_decoder.*", "~mask_decoder.*"),
];

/// As saved by all versions, and as version 5 has them in memory (`torch.save(model.state_dict(), …)`).
const DINOV2: &[Rule] = &[
    same("embeddings.patch_embeddings.projection.?", "patch_embed.proj.?"),
    same("embeddings.position_embeddings", "pos_embed"),
    same("embeddings.*", "*"),
    piece(0, 3, "encoder.layer.?.attention.attention.query.?", "blocks.?.attn.qkv.?"),
    piece(1, 3, "encoder.layer.?.attention.attention.key.?", "blocks.?.attn.qkv.?"),
    piece(2, 3, "encoder.layer.?.attention.attention.value.?", "blocks.?.attn.qkv.?"),
    piece(0, 3, "encoder.layer.?.attention.q_proj.?", "blocks.?.attn.qkv.?"),
    piece(1, 3, "encoder.layer.?.attention.k_proj.?", "blocks.?.attn.qkv.?"),
    piece(2, 3, "encoder.layer.?.attention.v_proj.?", "blocks.?.attn.qkv.?"),
    same("encoder.layer.?.attention.output.dense.?", "blocks.?.attn.proj.?"),
    same("encoder.layer.?.attention.o_proj.?", "blocks.?.attn.proj.?"),
    same("encoder.layer.?.layer_scale1.lambda1", "blocks.?.ls1.gamma"),
    same("encoder.layer.?.layer_scale2.lambda1", "blocks.?.ls2.gamma"),
    same("encoder.layer.?.mlp.weights_in.?", "blocks.?.mlp.w12.?"),
    same("encoder.layer.?.mlp.weights_out.?", "blocks.?.mlp.w3.?"),
    piece(0, 2, "encoder.layer.?.mlp.gate_proj.?", "blocks.?.mlp.w12.?"),
    piece(1, 2, "encoder.layer.?.mlp.up_proj.?", "blocks.?.mlp.w12.?"),
    same("encoder.layer.?.mlp.down_proj.?", "blocks.?.mlp.w3.?"),
    same("encoder.layer.*", "blocks.*"),
    same("layernorm.?", "norm.?"),
];
