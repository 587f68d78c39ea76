//! The prompt adapter of SAM2-UNet and SAM2-UNeXT: a small bottleneck in front of every block of a frozen trunk (SAM2UNet.py and SAM2UNeXT.py, `Adapter`).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::{BlockHook, Hiera, HieraConfig};
use seg_layers::{Activation, Mlp, Observer, trace};
use std::sync::Arc;

/// Width of the official adapters' bottleneck.
pub const PROMPT_CHANNELS: usize = 32;

/// One adapter a block: `x + gelu(up(gelu(down(x))))`, given to the block in place of `x`.
///
/// Keys: `blocks.N.prompt_learn.{0,2}`.
#[derive(Clone, Debug)]
pub struct PromptAdapters {
    adapters: Vec<Mlp>,
}

impl PromptAdapters {
    /// Reads the adapters, bottlenecks of `hidden` channels; `vb` is at the trunk.
    pub fn new(trunk: &HieraConfig, hidden: usize, vb: VarBuilder) -> Result<Self> {
        let adapter = |(block, dim): (usize, usize)| -> Result<Mlp> {
            let vb = vb.pp("blocks").pp(block).pp("prompt_learn");
            let mlp = Mlp::with_names(&[dim, hidden, dim], &["0", "2"], Activation::Gelu, vb)?;
            Ok(mlp.with_output_activation(Activation::Gelu))
        };
        Ok(Self { adapters: trunk.block_channels().into_iter().enumerate().map(adapter).collect::<Result<_>>()? })
    }
}

impl BlockHook for PromptAdapters {
    fn before_block(&self, index: usize, x: Tensor) -> Result<Tensor> {
        let _span = trace::module("prompt_learn");
        match self.adapters.get(index) {
            Some(adapter) => adapter.forward_residual(x.clone(), &x),
            None => candle_core::bail!("PromptAdapters: block {index}, but there are {} adapters", self.adapters.len()),
        }
    }

    fn shared(&self) -> Option<Arc<dyn BlockHook + Send + Sync>> {
        Some(Arc::new(self.clone()))
    }
}

/// SAM 2's trunk with a prompt adapter in front of every block, under the names that SAM2-UNet and SAM2-UNeXT save it with: a block is
/// `blocks.N.block`, its adapter `blocks.N.prompt_learn`.
#[derive(Clone, Debug)]
pub struct PromptedHiera {
    trunk: Hiera,
    adapters: PromptAdapters,
}

impl PromptedHiera {
    /// Reads trunk and adapters; `vb` is at `sam` (SAM2-UNeXT) or `encoder` (SAM2-UNet) of an official file.
    pub fn new(cfg: &HieraConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            adapters: PromptAdapters::new(cfg, PROMPT_CHANNELS, vb.clone())?,
            // candle's renamed builder has the path of the one inside it, too: at its root it is where `vb` is
            trunk: Hiera::new(cfg, vb.rename_f(wrapped_name).root())?,
        })
    }

    /// See [`Hiera::set_checkpointing`].
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.trunk.set_checkpointing(checkpointing);
    }

    /// Normalised images `[B, 3, H, W]`, sides multiples of 32, to the four stages' maps, channels last: `[B, H/4, W/4, C]` to `[B, H/32, W/32, 8C]`. The
    /// observer sees what [`Hiera::forward_stages`] shows.
    pub fn forward_with(&self, images: Tensor, observer: &mut dyn Observer) -> Result<Vec<Tensor>> {
        let mut stages = Vec::new();
        self.trunk.forward_stages(images, &self.adapters, observer, &mut |map| {
            stages.push(map.clone());
            Ok(())
        })?;
        Ok(stages)
    }
}

/// The name that a trunk's weight has once its blocks are wrapped: `blocks.3.norm1.weight` becomes `blocks.3.block.norm1.weight`.
pub fn wrapped_name(name: &str) -> String {
    match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((index, part)) => format!("blocks.{index}.block.{part}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_wrapped_blocks() {
        assert_eq!(wrapped_name("blocks.12.attn.qkv.bias"), "blocks.12.block.attn.qkv.bias");
        assert_eq!(wrapped_name("patch_embed.proj.weight"), "patch_embed.proj.weight");
    }
}
