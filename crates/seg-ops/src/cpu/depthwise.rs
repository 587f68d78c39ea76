//! Depthwise convolution: one filter a channel, by direct sums in either layout. How the sums are laid out is in [`super::depthwise_maps`].

use super::conv::channel_sums;
use super::depthwise_maps::{Maps, convolve, weight_gradient};
use super::patches::Geometry;
use super::processor::lanes;
use super::tail::Tail;
use super::vector::Vector;
use super::{Data, Value, Wanted, dispatch, weighted};
use super::{depthwise_planes, depthwise_slab};
use crate::error::Result;
use crate::{Conv2dParams, Epilogue, Layout};
use candle_core::Tensor;

/// See [`crate::conv2d`]; groups = inputs = outputs.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &Conv2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let g = Geometry::of_conv(x, weight, p)?;
    let layout = p.layout;
    let forward = |e: Epilogue<'_>| dispatch!(x, self::forward(x, weight, bias, e, g, layout));
    let backward = move |x: &Tensor, w: &Tensor, dy: &Tensor, wanted: Wanted| {
        dispatch!(x, self::backward(x, w, dy, wanted, g, layout))
    };
    let sums = move |dy: &Tensor| channel_sums(dy, layout);
    weighted("depthwise_conv2d", (x, weight, bias), (e, layout.channel_axis()), forward, backward, sums)
}

fn forward<T: Vector>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    e: Epilogue<'_>,
    g: Geometry,
    layout: Layout,
) -> Result<Value> {
    let maps = Maps::new(g, layout);
    let (apart, bias) = if maps.in_slabs::<T>() { (bias, None) } else { (None, bias) };
    let tail = Tail::new(bias, e)?;
    let tail = tail.data::<T>()?;
    let apart = apart.map(Tensor::contiguous).transpose()?;
    let apart = apart.as_ref().map(Data::<T>::contiguous).transpose()?;
    let (x, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let y = convolve(&x, &w, apart.as_deref().unwrap_or(&[]), &maps, &tail);
    Ok(Value::new(y, &layout.shape(g.batch, g.outputs, g.out.0, g.out.1)[..]))
}

fn backward<T: Vector>(
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    wanted: Wanted,
    g: Geometry,
    layout: Layout,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (data, w, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(dy)?);
    let narrow = layout == Layout::Nchw || g.inputs < lanes::<T>();
    let (dx, dw) = if layout == Layout::Nchw && depthwise_planes::serves(&g) {
        depthwise_planes::backward(&data, &w, &dy, &g)
    } else if let Some(reverse) = reversed(g).filter(|_| narrow) {
        // the gradient of the input is a convolution of that of the output with the filters turned around
        let dx = || {
            let turned: Vec<T> =
                w.chunks_exact(g.kernel.0 * g.kernel.1).flat_map(|w| w.iter().rev().copied()).collect();
            let nothing = Tail::new(None, Epilogue::NONE)?;
            Value::new(convolve(&dy, &turned, &[], &Maps::new(reverse, layout), &nothing.data()?), x.dims()).tensor()
        };
        let dw = || Value::new(weight_gradient(&data, &dy, &Maps::new(g, layout)), weight.dims()).tensor();
        return wanted.gradients(dx, dw);
    } else {
        depthwise_slab::backward(&data, &w, &dy, &g, layout)
    };
    wanted.gradients(|| Value::new(dx, x.dims()).tensor(), || Value::new(dw, weight.dims()).tensor())
}

/// The geometry of the convolution that makes the gradient of the input, if there is one.
fn reversed(g: Geometry) -> Option<Geometry> {
    let reach = (g.kernel.0 - 1) * g.dilation;
    (g.stride == 1 && g.kernel.0 == g.kernel.1 && g.padding <= reach && g.out.0 * g.out.1 > 0).then(|| Geometry {
        input: g.out,
        out: g.input,
        padding: reach - g.padding,
        ..g
    })
}
