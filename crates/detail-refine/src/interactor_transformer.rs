//! The Precise Interactor's transformer: many pixels, few tokens (`TwoWayTransformerNew` in segment_anything/modeling/transformer.py of lmzpai/pi-sam).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, LayerNorm, Linear, conv::nhwc, trace};

use crate::interactor::PreciseInteractorConfig;

/// Attention of one head with four projections.
#[derive(Clone, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    scale: f64,
}

impl Attention {
    fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            q_proj: Linear::new(dim, dim, vb.pp("q_proj"))?,
            k_proj: Linear::new(dim, dim, vb.pp("k_proj"))?,
            v_proj: Linear::new(dim, dim, vb.pp("v_proj"))?,
            out_proj: Linear::new(dim, dim, vb.pp("out_proj"))?,
            scale: (dim as f64).powf(-0.5),
        })
    }

    /// `residual` (of `q`'s shape) plus what `q [B, N, C]` finds in `kv [B, M, C]`; `bias` is `[B, 1, N, M]`.
    fn forward(&self, q: &Tensor, kv: &Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Result<Tensor> {
        let q = self.q_proj.forward(q)?.unsqueeze(1)?;
        let k = self.k_proj.forward(kv)?.unsqueeze(1)?;
        let v = self.v_proj.forward(kv)?.unsqueeze(1)?;
        let x = {
            let ((b, _, n, d), m) = (q.dims4()?, k.dim(2)?);
            let _span = trace::layer("attention", || trace::attention_flops(b, n, m, d));
            seg_ops::attention(&q, &k, &v, self.scale, bias)?.squeeze(1)?
        };
        self.out_proj.forward_with(&x, Epilogue::NONE.with_residual(residual))
    }
}

/// Pixels look at tokens, at their neighbours, then tokens look at pixels.
#[derive(Clone, Debug)]
struct Layer {
    cross_attn_image_to_token: Attention,
    norm1: LayerNorm,
    mlp_conv1: Conv2d,
    mlp_norm: LayerNorm,
    mlp_conv2: Conv2d,
    norm2: LayerNorm,
    cross_attn_token_to_image: Attention,
    norm3: LayerNorm,
}

/// Keys: `layers.N.{cross_attn_image_to_token,norm1,mlp.{0,1,3},norm2,cross_attn_token_to_image,norm3}`, `final_attn_image_to_token`, `norm_final_attn`.
#[derive(Clone, Debug)]
pub(crate) struct PixelTransformer {
    layers: Vec<Layer>,
    final_attn_image_to_token: Attention,
    norm_final_attn: LayerNorm,
}

impl PixelTransformer {
    pub fn new(cfg: &PreciseInteractorConfig, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-5;
        const MAP_EPS: f64 = 1e-6;
        let dim = cfg.dim;
        let layer = |vb: VarBuilder| -> Result<Layer> {
            let (mlp, same) = (vb.pp("mlp"), nhwc(1, 1));
            Ok(Layer {
                cross_attn_image_to_token: Attention::new(dim, vb.pp("cross_attn_image_to_token"))?,
                norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
                mlp_conv1: Conv2d::new(dim, dim, 3, same, mlp.pp("0"))?,
                mlp_norm: LayerNorm::new(dim, MAP_EPS, mlp.pp("1"))?,
                mlp_conv2: Conv2d::new(dim, dim, 3, same, mlp.pp("3"))?,
                norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
                cross_attn_token_to_image: Attention::new(dim, vb.pp("cross_attn_token_to_image"))?,
                norm3: LayerNorm::new(dim, EPS, vb.pp("norm3"))?,
            })
        };
        Ok(Self {
            layers: (0..cfg.depth).map(|i| layer(vb.pp("layers").pp(i))).collect::<Result<_>>()?,
            final_attn_image_to_token: Attention::new(dim, vb.pp("final_attn_image_to_token"))?,
            norm_final_attn: LayerNorm::new(dim, EPS, vb.pp("norm_final_attn"))?,
        })
    }

    /// `pixels [B, HW, C]` with their position encoding `[1, HW, C]`, and `tokens [B, M, C]`, to new pixels. `ignored [B, M]` (1 for tokens not to be looked
    /// at) holds for the layers' first attention only; tokens have no position encoding, and what they read of a pixel includes the pixel's.
    pub fn forward(
        &self,
        pixels: &Tensor,
        pixel_pe: &Tensor,
        tokens: &Tensor,
        ignored: Option<&Tensor>,
        (h, w): (usize, usize),
    ) -> Result<Tensor> {
        let (mut pixels, mut tokens) = (pixels.clone(), tokens.clone());
        let (batch, count, dim) = pixels.dims3()?;
        let bias = match ignored {
            Some(ignored) => {
                let m = tokens.dim(1)?;
                let zeros = Tensor::zeros((batch, m), pixels.dtype(), pixels.device())?;
                let never = Tensor::full(f32::NEG_INFINITY, (batch, m), pixels.device())?.to_dtype(pixels.dtype())?;
                let bias = ignored.where_cond(&never, &zeros)?.reshape((batch, 1, 1, m))?;
                Some(bias.broadcast_as((batch, 1, count, m))?.contiguous()?)
            }
            None => None,
        };
        let mut placed = pixels.broadcast_add(pixel_pe)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let _span = trace::part("layers", i);
            pixels = layer.cross_attn_image_to_token.forward(&placed, &tokens, bias.as_ref(), &pixels)?;
            let map = layer.norm1.forward(&pixels)?.reshape((batch, h, w, dim))?;
            let x = seg_ops::activate(
                &layer.mlp_norm.forward(&layer.mlp_conv1.forward(&map)?)?,
                seg_layers::Activation::Relu,
            )?;
            let x = layer.mlp_conv2.forward_with(&x, Epilogue::NONE.with_residual(&map))?;
            pixels = layer.norm2.forward(&x)?.flatten(1, 2)?;
            placed = pixels.broadcast_add(pixel_pe)?;
            tokens = layer.cross_attn_token_to_image.forward(&tokens, &placed, None, &tokens)?;
            tokens = layer.norm3.forward(&tokens)?;
        }
        let pixels = self.final_attn_image_to_token.forward(&placed, &tokens, None, &pixels)?;
        self.norm_final_attn.forward(&pixels)
    }
}
