//! Large maps in bands of whole rows.
//!
//! What works on windows or single pixels need not see the whole map. In bands the intermediate maps, several times as wide as the map itself, are small:
//! they stay in the cache, and their memory is used again for the next band.

use candle_core::{Result, Tensor};
use seg_ops::Assembly;
use std::ops::Range;

/// Pixels of a band: enough for all threads, and few enough for the cache.
const PIXELS: usize = 4096;

/// Rows of a band of the channels-last map `x` `[B, H, W, C]`, a multiple of `unit`; `None` where the map is better taken whole: it is small, lies
/// on a GPU, or gradients need all of it anyway.
pub fn rows(x: &Tensor, unit: usize) -> Result<Option<usize>> {
    let (b, h, w, _) = x.dims4()?;
    if unit == 0 || w == 0 || x.track_op() || !x.device().is_cpu() || b * h * w <= 2 * PIXELS {
        return Ok(None);
    }
    let rows = (PIXELS / w / unit).max(1) * unit;
    Ok((b > 1 || rows < h).then_some(rows))
}

/// `f` of each band `[1, rows, W, C]` (the last of an image may have fewer rows), joined: `f` may change the size, by the same factor for each
/// band, and the channels. `x` is `[B, H, W, C]` and is freed at the end.
pub fn map(x: Tensor, rows: usize, f: impl Fn(Tensor) -> Result<Tensor>) -> Result<Tensor> {
    map_with_margin(x, rows, 0, |band, _| f(band))
}

/// As [`map`], for an `f` that looks at neighbours: bands have up to `margin` more rows on either side where the image has them. `f` also gets the rows
/// of the band that are wanted, and returns what belongs to these alone. With strides, `rows` and `margin` are multiples of them.
pub fn map_with_margin(
    x: Tensor,
    rows: usize,
    margin: usize,
    f: impl Fn(Tensor, Range<usize>) -> Result<Tensor>,
) -> Result<Tensor> {
    let [joined] = maps_with_margin(x, rows, margin, |band, wanted| Ok([f(band, wanted)?]))?;
    Ok(joined)
}

/// As [`map_with_margin`], for an `f` that makes several maps of a band.
pub fn maps_with_margin<const N: usize>(
    x: Tensor,
    rows: usize,
    margin: usize,
    f: impl Fn(Tensor, Range<usize>) -> Result<[Tensor; N]>,
) -> Result<[Tensor; N]> {
    let (b, h, _, _) = x.dims4()?;
    if rows == 0 || b * h == 0 {
        candle_core::bail!("bands of {rows} rows of a map {:?}, expected positive sizes", x.shape());
    }
    // no band is higher than the first
    let bands = b * h.div_ceil(rows);
    let mut joined: [Option<Joined>; N] = [const { None }; N];
    for image in 0..b {
        for from in (0..h).step_by(rows) {
            let height = rows.min(h - from);
            let above = margin.min(from);
            let below = margin.min(h - from - height);
            let band = x.narrow(0, image, 1)?.narrow(1, from - above, above + height + below)?;
            for (band, joined) in f(band, above..above + height)?.into_iter().zip(&mut joined) {
                let joined = match joined {
                    Some(joined) => joined,
                    none => none.insert(Joined::new(&band, bands)?),
                };
                joined.push(band, image == 0)?;
            }
        }
    }
    let mut finished = Vec::with_capacity(N);
    for joined in joined.into_iter().flatten() {
        finished.push(joined.pieces.finish((b, joined.height, joined.width, joined.channels))?);
    }
    finished.try_into().map_err(|_| candle_core::Error::Msg("bands that were never made".to_owned()))
}

/// Bands put together.
struct Joined {
    pieces: Assembly,
    height: usize,
    width: usize,
    channels: usize,
}

impl Joined {
    fn new(first: &Tensor, bands: usize) -> Result<Self> {
        let (_, _, width, channels) = first.dims4()?;
        Ok(Self { pieces: Assembly::with_capacity(bands * first.elem_count()), height: 0, width, channels })
    }

    fn push(&mut self, band: Tensor, of_first_image: bool) -> Result<()> {
        self.height += if of_first_image { band.dim(1)? } else { 0 };
        self.pieces.push(band)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use seg_ops::{Layout, Pool2dParams};

    const POOL: Pool2dParams =
        Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: false, layout: Layout::Nhwc };

    #[test]
    fn bands_make_the_whole() -> Result<()> {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let x = Tensor::arange(0f32, 2. * 7. * 6. * 3., &Device::Cpu)?.reshape((2, 7, 6, 3))?.to_dtype(dtype)?;
            let same = map(x.clone(), 2, |band| &band + 1.)?;
            let wanted = (&x + 1.)?;
            assert_eq!(same.dims(), wanted.dims());
            let flat = |t: Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            assert_eq!(flat(same)?, flat(wanted)?);
            let x = x.narrow(1, 0, 6)?; // an odd last row would be too little for the pooling
            let halved = map(x.clone(), 4, |band| seg_ops::max_pool2d(&band, &POOL))?;
            assert_eq!(flat(halved)?, flat(seg_ops::max_pool2d(&x, &POOL)?)?);
        }
        Ok(())
    }

    #[test]
    fn margins_show_the_neighbours() -> Result<()> {
        let x = Tensor::arange(0f32, 2. * 7. * 6. * 3., &Device::Cpu)?.reshape((2, 7, 6, 3))?;
        let weight = Tensor::arange(0f32, 27., &Device::Cpu)?.reshape((3, 1, 3, 3))?;
        for stride in [1, 2] {
            let params = crate::conv::depthwise_nhwc(3, 3, stride);
            let conv = |x: &Tensor| seg_ops::conv2d(x, &weight, None, &params, seg_ops::Epilogue::NONE);
            let banded = map_with_margin(x.clone(), 2, stride, |band, rows| {
                let (from, to) = (rows.start / stride, rows.end.div_ceil(stride));
                conv(&band)?.narrow(1, from, to - from)
            })?;
            let whole = conv(&x)?;
            assert_eq!(banded.dims(), whole.dims());
            assert_eq!(banded.flatten_all()?.to_vec1::<f32>()?, whole.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }

    #[test]
    fn gradients_pass_through_bands() -> Result<()> {
        let x = Var::from_tensor(&Tensor::arange(0f64, 24., &Device::Cpu)?.reshape((1, 4, 2, 3))?)?;
        assert_eq!(rows(&x, 1)?, None);
        let y = map(x.as_tensor().clone(), 1, |band| band.sqr())?;
        let gradients = y.sum_all()?.backward()?;
        let gradient = gradients.get(&x).expect("x has a gradient").flatten_all()?.to_vec1::<f64>()?;
        assert_eq!(gradient, (0..24).map(|i| 2. * f64::from(i)).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn small_maps_stay_whole() -> Result<()> {
        let map = |b, h, w| Tensor::zeros((b, h, w, 1), DType::F32, &Device::Cpu);
        assert_eq!(rows(&map(1, 64, 64)?, 8)?, None);
        assert_eq!(rows(&map(1, 256, 256)?, 8)?, Some(16));
        assert_eq!(rows(&map(1, 128, 128)?, 14)?, Some(28));
        assert_eq!(rows(&map(4, 64, 64)?, 14)?, Some(56));
        assert_eq!(rows(&map(1, 16, 8192)?, 14)?, Some(14));
        Ok(())
    }
}
