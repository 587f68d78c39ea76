//! Sizes read from a checkpoint: the authors' small model is not fixed by their code.

use beit3_encoder::Beit3Config;
use hiera_encoder::HieraConfig;
use seg_checkpoints::Checkpoint;

use super::config::MpgSam2Config;
use crate::error::{Error, Result};
use crate::sam2::{Sam2Config, Sam2Version};

/// Channels of a head in both published BEiT-3: no tensor's shape tells.
const HEAD: usize = 64;

impl MpgSam2Config {
    /// The sizes of a checkpoint's model, from the shapes of its tensors.
    ///
    /// # Errors
    /// [`Error::Sizes`] for a file that lacks the tensors that tell, or in which they contradict each other or are of no known trunk.
    pub fn of(file: &Checkpoint) -> Result<Self> {
        let shapes = Shapes(file);
        let beit3 = shapes.beit3()?;
        let mut config = Self::new(beit3, Sam2Config::new(Sam2Version::V2_0, shapes.trunk()?));
        config.prior.ffn_dim = shapes.axis("visual_ifi.linear1.weight", 0)?;
        config.fusion.ffn_dim = shapes.axis("visual_model.sam_mask_decoder.vtlfusion_module.linear1.weight", 0)?;
        let (prior, width) = (shapes.axis("mask_linear.weight", 0)?, config.beit3.embed_dim);
        if prior != width {
            let problem = format!("mask_linear is {prior} wide, BEiT-3 {width}; expected the same");
            return Err(shapes.problem(problem));
        }
        config.validate().map_err(|e| shapes.problem(e.to_string()))?;
        Ok(config)
    }
}

struct Shapes<'f>(&'f Checkpoint);

impl Shapes<'_> {
    fn problem(&self, problem: String) -> Error {
        Error::Sizes { path: self.0.path().to_path_buf(), model: "MPG-SAM 2", problem }
    }

    /// The length of an axis of the tensor `name`.
    fn axis(&self, name: &str, axis: usize) -> Result<usize> {
        let Some(info) = self.0.get(name) else { return Err(self.problem(format!("no tensor `{name}`"))) };
        let shape = &info.shape;
        shape.get(axis).copied().ok_or_else(|| self.problem(format!("`{name}` of shape {shape:?}")))
    }

    /// How many numbered parts there are: 12 for `layers.0…` to `layers.11…`, told by a tensor of each.
    fn count(&self, prefix: &str, tensor: &str) -> usize {
        (0..).take_while(|i| self.0.get(&format!("{prefix}{i}.{tensor}")).is_some()).count()
    }

    fn beit3(&self) -> Result<Beit3Config> {
        let at = |name: &str| format!("mm_extractor.beit3.{name}");
        let patch_size = self.axis(&at("vision_embed.proj.weight"), 2)?;
        let (vocab_size, embed_dim) =
            (self.axis(&at("text_embed.weight"), 0)?, self.axis(&at("text_embed.weight"), 1)?);
        let positions = self.axis(&at("encoder.embed_positions.A.weight"), 0)?;
        let patches = positions.saturating_sub(Beit3Config::POSITION_OFFSET + 1);
        let side = patches.isqrt();
        if side * side != patches || side == 0 {
            return Err(self.problem(format!("a vision position table of {positions} rows, expected 3 and a square")));
        }
        if embed_dim == 0 || !embed_dim.is_multiple_of(HEAD) {
            return Err(self.problem(format!("BEiT-3 is {embed_dim} wide, expected a multiple of {HEAD}")));
        }
        Ok(Beit3Config {
            image_size: side * patch_size,
            patch_size,
            embed_dim,
            depth: self.count(&at("encoder.layers."), "self_attn.q_proj.A.weight"),
            num_heads: embed_dim / HEAD,
            ffn_dim: self.axis(&at("encoder.layers.0.ffn.A.fc1.weight"), 0)?,
            vocab_size,
            max_text_positions: self.axis(&at("encoder.embed_positions.B.weight"), 0)?,
            ..Beit3Config::base()
        })
    }

    fn trunk(&self) -> Result<HieraConfig> {
        const TRUNK: &str = "visual_model.image_encoder.trunk.";
        let width = self.axis(&format!("{TRUNK}patch_embed.proj.weight"), 0)?;
        let blocks = self.count(&format!("{TRUNK}blocks."), "norm1.weight");
        let known = [HieraConfig::tiny(), HieraConfig::small(), HieraConfig::base_plus(), HieraConfig::large()];
        let fits = |trunk: &HieraConfig| (trunk.embed_dim, trunk.stages.iter().sum::<usize>()) == (width, blocks);
        known.into_iter().find(fits).ok_or_else(|| {
            self.problem(format!(
                "a Hiera of {blocks} blocks, {width} wide at first; expected tiny, small, base-plus or large"
            ))
        })
    }
}
