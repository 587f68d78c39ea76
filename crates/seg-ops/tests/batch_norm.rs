//! Batch normalisation with the batch's own statistics.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::{assert_close, check_op, random, values};
use seg_ops::{AllReduce, BatchNormed, Threads, batch_norm, batch_norm_across, composed};
use std::sync::Arc;

/// Two passes over each channel.
fn naive(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> [Tensor; 3] {
    let c = weight.elem_count();
    let (data, weight, bias) = (values(x), values(weight), values(bias));
    let n = (data.len() / c) as f64;
    let mean: Vec<f64> = (0..c).map(|c0| data.iter().skip(c0).step_by(c).sum::<f64>() / n).collect();
    let variance: Vec<f64> =
        (0..c).map(|c0| data.iter().skip(c0).step_by(c).map(|v| (v - mean[c0]).powi(2)).sum::<f64>() / n).collect();
    let y: Vec<f64> = data
        .iter()
        .enumerate()
        .map(|(i, v)| (v - mean[i % c]) / (variance[i % c] + eps).sqrt() * weight[i % c] + bias[i % c])
        .collect();
    let vector = |v: Vec<f64>| Tensor::from_vec(v, c, &Device::Cpu).unwrap();
    [Tensor::from_vec(y, x.dims(), &Device::Cpu).unwrap(), vector(mean), vector(variance)]
}

#[test]
fn statistics_values_and_gradients() {
    for dims in [&[2, 3, 5, 4][..], &[7, 9], &[1, 1, 2, 3], &[3, 40, 20, 2]] {
        let c = dims[dims.len() - 1];
        let inputs = [((random(dims, 1) * 2.).unwrap() + 0.5).unwrap(), random(&[c], 2), random(&[c], 3)];
        let [y, mean, variance] = naive(&inputs[0], &inputs[1], &inputs[2], 1e-3);
        check_op(&inputs, &y, &|t| Ok(batch_norm(&t[0], &t[1], &t[2], 1e-3)?.output), &|t| {
            Ok(composed::batch_norm(&t[0], &t[1], &t[2], 1e-3)?.output)
        });
        for f in [batch_norm, composed::batch_norm] {
            let normed = f(&inputs[0], &inputs[1], &inputs[2], 1e-3).unwrap();
            assert_close(&normed.mean, &mean, 1e-12, "mean");
            assert_close(&normed.variance, &variance, 1e-12, "variance");
        }
    }
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    let x = (random(&[4000, 2], 1) + 1000.).unwrap();
    let [ones, zeros] = [Tensor::ones(2, DType::F64, &Device::Cpu), Tensor::zeros(2, DType::F64, &Device::Cpu)];
    let [ones, zeros] = [ones.unwrap(), zeros.unwrap()];
    let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let exact = naive(&narrow(&x), &ones, &zeros, 0.);
    let normed = batch_norm(&narrow(&x), &narrow(&ones), &narrow(&zeros), 0.).unwrap();
    assert_close(&normed.variance, &exact[2], 1e-5, "variance");
}

#[test]
fn refusals_name_the_cause() {
    let (x, c) = (random(&[1, 1, 1, 3], 1), random(&[3], 2));
    let text = batch_norm(&x, &c, &c, 1e-5).unwrap_err().to_string();
    assert!(text.contains("batch_norm: `x` has shape [1, 1, 1, 3]") && text.contains("two elements"), "{text}");
    let text = batch_norm(&random(&[2, 4], 1), &c, &c, 1e-5).unwrap_err().to_string();
    assert!(text.contains("`weight` has shape [3], expected [4]"), "{text}");
    let text = batch_norm(&random(&[2, 3], 1), &c, &c, -1.).unwrap_err().to_string();
    assert!(text.contains("`eps` is -1"), "{text}");
}

/// A function as [`batch_norm_across`].
type Across = fn(&Tensor, &Tensor, &Tensor, f64, Option<&Arc<dyn AllReduce>>) -> Result<BatchNormed>;

/// Output, mean, variance, and the gradients of `x`, weight and bias for a loss that weighs every output by itself.
fn pass(f: Across, [x, w, b, g]: &[Tensor; 4], group: Option<&Arc<dyn AllReduce>>) -> Result<[Tensor; 6]> {
    let vars = [x, w, b].map(|t| Var::from_tensor(t).unwrap());
    let normed = f(&vars[0], &vars[1], &vars[2], 1e-3, group)?;
    assert_eq!(normed.count, 8. * 6.);
    let grads = (normed.output.sqr()? * g)?.sum_all()?.backward()?;
    let [dx, dw, db] = vars.map(|v| grads.get(&v).unwrap().clone());
    Ok([normed.output.detach(), normed.mean, normed.variance, dx, dw, db])
}

#[test]
fn several_processes_are_one_with_all_their_rows() {
    let (x, g) = (((random(&[8, 2, 3, 5], 1) * 2.).unwrap() + 0.5).unwrap(), random(&[8, 2, 3, 5], 4));
    let (w, b) = (random(&[5], 2), random(&[5], 3));
    for f in [batch_norm_across as Across, composed::batch_norm_across] {
        let whole = pass(f, &[x.clone(), w.clone(), b.clone(), g.clone()], None).unwrap();
        // three rows and five: means of means would be wrong
        let mut runs = Vec::new();
        for (group, (from, rows)) in Threads::group(2).into_iter().zip([(0, 3), (3, 5)]) {
            let part = [x.narrow(0, from, rows).unwrap(), w.clone(), b.clone(), g.narrow(0, from, rows).unwrap()];
            runs.push(std::thread::spawn(move || pass(f, &part, Some(&group)).unwrap()));
        }
        let parts: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        for (i, what) in ["output", "mean", "variance", "dx", "dweight", "dbias"].iter().enumerate() {
            let both = match i {
                0 | 3 => Tensor::cat(&[&parts[0][i], &parts[1][i]], 0).unwrap(),
                1 | 2 => parts[1][i].clone(),
                _ => (&parts[0][i] + &parts[1][i]).unwrap(),
            };
            assert_close(&both, &whole[i], 1e-12, what);
        }
    }
}

#[test]
fn one_element_a_process_is_enough_where_there_are_two() {
    let normed = |x: f64, group: Arc<dyn AllReduce>| {
        let t = |v: f64| Tensor::new(&[v], &Device::Cpu).unwrap();
        let x = t(x).reshape((1, 1)).unwrap();
        batch_norm_across(&x, &t(1.), &t(0.), 0., Some(&group)).map(|y| values(&y.output)[0])
    };
    let [first, second] = <[_; 2]>::try_from(Threads::group(2)).unwrap();
    let other = std::thread::spawn(move || normed(5., second).unwrap());
    assert_eq!((normed(3., first).unwrap(), other.join().unwrap()), (-1., 1.));
    let alone = Threads::group(1).remove(0);
    assert!(normed(3., alone).unwrap_err().to_string().contains("in all processes together"));
}

#[test]
fn groups_agree() {
    let runs: Vec<_> = Threads::group(3)
        .into_iter()
        .map(|group| {
            std::thread::spawn(move || {
                let rank = group.rank();
                let later = group.begin(&Tensor::new(&[rank as f32, 1.], &Device::Cpu).unwrap()).unwrap();
                assert!(group.any(rank == 2).unwrap() && !group.any(false).unwrap());
                assert!(group.same(u64::MAX - 5).unwrap() && !group.same(u64::from(rank == 1)).unwrap());
                assert_eq!(later.wait().unwrap().to_vec1::<f32>().unwrap(), [3., 3.]);
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}
