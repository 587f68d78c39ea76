//! Times one operation at a time on request, for comparison with other programs: `benches/peers/ops.py` drives it.
//!
//! Reads lines `NAME key=value …` and answers each with the seconds of one run on standard output. Tensors are made once per
//! distinct line, the first run of a line is not timed.

use candle_core::{CpuStorage, CustomOp1, Device, Layout as CandleLayout, Result, Shape, Tensor, Var};
use seg_ops::{
    Activation, Conv2dParams, ConvTranspose2dParams, Epilogue, Layout, Pool2dParams, QkvOrder, Resize, WindowAttention,
};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

type Run = Box<dyn Fn() -> Result<()>>;

struct Spec<'a>(HashMap<&'a str, &'a str>);

impl Spec<'_> {
    /// A whole number; 0 where it is not given.
    fn get(&self, key: &str) -> usize {
        self.0.get(key).and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    fn layout(&self) -> Layout {
        if self.0.get("layout") == Some(&"nhwc") { Layout::Nhwc } else { Layout::Nchw }
    }

    /// `[B, C, H, W]` in the layout asked for.
    fn map(&self) -> Result<Tensor> {
        let (b, c, h, w) = (self.get("b"), self.get("c"), self.get("h"), self.get("w"));
        noise(&match self.layout() {
            Layout::Nchw => [b, c, h, w],
            Layout::Nhwc => [b, h, w, c],
        })
    }
}

/// Deterministic numbers in −1..1.
fn noise(dims: &[usize]) -> Result<Tensor> {
    let mut state = 0x9E37_79B9_u32;
    let values: Vec<f32> = (0..dims.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// A loss with a given gradient, as PyTorch's `y.backward(gradient)`; what candle spends on adding that gradient to zeros counts for ours.
struct Loss(Tensor);

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &CandleLayout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.]), ().into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// With `backward=1` the gradients of all inputs are computed as well.
fn run(spec: &Spec<'_>, inputs: Vec<Tensor>, forward: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) -> Result<Run> {
    if spec.get("backward") == 0 {
        return Ok(Box::new(move || forward(&inputs).map(drop)));
    }
    let vars: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let gradient = noise(forward(&inputs)?.dims())?;
    Ok(Box::new(move || {
        let grads = forward(&inputs)?.apply_op1(Loss(gradient.clone()))?.backward()?;
        assert!(vars.iter().all(|v| grads.get(v).is_some()), "a gradient is missing");
        Ok(())
    }))
}

