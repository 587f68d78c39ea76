//! Which model a file looks like, from a few names and shapes that tell the families and their sizes apart.

use crate::checkpoint::{Checkpoint, TensorInfo};
use std::collections::BTreeMap;
use std::fmt;

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The models that it can be, by their names in the manifest; more than one when the tensors that would tell them
    /// apart are not in the file.
    candidates: Vec<&'static str>,
    detail: &'static str,
    /// What there is of the model, when it is not all.
    part: Option<&'static str>,
}

impl Identity {
    fn one(model: &'static str, detail: &'static str) -> Option<Self> {
        Some(Self { candidates: vec![model], detail, part: None })
    }

    /// The model's name in the manifest, or the first of several possible ones.
    pub fn model(&self) -> &'static str {
        self.candidates[0]
    }

    /// All models that it can be.
    pub fn candidates(&self) -> &[&'static str] {
        &self.candidates
    }

    /// The family in words: "SAM 2.0", "IS-Net"…
    pub fn family(&self) -> &'static str {
        self.detail
    }

    /// Whether the file has a part of the model only, such as SAM 2 without its memory.
    pub fn is_partial(&self) -> bool {
        self.part.is_some()
    }

    /// Whether it can be the model of this name. Names that no fingerprint exists for can be anything.
    pub fn may_be(&self, model: &str) -> bool {
        !KNOWN.contains(&model) || self.candidates.contains(&model)
    }

    /// A remark when it may be `model` or another one.
    pub(crate) fn doubt(&self, model: &str) -> Option<String> {
        let others = self.candidates.iter().filter(|c| **c != model).copied().collect::<Vec<_>>();
        (self.may_be(model) && KNOWN.contains(&model) && !others.is_empty())
            .then(|| format!("the tensors that tell {model} from {} are not in the file", others.join(" and ")))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.candidates.join(" or "), self.detail)?;
        match self.part {
            Some(part) => write!(f, ", {part})"),
            None => f.write_str(")"),
        }
    }
}

/// Every name that [`identify`] can give.
const KNOWN: [&str; 24] = [
    "mobile-sam",
    "sam-vit-b",
    "sam-vit-l",
    "sam-vit-h",
    "sam2-tiny",
    "sam2-small",
    "sam2-base-plus",
    "sam2-large",
    "sam2.1-tiny",
    "sam2.1-small",
    "sam2.1-base-plus",
    "sam2.1-large",
    "is-net",
    "dis-sam",
    "mgd-sam2",
    "sam2-unet",
    "sam2-unext",
    "pi-sam-b",
    "pi-sam-l",
    "pi-sam-h",
    "pi-sam-mobile",
    "mpg-sam2",
    "mpg-sam2-tiny",
    "beit3",
];

const ENCODER: &str = "image encoder only";

/// The model that a checkpoint looks like; none when it resembles no known one.
pub fn identify(checkpoint: &Checkpoint) -> Option<Identity> {
    identify_tensors(checkpoint.tensors())
}

/// As [`identify`], from a list of names, shapes and types.
pub fn identify_tensors(tensors: &BTreeMap<String, TensorInfo>) -> Option<Identity> {
    let keys = Keys(tensors);
    // The composed systems first: they contain the keys of what they stand on.
    if keys.any("mm_extractor.beit3.") && keys.any("visual_model.") {
        return match keys.dim("text_feat_linear.weight", 1) {
            Some(768) => Identity::one("mpg-sam2-tiny", "MPG-SAM 2"),
            _ => Identity::one("mpg-sam2", "MPG-SAM 2"),
        };
    }
    if keys.any("beit3.") {
        return Identity::one("beit3", "BEiT-3");
    }
    if keys.any("sam_mask_decoder.new_multifieldcrossatt.") || keys.any("detail_enhance.img_er.") {
        return Identity::one("mgd-sam2", "MGD-SAM2");
    }
    if keys.any("dino.") && keys.any("sam.blocks.") {
        return Identity::one("sam2-unext", "SAM2-UNeXT");
    }
    if keys.any("rfb1.") && keys.any("encoder.blocks.") {
        return Identity::one("sam2-unet", "SAM2-UNet");
    }
    pi_sam(&keys).or_else(|| sam2(&keys)).or_else(|| sam1(&keys)).or_else(|| is_net(&keys))
}

