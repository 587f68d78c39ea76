//! `mgd_*`: MGD-SAM2, inference with all intermediate maps, test-time augmentation, and a training step.

use super::unet_family::{images, is_training};
use super::{Result, Run, field, mgd_train};
use crate::verify::weights::Weights;
use candle_core::Tensor;
use hiera_encoder::HieraConfig;
use multiview_fusion::PositionTable;
use seg_golden::Case;
use seg_models::mgd_sam2::{MgdSam2, MgdSam2Config, TestTimeAugmentation, ViewOrder};
use seg_ops::{Activation, Resize};
use serde::Deserialize;

/// The fields of `config.args.encoder_mode` that the official code reads.
#[derive(Deserialize)]
struct EncoderMode {
    num_heads_hiera: usize,
    stages: Vec<usize>,
    global_att_blocks: Vec<usize>,
    window_pos_embed_bkg_spatial_size: [usize; 2],
    window_spec: Vec<usize>,
    /// Deepest stage first.
    backbone_channel_list: Vec<usize>,
    d_model: usize,
    fpn_top_down_levels: Vec<usize>,
    scale_factor: usize,
}

/// The configuration of a case.
pub(super) fn config(case: &Case) -> Result<MgdSam2Config> {
    const AT: &str = "config.args.encoder_mode";
    let mode: EncoderMode = field(case, AT, &case.config["args"]["encoder_mode"])?;
    let [rows, columns] = mode.window_pos_embed_bkg_spatial_size;
    if rows != columns {
        let problem = format!("[{rows}, {columns}], expected a square");
        return Err(case.field_error(&format!("{AT}.window_pos_embed_bkg_spatial_size"), problem).into());
    }
    let Some(&embed_dim) = mode.backbone_channel_list.last() else {
        return Err(case.field_error(&format!("{AT}.backbone_channel_list"), "empty").into());
    };
    let trunk = HieraConfig {
        embed_dim,
        num_heads: mode.num_heads_hiera,
        stages: mode.stages,
        global_att_blocks: mode.global_att_blocks,
        window_spec: mode.window_spec,
        window_pos_embed_bkg_spatial_size: rows,
    };
    let mut config = MgdSam2Config::new(trunk);
    config.image_encoder.d_model = mode.d_model;
    config.image_encoder.fpn_top_down_levels = mode.fpn_top_down_levels;
    config.mpadapter.scale_factor = mode.scale_factor;
    config.image_size = field(case, "config.image", &case.config["image"])?;
    Ok(config)
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let config = config(run.case)?;
    if is_training(run.case) {
        return mgd_train::run(run, &config);
    }
    let weights = Weights::of(run.case, "model")?;
    let model = MgdSam2::new(&config, weights.var_builder(run.device))?;
    let unused = config.unused();
    weights.check(run.checks, &unused.iter().map(String::as_str).collect::<Vec<_>>());
    let images = images(run)?;
    let output =
        model.forward_t(&images, &mut PositionTable::first_call(), false, &mut |name: &str, map: &Tensor| {
            match name {
                // of the official 3-D convolution an axis of 1 is left
                "drm.fusion_feature" => run.checks.tensor(name, &map.unsqueeze(2)?),
                _ => run.checks.tensor(name, map),
            }
            Ok(())
        })?;

    // without anybody looking, large maps go in bands; and the views one after another
    let masks = model.forward(&images, &mut PositionTable::first_call())?;
    same(run, "pred_mask without an observer", &masks, &output.masks)?;
    let model = model.with_view_order(ViewOrder::Sequential);
    let sequential = model.forward(&images, &mut PositionTable::first_call())?;
    same(run, "pred_mask with sequential views", &sequential, &masks)?;
    drop((output, masks, sequential));
    augmented(run, &model, &images)
}

/// Records whether two ways to the same mask agree to what rounding leaves of a number of its size.
fn same(run: &mut Run<'_, '_>, what: &str, ours: &Tensor, other: &Tensor) -> Result<()> {
    const ROUNDING: f64 = 1e-5;
    let most = |t: Tensor| t.abs()?.max_all()?.to_scalar::<f32>().map(f64::from);
    let (difference, size) = (most((ours - other)?)?, most(other.clone())?);
    run.checks.fact(
        what,
        difference <= ROUNDING * size,
        format!("differs by {difference:e} at most, {size:e} is the most"),
    );
    Ok(())
}

/// Test-time augmentation, where the case has it.
fn augmented(run: &mut Run<'_, '_>, model: &MgdSam2, images: &Tensor) -> Result<()> {
    const PROBABILITY: &str = "tta.final_prob";
    if !run.checks.wants("tta.mean_logits") {
        return Ok(());
    }
    let mut table = PositionTable::first_call();
    let logits =
        TestTimeAugmentation::official().forward(model, images, &mut table, &mut |flipped, scale, logits| {
            run.checks.tensor(&format!("tta.flip{}.scale{scale}", u8::from(flipped)), logits);
            Ok(())
        })?;
    run.checks.tensor("tta.mean_logits", &logits);
    if let Some([.., h, w]) = run.case.output(PROBABILITY).map(|output| &output.shape[..]) {
        let resized = seg_ops::resize(&logits, (*h, *w), &Resize::bilinear())?;
        run.checks.tensor(PROBABILITY, &seg_ops::activate(&resized, Activation::Sigmoid)?);
    }
    Ok(())
}
