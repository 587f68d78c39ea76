//! Every weight of the memory gets the right gradient, through maps and pointers of past frames.

use candle_core::{DType, Device, Result, Tensor, Var};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use video_memory::{
    Direction, MemoryAttentionConfig, MemoryBank, MemoryEncoderConfig, MemoryFrame, Retention, VideoMemory,
    VideoMemoryConfig,
};

const SIDE: usize = 3;

fn small(cfg: VideoMemoryConfig) -> VideoMemoryConfig {
    VideoMemoryConfig {
        attention: MemoryAttentionConfig {
            d_model: 16,
            kv_in_dim: 8,
            num_layers: 2,
            dim_feedforward: 24,
            ..cfg.attention
        },
        encoder: MemoryEncoderConfig { in_dim: 16, out_dim: 8, mask_halvings: 2, fuser_layers: 2 },
        ..cfg
    }
}

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 4.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn check(cfg: &VideoMemoryConfig) -> Result<()> {
    let device = Device::Cpu;
    // asked for because official files have it; nothing uses it
    let weights = TrainableWeights::new(GeneratedWeights::new("a")).freeze("no_mem_pos_enc");
    let memory = VideoMemory::new(cfg, weights.var_builder(DType::F64, &device))?;
    let frames = [noise("input.0", &[1, 16, SIDE, SIDE])?, noise("input.1", &[1, 16, SIDE, SIDE])?];
    let mask = noise("input.mask", &[1, 1, 4 * SIDE, 4 * SIDE])?;
    let pointers = [Var::from_tensor(&noise("input.p0", &[1, 16])?)?, Var::from_tensor(&noise("input.p1", &[1, 16])?)?];

    let loss = || -> Result<Tensor> {
        let mut bank = MemoryBank::new(&cfg.bank, Retention::Reach);
        for (i, pointer) in pointers.iter().enumerate() {
            // the second frame is without the object
            let score = Tensor::new(&[[1.0 - 2.0 * i as f64]], &device)?;
            let map = memory.encode_exact(&frames[i], &mask, &score, i == 0)?;
            let frame = MemoryFrame {
                maskmem_features: Some(map),
                obj_ptr: pointer.as_tensor().clone(),
                object_score_logits: score,
                pred_masks: None,
            };
            if i == 0 { bank.insert_conditioning(i, frame) } else { bank.insert_tracked(i, frame) }
        }
        let seen = memory.condition(&frames[0], &bank.select(2, Direction::Forward, None))?;
        (seen * noise("input.direction", &[1, 16, SIDE, SIDE])?)?.sum_all()
    };
    let grads = loss()?.backward()?;
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    assert!(pointers.iter().all(|pointer| grads.get(pointer).is_some()));
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn sam2_1() -> Result<()> {
    check(&small(VideoMemoryConfig::sam2_1()))
}

#[test]
fn sam2_0() -> Result<()> {
    check(&small(VideoMemoryConfig::sam2_0()))
}
