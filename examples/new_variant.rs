//! A system that no paper has, put together from parts and trained by the loop of `hrseg train`: SAM2-UNeXT's encoders (SAM 2's trunk with adapters, and
//! DINOv2) look at five views of the picture, and MGD-SAM2's fusion (MCEM, HMIM) makes one map of them.
//!
//! ```sh
//! cargo run --release --example new_variant                     # eight steps
//! cargo run --release --example new_variant -- 1500 runs/new    # until it has learnt something: some minutes
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use hrseg::hiera_encoder::HieraConfig;
use hrseg::hr_decoders::u_decoder::DenseGlue;
use hrseg::multiview_fusion::{Hmim, Mcem, McemConfig, PositionTable, ViewGrid};
use hrseg::sam_adapters::PromptedHiera;
use hrseg::seg_checkpoints::{ParameterGroup, ParameterRules, TrainingWeights, Treatment};
use hrseg::seg_data::training::Source;
use hrseg::seg_data::training::procedural::Procedural;
use hrseg::seg_data::training::transform::Prepared;
use hrseg::seg_layers::{Conv2d, Unobserved, conv::nhwc};
use hrseg::seg_ops::{Activation, Resize, activate, resize, resize_nhwc};
use hrseg::seg_train::Result;
use hrseg::seg_train::init::{Begun, Fresh};
use hrseg::seg_train::learners::{Learner, Losses, dense_inputs};
use hrseg::seg_train::losses::StructureLoss;
use hrseg::seg_train::recipe::Recipe;
use hrseg::seg_train::run::{Printed, Run};
use hrseg::vit_encoder::{DinoV2, DinoV2Config};

/// The network.
struct MultiviewUnext {
    grid: ViewGrid,
    sam: PromptedHiera,
    dino: DinoV2,
    glue: Vec<DenseGlue>, // finest first
    mcem: Mcem,
    hmim: Vec<Hmim>, // finest first
    head: Conv2d,
}

impl MultiviewUnext {
    fn new(trunk: &HieraConfig, dino: &DinoV2Config, dim: usize, vb: &VarBuilder) -> candle_core::Result<Self> {
        let grid = ViewGrid::MGD_SAM2;
        let mcem = McemConfig { dim, mlp_dim: 2 * dim, num_heads: 4, ..McemConfig::mgd_sam2() };
        let stages = trunk.stage_channels();
        let glue = stages.iter().enumerate().map(|(i, &c)| DenseGlue::new(i + 1, dino.embed_dim, c, dim, vb));
        Ok(Self {
            grid,
            sam: PromptedHiera::new(trunk, vb.pp("sam"))?,
            dino: DinoV2::new(dino, vb.pp("dino"))?,
            glue: glue.collect::<candle_core::Result<_>>()?,
            mcem: Mcem::new(&mcem, vb.pp("mcem"))?,
            hmim: (1..stages.len())
                .map(|i| Hmim::new(dim, grid, vb.pp(format!("hmim{i}"))))
                .collect::<candle_core::Result<_>>()?,
            head: Conv2d::new(dim, 1, 1, nhwc(1, 0), vb.pp("head"))?,
        })
    }

    /// Normalised images `[B, 3, H, W]` to logits `[B, 1, H, W]`.
    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        let views = self.grid.split_images(images)?; // [5B, 3, H/2, W/2]
        let (side, last) = (self.dino.config().image_size, self.dino.config().depth - 1);
        let small = resize(&views, (side, side), &Resize::bilinear())?;
        let seen = self.dino.intermediate_layers(&small, &[last], &mut Unobserved)?;
        let seen = seen[0].patch_tokens.permute((0, 2, 3, 1))?; // [5B, side/14, side/14, D]
        let mut maps = Vec::new(); // [5B, h, w, C], strides 4 to 32 of the views
        for (stage, glue) in self.sam.forward_with(views, &mut Unobserved)?.iter().zip(&self.glue) {
            maps.push(glue.reduce(stage, &glue.align(&seen)?)?);
        }
        let deepest = maps.pop().ok_or_else(|| candle_core::Error::msg("a trunk without stages"))?;
        let mut joined = self.mcem.forward(&deepest, &mut PositionTable::EachSize)?.joined; // [B, H/32, W/32, C]
        for (views, hmim) in maps.into_iter().zip(&self.hmim).rev() {
            joined = hmim.joined(&hmim.forward(views, &joined)?)?; // [B, 2h, 2w, C]
        }
        let logits = self.head.forward(&joined)?; // [B, H/4, W/4, 1]
        resize_nhwc(&logits, (height, width), &Resize::bilinear())?.permute((0, 3, 1, 2))
    }
}

/// The network as the loop sees it.
struct Variant {
    net: MultiviewUnext,
    weights: TrainingWeights,
}

impl Learner for Variant {
    fn weights(&self) -> &TrainingWeights {
        &self.weights
    }

    fn begun(&self) -> Option<Begun> {
        None
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        dense_inputs(example, &Device::Cpu)
    }

    fn image_size(&self) -> usize {
        128
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let total = StructureLoss::default().forward(&self.net.forward(&inputs[0])?, &inputs[1])?;
        Ok(Losses { total, parts: Vec::new() })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        Ok(activate(&self.net.forward(&inputs[0])?, Activation::Sigmoid)?)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let steps = args.next().map_or(Ok(8), |steps| steps.parse::<u64>())?;
    let made_up = || std::env::temp_dir().join(format!("new-variant-{}", std::process::id()));
    let out = args.next().map_or_else(made_up, PathBuf::from);
    // everything of a recipe works: --set on the command line, here a file of its own
    let recipe = include_str!("../recipes/small/sam2-unext.toml");
    let changes = [format!("length={{ steps = {steps} }}"), "validation.examples=20".into(), "rules={}".into()];
    let recipe = Recipe::parse(recipe, "sam2-unext.toml", &changes)?;

    let trunk: HieraConfig = recipe.model["trunk"].clone().try_into()?;
    // the norm behind the last block would get no gradient: maps are taken before it, and the run would say so and stop
    let dino = DinoV2Config { image_size: 56, embed_dim: 48, depth: 2, num_heads: 3, ..DinoV2Config::vit_s() };
    let dino = DinoV2Config { final_norm: false, ..dino };
    let all = ParameterRules::new([("*", Treatment::Trained(ParameterGroup::new("all", 1., 5e-4)))]);
    let weights = TrainingWeights::new(Fresh { seed: recipe.seed }.var_builder(DType::F32, &Device::Cpu), all);
    let net = MultiviewUnext::new(&trunk, &dino, 32, &weights.var_builder(DType::F32, &Device::Cpu))?;
    let made = |length| Procedural::open(Some("plain"), length).map(|made| Source::Pictures(Arc::new(made)));
    let run = Run::alone(recipe, Arc::new(Variant { net, weights }), made(None)?, Some(made(Some(100))?), out.clone())?;
    let ended = run.train(false, &AtomicBool::new(false), &mut Printed)?;
    println!("{ended:?}; look at {}", out.join("curve.png").display());
    Ok(())
}
