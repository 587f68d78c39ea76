//! Our operation for a [`Spec`].

use crate::runs::Forward;
use crate::spec::Spec;
use candle_core::Result;
use seg_ops::{
    Activation, Conv2dParams, ConvBatchNorm, ConvTranspose2dParams, Epilogue, FeedForward, Pool2dParams, QkvOrder,
    RelativePositions, Resize, WindowAttention,
};

pub fn forward(spec: &Spec) -> Result<Forward> {
    let layout = spec.layout();
    Ok(match spec.op.as_str() {
        "conv2d" => {
            let p = Conv2dParams {
                stride: spec.stride(),
                padding: spec.get("pad"),
                dilation: spec.dilation(),
                groups: spec.groups(),
                layout,
            };
            Box::new(move |t| seg_ops::conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE))
        }
        "conv_batch_norm" => {
            let params = Conv2dParams { padding: spec.get("pad"), layout, ..Conv2dParams::default() };
            Box::new(move |t| {
                let parts = ConvBatchNorm {
                    weight: &t[1],
                    bias: Some(&t[2]),
                    gamma: &t[3],
                    beta: &t[4],
                    eps: 1e-5,
                    params: &params,
                    epilogue: Epilogue::act(Activation::Relu),
                    across: None,
                };
                Ok(seg_ops::conv_batch_norm(&t[0], None, &parts)?.output)
            })
        }
        "feed_forward" => Box::new(|t| {
            let (norm, up, down) = ((&t[1], Some(&t[2])), (&t[3], Some(&t[4])), (&t[5], Some(&t[6])));
            seg_ops::feed_forward(&t[0], &FeedForward { norm, eps: 1e-6, up, down, keep: true })
        }),
        "binary_cross_entropy" => Box::new(|t| seg_ops::binary_cross_entropy(&t[0], &t[1])),
        "conv_transpose2d" => {
            let p = ConvTranspose2dParams { stride: spec.stride(), layout, ..Default::default() };
            Box::new(move |t| seg_ops::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE))
        }
        "linear_gelu" => Box::new(|t| seg_ops::linear(&t[0], &t[1], Some(&t[2]), Epilogue::act(Activation::Gelu))),
        "linear" => Box::new(|t| seg_ops::linear(&t[0], &t[1], Some(&t[2]), Epilogue::NONE)),
        "attention" => {
            let scale = (spec.get("d") as f64).powf(-0.5);
            Box::new(move |t| seg_ops::attention(&t[0], &t[1], &t[2], scale, None))
        }
        "window_attention" => {
            let p = WindowAttention {
                heads: spec.get("heads"),
                window: spec.get("window"),
                query_pool: spec.query_pool(),
                order: QkvOrder::SplitHeads,
                scale: (spec.get("d") as f64).powf(-0.5),
            };
            if spec.get("rel") == 1 {
                return Ok(Box::new(move |t| {
                    let tables = RelativePositions { height: &t[2], width: &t[3] };
                    seg_ops::window_attention_with_rel_pos(&t[0], &p, Some(&t[1]), tables)
                }));
            }
            Box::new(move |t| seg_ops::window_attention(&t[0], &p, Some(&t[1]), t.get(2)))
        }
        "rope" => Box::new(|t| seg_ops::rope_2d(&t[0], &t[1], &t[2])),
        "layer_norm" => Box::new(|t| seg_ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-6)),
        "layer_norm_2d" => Box::new(|t| seg_ops::layer_norm_2d(&t[0], &t[1], &t[2], 1e-6)),
        "gelu" => Box::new(|t| seg_ops::gelu(&t[0])),
        "softmax" => Box::new(|t| seg_ops::softmax(&t[0])),
        "resize" => {
            let size = (spec.get("oh"), spec.get("ow"));
            let mut params = match spec.text("mode") {
                "nearest" => Resize::nearest(),
                "bicubic" => Resize::bicubic(),
                _ => Resize::bilinear(),
            };
            params.antialias = spec.get("antialias") == 1;
            params.align_corners = spec.get("align") == 1;
            Box::new(move |t| seg_ops::resize(&t[0], size, &params))
        }
        "max_pool2d" => {
            let kernel = spec.get("k");
            let p = Pool2dParams { kernel, stride: kernel, padding: 0, ceil_mode: spec.get("ceil") == 1, layout };
            Box::new(move |t| seg_ops::max_pool2d(&t[0], &p))
        }
        other => candle_core::bail!("unknown operation {other}"),
    })
}
