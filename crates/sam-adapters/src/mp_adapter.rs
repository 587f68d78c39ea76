//! MGD-SAM2's multi-view adapter (arXiv 2503.23786, section 3.2; models/sam2/modeling/backbones/hieradet.py of sevenshr/MGD-SAM2).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::{BlockHook, HieraConfig};
use multiview_fusion::ViewGrid;
use seg_layers::{DepthwisePair, Epilogue, Linear, trace};
use seg_ops::Resize;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of the adapters of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpAdapterConfig {
    /// Channels of each of the trunk's stages.
    pub stage_channels: Vec<usize>,
    /// Blocks in each stage.
    pub stages: Vec<usize>,
    /// A block's adapter is this much narrower than the block's input.
    pub scale_factor: usize,
    /// Local views along a side of the image.
    pub views_per_side: usize,
}

impl MpAdapterConfig {
    /// MGD-SAM2's: bottlenecks of a thirty-second, four local views.
    pub fn new(trunk: &HieraConfig) -> Self {
        Self {
            stage_channels: trunk.stage_channels(),
            stages: trunk.stages.clone(),
            scale_factor: 32,
            views_per_side: ViewGrid::MGD_SAM2.per_side(),
        }
    }

    /// Group and place in the group of every block's adapter. A group has one input width: the first block of a stage still gets the stage
    /// before's.
    fn places(&self) -> Vec<(usize, usize)> {
        let mut used = vec![0; self.stages.len()];
        let mut places = Vec::new();
        for (stage, &blocks) in self.stages.iter().enumerate() {
            for block in 0..blocks {
                let group = if block == 0 { stage.saturating_sub(1) } else { stage };
                places.push((group, used[group]));
                used[group] += 1;
            }
        }
        places
    }

    /// Keys below `mpadapter` that official files have and nothing reads, as beginnings: the adapters that are made for blocks that a group does not
    /// have, and a layer a group that is never called.
    pub fn unused(&self) -> Vec<String> {
        let places = self.places();
        let spare = self.stages.iter().enumerate().flat_map(|(group, &blocks)| {
            let used = places.iter().filter(|place| place.0 == group).count();
            (used..=blocks).map(move |i| format!("lightweight_mlp{}_{i}.", group + 1))
        });
        spare.chain((1..=self.stages.len()).map(|group| format!("shared_mlp{group}."))).collect()
    }
}

/// One adapter a block, added to the block's input: `x + up(gelu(mix(down(x))))`, where `mix` lets the views see each other.
///
/// Keys: `lightweight_mlp{group}_{i}.{0,1.dwconv_loc,1.dwconv_glb,3}`. Official files also hold [`MpAdapterConfig::unused`].
#[derive(Clone, Debug)]
pub struct MpAdapter {
    adapters: Vec<Adapter>,
}

#[derive(Clone, Debug)]
struct Adapter {
    name: String,
    down: Linear,
    dwconv_loc: DepthwisePair,
    dwconv_glb: DepthwisePair,
    up: Linear,
    grid: ViewGrid,
}

impl MpAdapter {
    /// Reads the adapters; `vb` is at `image_encoder.trunk.mpadapter` of an official file.
    pub fn new(cfg: &MpAdapterConfig, vb: VarBuilder) -> Result<Self> {
        let grid = ViewGrid::new(cfg.views_per_side)?;
        let adapter = |(group, i): (usize, usize)| {
            let Some(&dim) = cfg.stage_channels.get(group) else {
                candle_core::bail!(
                    "MpAdapterConfig: {} widths for {} stages, expected as many",
                    cfg.stage_channels.len(),
                    cfg.stages.len()
                );
            };
            let inner = dim / cfg.scale_factor.max(1);
            if inner == 0 {
                candle_core::bail!(
                    "MpAdapterConfig: scale_factor {} leaves nothing of {dim} channels",
                    cfg.scale_factor
                );
            }
            let name = format!("lightweight_mlp{}_{i}", group + 1);
            let vb = vb.pp(&name);
            Ok(Adapter {
                name,
                down: Linear::new(dim, inner, vb.pp("0"))?,
                dwconv_loc: DepthwisePair::new(inner, 3, vb.pp("1.dwconv_loc"))?,
                dwconv_glb: DepthwisePair::new(inner, 3, vb.pp("1.dwconv_glb"))?,
                up: Linear::new(inner, dim, vb.pp("3"))?,
                grid,
            })
        };
        Ok(Self { adapters: cfg.places().into_iter().map(adapter).collect::<Result<_>>()? })
    }

    /// Name of block `index`'s adapter.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.adapters.get(index).map(|adapter| adapter.name.as_str())
    }

    /// What block `index`'s adapter adds to the views `x` `[(n² + 1)·B, H, W, C]`, of the same shape.
    pub fn delta(&self, index: usize, x: &Tensor) -> Result<Tensor> {
        self.adapter(index)?.forward_with(x, Epilogue::NONE)
    }

    fn adapter(&self, index: usize) -> Result<&Adapter> {
        match self.adapters.get(index) {
            Some(adapter) => Ok(adapter),
            None => candle_core::bail!("MpAdapter: block {index}, but there are adapters for {}", self.adapters.len()),
        }
    }
}

impl BlockHook for MpAdapter {
    fn before_block(&self, index: usize, x: Tensor) -> Result<Tensor> {
        let _adapter = trace::module("mpadapter");
        self.adapter(index)?.forward_with(&x, Epilogue::NONE.with_residual(&x))
    }

    fn shared(&self) -> Option<Arc<dyn BlockHook + Send + Sync>> {
        Some(Arc::new(self.clone()))
    }
}

impl Adapter {
    fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let mixed = self.mix(&self.down.forward(x)?)?; // [(n² + 1)·B, H, W, C / scale_factor]
        self.up.forward_with(&seg_ops::gelu(&mixed)?, epilogue)
    }

    /// Locals, put together, get a look at the globals, and globals at the locals, each at the other's size.
    fn mix(&self, x: &Tensor) -> Result<Tensor> {
        let (locals, globals) = self.grid.parts(x)?;
        let joined = self.grid.join(&locals)?; // [B, n·H, n·W, c]
        let size = |map: &Tensor| Ok::<_, candle_core::Error>((map.dim(1)?, map.dim(2)?));
        let reduced = seg_ops::resize_nhwc(&joined, size(&globals)?, &Resize::bilinear())?;
        let enlarged = seg_ops::resize_nhwc(&globals, size(&joined)?, &Resize::bilinear())?;
        let globals = self.dwconv_glb.forward(&globals, &reduced, Some(&globals))?;
        let joined = self.dwconv_loc.forward(&joined, &enlarged, Some(&joined))?;
        Tensor::cat(&[self.grid.split(&joined)?, globals], 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_input_width() {
        let cfg = MpAdapterConfig::new(&HieraConfig::base_plus());
        let places = cfg.places();
        assert_eq!(places[..4], [(0, 0), (0, 1), (0, 2), (1, 0)]);
        assert_eq!((places[6], places[21], places[22], places[23]), ((2, 0), (2, 15), (3, 0), (3, 1)));
        assert_eq!(
            cfg.unused(),
            [
                "lightweight_mlp2_3.",
                "lightweight_mlp3_16.",
                "lightweight_mlp4_2.",
                "lightweight_mlp4_3.",
                "shared_mlp1.",
                "shared_mlp2.",
                "shared_mlp3.",
                "shared_mlp4."
            ]
        );
    }
}
