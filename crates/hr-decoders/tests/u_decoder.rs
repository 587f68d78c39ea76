//! The U-decoders' blocks: every weight gets the right gradient, and what the glue layer leaves out changes nothing.

use candle_core::{DType, Device, Result, Tensor};
use hr_decoders::u_decoder::{DenseGlue, Rfb, Up, UpOrder};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_ops::Resize;

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn check<M>(
    new: impl FnOnce(candle_nn::VarBuilder) -> Result<M>,
    forward: impl Fn(&M, bool) -> Result<Tensor>,
) -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let module = new(weights.var_builder(DType::F64, &Device::Cpu))?;
    for train in [false, true] {
        let loss = || (forward(&module, train)? + 0.3)?.sqr()?.mean_all();
        assert_eq!(weights.faults(&loss()?.backward()?, &[])?, Vec::<String>::new());
        assert_eq!(weights.check_directions(loss, 1e-5)?, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn up_of_both_orders() -> Result<()> {
    for (order, skip_size) in [(UpOrder::ConcatFirst, 3), (UpOrder::UpsampleFirst, 6)] {
        let deep = noise("input.deep", &[2, 3, 3, 4])?;
        let skip = noise("input.skip", &[2, skip_size, skip_size, 4])?;
        check(|vb| Up::new(8, 5, order, vb), |up, train| up.forward_t(deep.clone(), Some(&skip), train))?;
    }
    Ok(())
}

#[test]
fn up_without_a_skip() -> Result<()> {
    let deep = noise("input.deep", &[2, 3, 2, 6])?;
    check(|vb| Up::new(6, 4, UpOrder::ConcatFirst, vb), |up, train| up.forward_t(deep.clone(), None, train))
}

#[test]
fn rfb() -> Result<()> {
    let x = noise("input.x", &[2, 6, 5, 3])?;
    check(|vb| Rfb::new(3, 4, vb), |rfb, train| rfb.forward_t(&x, train))
}

fn glue(vb: candle_nn::VarBuilder) -> Result<DenseGlue> {
    DenseGlue::new(2, 5, 3, 4, &vb)
}

#[test]
fn dense_glue() -> Result<()> {
    let (main, aux) = (noise("input.main", &[2, 6, 5, 3])?, noise("input.aux", &[2, 2, 3, 5])?);
    check(glue, |glue, _| glue.reduce(&main, &glue.align(&aux)?))
}

/// Aligned, enlarged, put beside the main map and reduced: as the figure has it.
#[test]
fn dense_glue_step_by_step() -> Result<()> {
    let weights = GeneratedWeights::new("");
    let vb = weights.var_builder(DType::F64, &Device::Cpu);
    let (main, aux) = (noise("input.main", &[2, 6, 5, 3])?, noise("input.aux", &[2, 2, 3, 5])?);
    let glue = glue(vb.clone())?;
    let aligned = glue.align(&aux)?;
    let large = seg_ops::resize_nhwc(&aligned, (6, 5), &Resize::bilinear())?;
    let (weight, bias) = (vb.get((4, 6, 1, 1), "reduce2.weight")?, vb.get(4, "reduce2.bias")?);
    let both = Tensor::cat(&[&main, &large], 3)?;
    let expected = both.broadcast_matmul(&weight.flatten_from(1)?.t()?)?.broadcast_add(&bias)?;
    let difference = (glue.reduce(&main, &aligned)? - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(difference < 1e-12, "{difference}");
    Ok(())
}

#[test]
fn maps_that_do_not_fit_are_refused() -> Result<()> {
    let up = |order| Up::new(8, 5, order, GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu));
    let (deep, skip) = (noise("input.deep", &[1, 3, 3, 4])?, noise("input.skip", &[1, 5, 5, 4])?);
    assert!(up(UpOrder::ConcatFirst)?.forward_t(deep.clone(), Some(&skip), false).is_err());
    assert!(up(UpOrder::UpsampleFirst)?.forward_t(deep, Some(&skip), false).is_err());
    Ok(())
}