struct Keys<'t>(&'t BTreeMap<String, TensorInfo>);

impl Keys<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn any(&self, prefix: &str) -> bool {
        self.0.range(prefix.to_owned()..).next().is_some_and(|(k, _)| k.starts_with(prefix))
    }

    fn dim(&self, name: &str, axis: usize) -> Option<usize> {
        self.0.get(name)?.shape.get(axis).copied()
    }

    /// How many numbered parts follow `prefix`: 12 for `blocks.0.…` to `blocks.11.…`.
    fn count(&self, prefix: &str) -> usize {
        (0..).take_while(|i| self.any(&format!("{prefix}{i}."))).count()
    }
}

fn pi_sam(keys: &Keys<'_>) -> Option<Identity> {
    // The decoder is saved alone, with or without the name it has in the whole model.
    let prefix = ["", "mask_decoder.", "decoder."].into_iter().find(|p| keys.any(&format!("{p}interact_2.")))?;
    match keys.dim(&format!("{prefix}compress_vit_feat.0.weight"), 0)? {
        160 => Identity::one("pi-sam-mobile", "Pi-SAM's decoder"),
        768 => Identity::one("pi-sam-b", "Pi-SAM's decoder"),
        1024 => Identity::one("pi-sam-l", "Pi-SAM's decoder"),
        1280 => Identity::one("pi-sam-h", "Pi-SAM's decoder"),
        _ => None,
    }
}

fn sam2(keys: &Keys<'_>) -> Option<Identity> {
    let trunk = "image_encoder.trunk.";
    let dim = keys.dim(&format!("{trunk}patch_embed.proj.weight"), 0)?;
    let blocks = keys.count(&format!("{trunk}blocks."));
    let [old, new] = match (dim, blocks) {
        (96, 12) => ["sam2-tiny", "sam2.1-tiny"],
        (96, 16) => ["sam2-small", "sam2.1-small"],
        (112, 24) => ["sam2-base-plus", "sam2.1-base-plus"],
        (144, 48) => ["sam2-large", "sam2.1-large"],
        _ => return None,
    };
    let decoder = keys.any("sam_mask_decoder.") && keys.any("sam_prompt_encoder.");
    let part = (!decoder).then_some(ENCODER);
    if keys.has("no_obj_embed_spatial") || keys.any("obj_ptr_tpos_proj.") {
        return Some(Identity { candidates: vec![new], detail: "SAM 2.1", part });
    }
    // Only a file with the memory, where 2.1 has the two tensors above, is certainly 2.0.
    if keys.has("maskmem_tpos_enc") && keys.any("memory_attention.") && keys.any("obj_ptr_proj.") {
        return Some(Identity { candidates: vec![old], detail: "SAM 2.0", part });
    }
    let part = Some(if decoder { "image part only" } else { ENCODER });
    Some(Identity { candidates: vec![old, new], detail: "SAM 2.0 or 2.1", part })
}

fn sam1(keys: &Keys<'_>) -> Option<Identity> {
    let decoder = keys.any("mask_decoder.") && keys.any("prompt_encoder.");
    let part = (!decoder).then_some(ENCODER);
    let known = |model, detail| Some(Identity { candidates: vec![model], detail, part });
    if keys.has("image_encoder.patch_embed.seq.0.c.weight") {
        return match keys.dim("image_encoder.neck.0.weight", 1) {
            Some(320) => known("mobile-sam", "MobileSAM"),
            _ => None,
        };
    }
    let dim = keys.dim("image_encoder.patch_embed.proj.weight", 0)?;
    match (dim, keys.count("image_encoder.blocks.")) {
        (768, 12) => known("sam-vit-b", "SAM ViT-B"),
        (1024, 24) => known("sam-vit-l", "SAM ViT-L"),
        (1280, 32) => known("sam-vit-h", "SAM ViT-H"),
        _ => None,
    }
}

fn is_net(keys: &Keys<'_>) -> Option<Identity> {
    // The ground-truth encoder has stages too, but no decoder stages.
    if !(keys.any("stage1.rebnconvin.") && keys.any("stage1d.") && keys.any("side1.")) {
        return None;
    }
    match keys.dim("conv_in.weight", 1)? {
        3 => Identity::one("is-net", "IS-Net"),
        5 => Identity::one("dis-sam", "DIS-SAM's IS-Net"),
        _ => None,
    }
}