fn prepare(name: &str, spec: &Spec<'_>) -> Result<Run> {
    let layout = spec.layout();
    match name {
        "conv2d" => {
            let (o, k, groups) = (spec.get("o"), spec.get("k"), spec.get("groups").max(1));
            let p = Conv2dParams {
                stride: spec.get("stride").max(1),
                padding: spec.get("pad"),
                dilation: spec.get("dil").max(1),
                groups,
                layout,
            };
            let inputs = vec![spec.map()?, noise(&[o, spec.get("c") / groups, k, k])?, noise(&[o])?];
            run(spec, inputs, move |t| seg_ops::conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE))
        }
        "conv_transpose2d" => {
            let (o, k) = (spec.get("o"), spec.get("k"));
            let p = ConvTranspose2dParams { stride: spec.get("stride").max(1), layout, ..Default::default() };
            let inputs = vec![spec.map()?, noise(&[spec.get("c"), o, k, k])?, noise(&[o])?];
            run(spec, inputs, move |t| seg_ops::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE))
        }
        "linear_gelu" => {
            let (n, i, o) = (spec.get("n"), spec.get("c"), spec.get("o"));
            let inputs = vec![noise(&[n, i])?, noise(&[o, i])?, noise(&[o])?];
            run(spec, inputs, |t| seg_ops::linear(&t[0], &t[1], Some(&t[2]), Epilogue::act(Activation::Gelu)))
        }
        "linear" => {
            let (n, i, o) = (spec.get("n"), spec.get("c"), spec.get("o"));
            let inputs = vec![noise(&[n, i])?, noise(&[o, i])?, noise(&[o])?];
            run(spec, inputs, |t| seg_ops::linear(&t[0], &t[1], Some(&t[2]), Epilogue::NONE))
        }
        "attention" => {
            let (b, heads, n, m, d) = (spec.get("b"), spec.get("heads"), spec.get("n"), spec.get("m"), spec.get("d"));
            let scale = (d as f64).powf(-0.5);
            let inputs = vec![noise(&[b, heads, n, d])?, noise(&[b, heads, m, d])?, noise(&[b, heads, m, d])?];
            run(spec, inputs, move |t| seg_ops::attention(&t[0], &t[1], &t[2], scale, None))
        }
        "window_attention" => {
            let (heads, d) = (spec.get("heads"), spec.get("d"));
            let (b, h, w) = (spec.get("b"), spec.get("h"), spec.get("w"));
            let p = WindowAttention {
                heads,
                window: spec.get("window"),
                query_pool: spec.get("pool").max(1),
                order: QkvOrder::SplitHeads,
                scale: (d as f64).powf(-0.5),
            };
            let mut inputs = vec![noise(&[b, h, w, 3 * heads * d])?, noise(&[3 * heads * d])?];
            let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
            if spec.get("rel") == 1 {
                inputs.extend([noise(&[2 * wh - 1, d])?, noise(&[2 * ww - 1, d])?]);
                return run(spec, inputs, move |t| {
                    let tables = seg_ops::RelativePositions { height: &t[2], width: &t[3] };
                    seg_ops::window_attention_with_rel_pos(&t[0], &p, Some(&t[1]), tables)
                });
            }
            if spec.get("bias") == 1 {
                inputs.push(noise(&[heads, wh * ww, wh * ww])?);
            }
            run(spec, inputs, move |t| seg_ops::window_attention(&t[0], &p, Some(&t[1]), t.get(2)))
        }
        "rope" => {
            let (n, d) = (spec.get("n"), spec.get("d"));
            let inputs = vec![noise(&[spec.get("b"), spec.get("heads"), n, d])?];
            let (cos, sin) = (noise(&[n, d / 2])?, noise(&[n, d / 2])?);
            run(spec, inputs, move |t| seg_ops::rope_2d(&t[0], &cos, &sin))
        }
        "layer_norm" => {
            let (n, c) = (spec.get("n"), spec.get("c"));
            let inputs = vec![noise(&[n, c])?, noise(&[c])?, noise(&[c])?];
            run(spec, inputs, |t| seg_ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-6))
        }
        "layer_norm_2d" => {
            let c = spec.get("c");
            run(spec, vec![spec.map()?, noise(&[c])?, noise(&[c])?], |t| {
                seg_ops::layer_norm_2d(&t[0], &t[1], &t[2], 1e-6)
            })
        }
        "gelu" => run(spec, vec![noise(&[spec.get("n"), spec.get("c")])?], |t| seg_ops::gelu(&t[0])),
        "softmax" => run(spec, vec![noise(&[spec.get("n"), spec.get("c")])?], |t| seg_ops::softmax(&t[0])),
        "resize" => {
            let size = (spec.get("oh"), spec.get("ow"));
            let mut params = match spec.0.get("mode") {
                Some(&"nearest") => Resize::nearest(),
                Some(&"bicubic") => Resize::bicubic(),
                _ => Resize::bilinear(),
            };
            params.antialias = spec.get("antialias") == 1;
            params.align_corners = spec.get("align") == 1;
            run(spec, vec![spec.map()?], move |t| seg_ops::resize(&t[0], size, &params))
        }
        "max_pool2d" => {
            let kernel = spec.get("k");
            let p = Pool2dParams { kernel, stride: kernel, padding: 0, ceil_mode: spec.get("ceil") == 1, layout };
            run(spec, vec![spec.map()?], move |t| seg_ops::max_pool2d(&t[0], &p))
        }
        other => candle_core::bail!("unknown operation {other}"),
    }
}

fn main() -> Result<()> {
    let mut prepared: HashMap<String, Run> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if !prepared.contains_key(&line) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let run = prepare(name, &Spec(words.filter_map(|w| w.split_once('=')).collect()))?;
            run()?;
            prepared.clear(); // one operation's tensors at a time
            prepared.insert(line.clone(), run);
        }
        let start = Instant::now();
        prepared[&line]()?;
        println!("{:.9}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
