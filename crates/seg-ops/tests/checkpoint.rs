//! What is computed again gives the gradients of what was kept, to the bit.

use candle_core::{DType, Device, Result, Tensor, Var};
use seg_ops::{Epilogue, Pass, checkpoint};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn var(dims: &[usize], dtype: DType, shift: f64) -> Result<Var> {
    let n = dims.iter().product::<usize>() as f64;
    let values = Tensor::arange(0f64, n, &Device::Cpu)?.affine(0.37, shift)?.sin()?;
    Var::from_tensor(&values.reshape(dims)?.to_dtype(dtype)?)
}

/// Two layers with a residual, of which the weights are not among the inputs.
fn block(x: &Tensor, skip: &Tensor, w: &[Var]) -> Result<Tensor> {
    let y = seg_ops::gelu(&seg_ops::linear(x, &w[0], Some(&w[1]), Epilogue::NONE)?)?;
    let y = seg_ops::layer_norm(&y, &w[2], Some(&w[3]), 1e-6)?;
    (seg_ops::linear(&y, &w[4], None, Epilogue::NONE.with_residual(x))? * skip)? + x.sqr()?
}

#[test]
fn gradients_are_the_same_to_the_bit() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let [x, skip] = [var(&[3, 5, 8], dtype, 0.)?, var(&[3, 5, 8], dtype, 1.)?];
        let weights = [
            var(&[16, 8], dtype, 2.)?,
            var(&[16], dtype, 3.)?,
            var(&[16], dtype, 4.)?,
            var(&[16], dtype, 5.)?,
            var(&[8, 16], dtype, 6.)?,
        ];
        let constant = var(&[3, 5, 8], dtype, 7.)?.as_detached_tensor();
        // the inputs are computed, too, and so is what comes behind; twice, so that gradients of weights are sums
        let around = |f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| -> Result<_> {
            let (a, b) = ((x.as_tensor() * 1.5)?, skip.tanh()?);
            let y = f(&f(&a, &b)?.tanh()?, &constant)?;
            let loss = y.sin()?.sum_all()?;
            Ok((loss.clone(), loss.backward()?))
        };
        let (loss, grads) = around(&|x, skip| block(x, skip, &weights))?;
        let again = Arc::new(AtomicUsize::new(0));
        let (loss2, grads2) = around(&|x, skip| {
            let (weights, again) = (weights.clone(), Arc::clone(&again));
            checkpoint(&[x, skip], move |inputs, pass| {
                again.fetch_add(usize::from(pass == Pass::Again), Ordering::Relaxed);
                block(&inputs[0], &inputs[1], &weights)
            })
        })?;
        assert_eq!(again.load(Ordering::Relaxed), 2);
        let bits = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        assert_eq!(bits(&loss)?, bits(&loss2)?);
        for v in [&x, &skip].into_iter().chain(&weights) {
            let (a, b) = (grads.get(v).expect("a gradient"), grads2.get(v).expect("a gradient, checkpointed"));
            assert_eq!(bits(a)?, bits(b)?, "{dtype:?} {:?}", v.dims());
        }
        assert!(grads2.get(&constant).is_none());
    }
    Ok(())
}

#[test]
fn nothing_of_the_inside_is_kept() -> Result<()> {
    let (x, w) = (var(&[4, 4], DType::F32, 0.)?, var(&[4, 4], DType::F32, 1.)?);
    let weight = w.clone();
    let y = checkpoint(&[x.as_tensor()], move |x, _| x[0].matmul(&weight)?.sin()?.exp())?;
    // the value, its token, the input and the weight
    assert_eq!(y.sorted_nodes().len(), 4);
    Ok(())
}

#[test]
fn without_gradients_it_runs_once() -> Result<()> {
    let x = var(&[4], DType::F32, 0.)?.as_detached_tensor();
    let y = checkpoint(&[&x], |x, _| x[0].sqr())?;
    assert!(!y.track_op());
    assert_eq!(y.to_vec1::<f32>()?, x.sqr()?.to_vec1::<f32>()?);
    Ok(())
}

#[test]
fn an_input_that_is_not_used_gets_zeros() -> Result<()> {
    let (x, unused) = (var(&[4], DType::F32, 0.)?, var(&[4], DType::F32, 1.)?);
    let y = checkpoint(&[x.as_tensor(), &(unused.as_tensor() * 2.)?], |x, _| x[0].sqr())?;
    let grads = y.sum_all()?.backward()?;
    assert_eq!(grads.get(&unused).expect("zeros").to_vec1::<f32>()?, [0.; 4]);
    Ok(())
}
