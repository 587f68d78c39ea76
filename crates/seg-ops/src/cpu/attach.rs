//! Gradients for values that a kernel has computed already.
//!
//! Candle asks a custom operation for its value inside `apply_op`; here the value exists before, so the same plain functions serve with and without
//! gradients, and may take arguments of which candle knows nothing.

use super::{activate_tail, tracked};
use crate::Epilogue;
use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Error, Layout, Shape, Tensor};
use std::sync::Mutex;

struct Attach<F> {
    name: &'static str,
    value: Mutex<Option<CpuStorage>>,
    shape: Shape,
    backward: F,
}

impl<F> Attach<F> {
    fn new(name: &'static str, value: Value, backward: F) -> Self {
        Self { name, value: Mutex::new(Some(value.storage)), shape: value.shape, backward }
    }

    fn take(&self) -> Result<(CpuStorage, Shape)> {
        let value = self.value.lock().ok().and_then(|mut v| v.take());
        Ok((value.ok_or_else(|| Error::Msg(format!("{}: the value was taken twice", self.name)))?, self.shape.clone()))
    }
}

/// What a kernel has computed.
pub(crate) struct Value {
    storage: CpuStorage,
    shape: Shape,
}

impl Value {
    pub fn new<T: crate::float::Float>(elements: Vec<T>, shape: impl Into<Shape>) -> Self {
        crate::threads::stay_awake();
        Self { storage: T::storage(elements), shape: shape.into() }
    }

    /// The value alone.
    pub fn tensor(self) -> Result<Tensor> {
        match self.storage {
            CpuStorage::F32(v) => Tensor::from_vec(v, self.shape, &Device::Cpu),
            CpuStorage::F64(v) => Tensor::from_vec(v, self.shape, &Device::Cpu),
            _ => Err(Error::Msg("a kernel's value is neither f32 nor f64".into())),
        }
    }
}

type Gradient = Option<Tensor>;

/// The gradient, unless `of` is a constant: a frozen weight gets none, nor does it hold memory until the end of the backward pass.
fn wanted(of: &Tensor, gradient: Gradient) -> Gradient {
    gradient.filter(|_| of.track_op())
}

impl<F> CustomOp1 for Attach<F>
where
    F: Fn(&Tensor, &Tensor, &Tensor) -> Result<Gradient>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, a: &Tensor, y: &Tensor, g: &Tensor) -> Result<Gradient> {
        (self.backward)(&a.detach(), &y.detach(), &g.contiguous()?)
    }
}

impl<F> CustomOp2 for Attach<F>
where
    F: Fn(&Tensor, &Tensor, &Tensor, &Tensor) -> Result<(Gradient, Gradient)>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, y: &Tensor, g: &Tensor) -> Result<(Gradient, Gradient)> {
        let (da, db) = (self.backward)(&a.detach(), &b.detach(), &y.detach(), &g.contiguous()?)?;
        Ok((wanted(a, da), wanted(b, db)))
    }
}

impl<F> CustomOp3 for Attach<F>
where
    F: Fn(&Tensor, &Tensor, &Tensor, &Tensor, &Tensor) -> Result<(Gradient, Gradient, Gradient)>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Gradient, Gradient, Gradient)> {
        let (da, db, dc) = (self.backward)(&a.detach(), &b.detach(), &c.detach(), &y.detach(), &g.contiguous()?)?;
        Ok((wanted(a, da), wanted(b, db), wanted(c, dc)))
    }
}

/// `value` as a function of `a`; `backward(a, value, gradient)` gives the gradient of `a`. Its tensors are detached, the gradient contiguous.
pub(crate) fn attach1(
    name: &'static str,
    value: Value,
    a: &Tensor,
    backward: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Gradient> + Send + Sync + 'static,
) -> Result<Tensor> {
    if a.track_op() { a.apply_op1(Attach::new(name, value, backward)) } else { value.tensor() }
}

/// `value` as a function of `a` and `b`; see [`attach1`].
pub(crate) fn attach2(
    name: &'static str,
    value: Value,
    a: &Tensor,
    b: &Tensor,
    backward: impl Fn(&Tensor, &Tensor, &Tensor, &Tensor) -> Result<(Gradient, Gradient)> + Send + Sync + 'static,
) -> Result<Tensor> {
    let any = a.track_op() || b.track_op();
    if any { a.apply_op2(b, Attach::new(name, value, backward)) } else { value.tensor() }
}

/// `value` as a function of `a`, `b` and `c`; see [`attach1`].
pub(crate) fn attach3(
    name: &'static str,
    value: Value,
    (a, b, c): (&Tensor, &Tensor, &Tensor),
    backward: impl Fn(&Tensor, &Tensor, &Tensor, &Tensor, &Tensor) -> Result<(Gradient, Gradient, Gradient)>
    + Send
    + Sync
    + 'static,
) -> Result<Tensor> {
    let any = a.track_op() || b.track_op() || c.track_op();
    if any { a.apply_op3(b, c, Attach::new(name, value, backward)) } else { value.tensor() }
}

/// Which gradients anybody waits for: a frozen layer needs none of its weight, nor the first of its input.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub x: bool,
    pub weight: bool,
}

impl Wanted {
    pub fn of(x: &Tensor, weight: &Tensor) -> Self {
        Self { x: x.track_op(), weight: weight.track_op() }
    }

    /// The gradients, those that nobody waits for left out.
    pub fn gradients(
        self,
        x: impl FnOnce() -> Result<Tensor>,
        weight: impl FnOnce() -> Result<Tensor>,
    ) -> Result<(Gradient, Gradient)> {
        Ok((self.x.then(x).transpose()?, self.weight.then(weight).transpose()?))
    }
}

/// A product of `x` with a weight, perhaps a bias, and what follows on the channels of `axis`. `forward` gives the value in one go; where a gradient may be asked for it
/// gives that of the product, and what follows comes step by step. `backward(x, weight, gradient, wanted)` gives the gradients of the first two as far as they are wanted,
/// `sums(gradient)` that of the bias.
pub(crate) fn weighted(
    name: &'static str,
    (x, weight, bias): (&Tensor, &Tensor, Option<&Tensor>),
    (e, axis): (Epilogue<'_>, usize),
    forward: impl Fn(Epilogue<'_>) -> Result<Value>,
    backward: impl Fn(&Tensor, &Tensor, &Tensor, Wanted) -> Result<(Gradient, Gradient)> + Send + Sync + 'static,
    sums: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !tracked(&[Some(x), Some(weight), bias, e.scale, e.residual]) {
        return forward(e)?.tensor();
    }
    let value = forward(Epilogue::NONE)?;
    let wanted = Wanted::of(x, weight);
    let y = match bias {
        Some(bias) => {
            let sums_wanted = bias.track_op();
            attach3(name, value, (x, weight, bias), move |x, w, _, _, g| {
                let (dx, dw) = backward(x, w, g, wanted)?;
                Ok((dx, dw, sums_wanted.then(|| sums(g)).transpose()?))
            })
        }
        None => attach2(name, value, x, weight, move |x, w, _, g| backward(x, w, g, wanted)),
    }?;
    activate_tail(y, e, axis)
}
