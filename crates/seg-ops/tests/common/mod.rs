//! What the tests share: reproducible tensors, comparison, finite differences, and views that are not contiguous.
#![allow(dead_code, clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};

/// Uniform in -1..1, from the seed alone.
pub fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678);
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            (z >> 11) as f64 / (1u64 << 52) as f64 - 1.
        })
        .collect()
}

/// A f64 tensor of such numbers.
pub fn random(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

/// The elements as f64, row after row.
pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// All elements within `tolerance * max(1, |b|)` of each other, and the same shape.
#[track_caller]
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}: shapes");
    for (i, (x, y)) in values(a).into_iter().zip(values(b)).enumerate() {
        let bound = tolerance * y.abs().max(1.);
        assert!(
            (x - y).abs() <= bound || (x.is_nan() && y.is_nan()) || x == y,
            "{what}: element {i} is {x}, expected {y}"
        );
    }
}

/// The same elements in the same order, but strided: the first and the last axis lie exchanged in memory.
pub fn transposed_view(t: &Tensor) -> Tensor {
    let last = t.rank() - 1;
    t.transpose(0, last).unwrap().contiguous().unwrap().transpose(0, last).unwrap()
}

/// The same elements as part of a larger tensor along every axis.
pub fn narrowed_view(t: &Tensor) -> Tensor {
    let mut y = t.clone();
    for axis in 0..t.rank() {
        let n = y.dim(axis).unwrap();
        let mut dims = y.dims().to_vec();
        dims[axis] = 1;
        let junk = Tensor::full(77f32, dims, &Device::Cpu).unwrap().to_dtype(t.dtype()).unwrap();
        y = Tensor::cat(&[&junk, &y.contiguous().unwrap(), &junk], axis).unwrap().narrow(axis, 1, n).unwrap();
    }
    y
}

/// The same elements in f32, beginning one element behind where memory was given.
pub fn unaligned(t: &Tensor) -> Tensor {
    let flat = t.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
    let one = Tensor::zeros(1, DType::F32, t.device()).unwrap();
    let n = flat.dim(0).unwrap();
    Tensor::cat(&[&one, &flat], 0).unwrap().narrow(0, 1, n).unwrap().reshape(t.dims()).unwrap()
}

/// What f32 makes of the numbers, in f64.
pub fn rounded(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F32).unwrap().to_dtype(DType::F64).unwrap()
}

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Gradients of `Σ f(inputs) · w` for fixed random `w`, all of which must exist.
pub fn gradients(inputs: &[Tensor], f: Op<'_>) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(&t.contiguous().unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap();
    let loss = (&y * random(y.dims(), 4242).to_dtype(y.dtype()).unwrap()).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    vars.iter()
        .enumerate()
        .map(|(i, v)| grads.get(v).unwrap_or_else(|| panic!("input {i} has no gradient")).clone())
        .collect()
}

/// The value of `f` and the gradients of the sum of its squares, where bit `i` of `tracked` says whether input `i` is a variable or frozen.
pub fn partly(inputs: &[Tensor], tracked: u32, f: Op<'_>) -> (Tensor, Vec<Option<Tensor>>) {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let of = |(i, v): (usize, &Var)| if tracked >> i & 1 == 1 { v.as_tensor().clone() } else { v.as_detached_tensor() };
    let mixed: Vec<Tensor> = vars.iter().enumerate().map(of).collect();
    let y = f(&mixed).unwrap();
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    (y.detach(), vars.iter().map(|v| grads.get(v).cloned()).collect())
}

/// Both have gradients of just the tracked inputs, within `tolerance` of each one's largest value.
#[track_caller]
pub fn assert_same_gradients(a: &[Option<Tensor>], b: &[Option<Tensor>], tracked: u32, tolerance: f64) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!((a.is_some(), b.is_some()), (tracked >> i & 1 == 1, tracked >> i & 1 == 1), "input {i}");
        if let (Some(a), Some(b)) = (a, b) {
            let largest = values(b).iter().fold(1e-30f64, |most, v| most.max(v.abs()));
            let scaled = |t: &Tensor| (t / largest).unwrap();
            assert_close(&scaled(a), &scaled(b), tolerance, &format!("gradient of input {i}, {tracked:b} tracked"));
        }
    }
}

/// Gradients against central differences in f64, at up to 40 elements of every input.
#[track_caller]
pub fn gradcheck(inputs: &[Tensor], f: Op<'_>) {
    let analytic = gradients(inputs, f);
    let loss = |inputs: &[Tensor]| -> f64 {
        let y = f(inputs).unwrap();
        values(&y).iter().zip(numbers(y.elem_count(), 4242)).map(|(y, w)| y * w).sum()
    };
    const STEP: f64 = 1e-5;
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!(input.dims(), analytic[i].dims(), "gradient of input {i}");
        let (elements, gradient) = (values(input), values(&analytic[i]));
        for e in (0..elements.len()).step_by(elements.len().div_ceil(40)) {
            let at = |delta: f64| {
                let mut moved = elements.clone();
                moved[e] += delta;
                let mut inputs = inputs.to_vec();
                inputs[i] = Tensor::from_vec(moved, input.dims(), &Device::Cpu).unwrap();
                loss(&inputs)
            };
            let numeric = (at(STEP) - at(-STEP)) / (2. * STEP);
            let bound = 1e-7 * numeric.abs().max(1.);
            let got = gradient[e];
            assert!((got - numeric).abs() <= bound, "input {i}, element {e}: gradient {got}, differences {numeric}");
        }
    }
}

/// `f` must give `expected` (f64) in f64, in f32 and in both 16-bit types, on views of every kind, and `composed` the same and the same gradients.
#[track_caller]
pub fn check_op(inputs: &[Tensor], expected: &Tensor, f: Op<'_>, composed: Op<'_>) {
    assert_close(&f(inputs).unwrap(), expected, 1e-10, "f64");
    assert_close(&composed(inputs).unwrap(), expected, 1e-10, "composed");
    for view in [transposed_view, narrowed_view] {
        let views: Vec<Tensor> = inputs.iter().map(view).collect();
        assert_close(&f(&views).unwrap(), expected, 1e-10, "views");
        assert_close(&composed(&views).unwrap(), expected, 1e-10, "composed, views");
    }
    for (dtype, tolerance) in [(DType::F32, 5e-6), (DType::F16, 1e-2), (DType::BF16, 8e-2)] {
        let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
        // compared with f64 arithmetic on the rounded inputs
        let exact: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
        let expected = f(&exact).unwrap();
        let y = f(&inputs).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &expected, tolerance, &format!("{dtype:?}"));
        let y = composed(&inputs).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &expected, tolerance, &format!("composed, {dtype:?}"));
    }
    gradcheck(inputs, f);
    for (i, (a, b)) in gradients(inputs, f).iter().zip(gradients(inputs, composed)).enumerate() {
        assert_close(a, &b, 1e-9, &format!("gradient {i}, composed"));
    }
    // f32 gradients come from kernels of their own
    let narrow: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    for (i, (a, b)) in gradients(&narrow, f).iter().zip(gradients(inputs, f)).enumerate() {
        assert_close(a, &b, 5e-5, &format!("gradient {i}, f32"));
    }
}
