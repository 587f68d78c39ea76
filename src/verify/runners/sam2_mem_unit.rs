//! `sam2_mem_unit`: memory attention and memory encoder alone.

use super::sam2_config::sam2_video_config;
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use candle_core::Tensor;
use video_memory::{AxialRope, MemoryAttention, MemoryEncoder, MemoryTokens, sine_position_1d};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let cfg = sam2_video_config(run)?.memory;
    let weights = Weights::of(case, "model")?;
    let vb = weights.var_builder(device);
    let attention = MemoryAttention::new(&cfg.attention, vb.pp("memory_attention"))?;
    let encoder = MemoryEncoder::new(&cfg.encoder, vb.pp("memory_encoder"))?;
    weights.check(run.checks, &[]);

    // stored sequence first
    let tokens = |name: &str, factor: f32| -> Result<Tensor> {
        Ok(run.inputs().noise(name, &run.inputs().shape(name)?, factor)?.transpose(0, 1)?.contiguous()?)
    };
    let (curr, curr_pos) = (tokens("input.curr", 4.0)?, tokens("input.curr_pos", 1.0)?);
    let pointers: usize = field(case, "config.nptr", &case.config["nptr"])?;
    let memory = MemoryTokens {
        tokens: tokens("input.memory", 4.0)?,
        positions: tokens("input.memory_pos", 1.0)?,
        num_obj_ptr_tokens: pointers * (cfg.attention.d_model / cfg.attention.kv_in_dim),
    };
    let grid: usize = field(case, "config.grid", &case.config["grid"])?;
    let checks = &mut *run.checks;
    let conditioned =
        attention.forward_with(&curr, &curr_pos, (grid, grid), &memory, &mut |name: &str, tensor: &Tensor| {
            checks.tensor(&format!("memory_attention.{name}"), tensor);
            Ok(())
        })?;
    checks.tensor("memory_attention.out", &conditioned.transpose(0, 1)?);
    let head_dim = cfg.attention.d_model / cfg.attention.num_heads;
    let rope = AxialRope::new(head_dim, cfg.attention.rope_theta, (grid, grid), &curr)?;
    checks.tensor(&format!("rope_cis_{}_as_real", grid * grid), &Tensor::stack(&[rope.cos, rope.sin], 2)?);

    let pix_feat = run.inputs().noise("input.pix_feat", &run.inputs().shape("input.pix_feat")?, 4.0)?;
    let masks = run.inputs().noise("input.masks", &run.inputs().shape("input.masks")?, 20.0)?;
    let checks = &mut *run.checks;
    let features = encoder.forward_with(&pix_feat, &masks, &mut |name: &str, tensor: &Tensor| {
        checks.tensor(&format!("memory_encoder.{name}"), tensor);
        Ok(())
    })?;
    checks.tensor("memory_encoder.vision_features", &features);
    let (b, channels, h, w) = features.dims4()?;
    let position = seg_layers::sine_position_map(channels, h, w, device)?;
    checks.tensor("memory_encoder.vision_pos_enc", &position.broadcast_as((b, channels, h, w))?);
    let inside = seg_ops::activate(&masks, seg_ops::Activation::Sigmoid)?;
    checks.tensor("memory_encoder.sigmoid_vision_features", &encoder.forward(&pix_feat, &inside)?);
    check_sine_1d(run)
}

/// The JSON does not name the positions: they are read off the first sine and cosine of each row, whose wavelength is 2π,
/// and the other channels are compared.
fn check_sine_1d(run: &mut Run<'_, '_>) -> Result<()> {
    const NAME: &str = "get_1d_sine_pe";
    let Some(&[_, channels]) = run.case.output(NAME).map(|o| &o.shape[..]) else { return Ok(()) };
    let stored = run.case.stored_values(NAME).unwrap_or_default();
    let positions: Vec<f64> = stored.chunks_exact(channels.max(2)).map(|row| row[0].atan2(row[channels / 2])).collect();
    run.checks.tensor(NAME, &sine_position_1d(&positions, channels, run.device)?);
    Ok(())
}
