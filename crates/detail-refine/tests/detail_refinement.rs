//! MGD-SAM2's DRM: gradients, and bands.

use candle_core::{DType, Device, Result, Tensor};
use detail_refine::{DetailRefinement, DetailRefinementConfig};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights, inputs::noise};

struct Inputs {
    image: Tensor,
    locals: Tensor,
    global: Tensor,
}

fn inputs(h: usize, w: usize, dim: usize, dtype: DType) -> Result<Inputs> {
    let device = &Device::Cpu;
    let map = |name, dims: [usize; 4]| noise(name, &dims, "", 2., device)?.to_dtype(dtype);
    Ok(Inputs {
        image: Pattern::new("input.image").image(h, w, device)?.to_dtype(dtype)?,
        locals: map("locals", [1, h / 4, w / 4, dim])?,
        global: map("global", [1, h / 8, w / 8, dim])?,
    })
}

#[test]
fn every_weight_gets_the_right_gradient() -> Result<()> {
    let cfg = DetailRefinementConfig { dim: 4, out_dim: 2 };
    for train in [false, true] {
        let weights = TrainableWeights::new(GeneratedWeights::new(""));
        let net = DetailRefinement::new(&cfg, weights.var_builder(DType::F64, &Device::Cpu))?;
        let Inputs { image, locals, global } = inputs(16, 24, 4, DType::F64)?;
        let loss = || net.forward_t(&image, &locals, &global, train)?.sqr()?.mean_all();
        // in train mode a bias before a batch norm does nothing
        let idle: &[&str] = match train {
            true => &["conv1.0.bias", "conv2.0.bias", "conv3.0.bias", "projector.1.bias", "fusion_feature.bias"],
            false => &[],
        };
        assert_eq!(weights.faults(&loss()?.backward()?, idle)?, Vec::<String>::new());
        let wrong = weights.check_directions(loss, 1e-5)?;
        assert!(wrong.iter().all(|fault| idle.iter().any(|part| fault.contains(part))), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn bands_give_what_the_whole_map_gives() -> Result<()> {
    let cfg = DetailRefinementConfig { dim: 8, out_dim: 4 };
    let Inputs { image, locals, global } = inputs(272, 96, 8, DType::F32)?; // the last band is lower than the others
    let banded = DetailRefinement::new(&cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))?;
    // weights that are trained need the whole map
    let trained = TrainableWeights::new(GeneratedWeights::new(""));
    let whole = DetailRefinement::new(&cfg, trained.var_builder(DType::F32, &Device::Cpu))?;
    let (banded, whole) =
        (banded.forward_t(&image, &locals, &global, false)?, whole.forward_t(&image, &locals, &global, false)?);
    assert_eq!(banded.dims(), [1, 1, 272, 96]);
    let difference = (&banded - whole.detach())?.abs()?.max_all()?.to_scalar::<f32>()?;
    let size = whole.detach().abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-5 * size, "{difference} of {size}");
    Ok(())
}

#[test]
fn features_of_another_size_are_refused() -> Result<()> {
    let cfg = DetailRefinementConfig { dim: 4, out_dim: 2 };
    let net = DetailRefinement::new(&cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))?;
    let Inputs { image, locals, global } = inputs(16, 24, 4, DType::F32)?;
    let message = net.forward_t(&image, &locals.narrow(2, 0, 4)?, &global, false).unwrap_err().to_string();
    assert!(message.contains("[1, 4, 4, 4]") && message.contains("a quarter"), "{message}");
    Ok(())
}
