//! Pi-SAM's Precise Interactor: clicks on what is wrong in a mask correct the features that it is made of
//! (segment_anything/modeling/mask_decoder_pi.py of lmzpai/pi-sam, `PointInteract`).

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, LayerNorm, Layout, Mlp, Observer, RandomFourierPosition, conv::nhwc, trace};
use serde::{Deserialize, Serialize};

use crate::interactor_transformer::PixelTransformer;

const TOKEN_EPS: f64 = 1e-5;

/// Sizes of the Precise Interactor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreciseInteractorConfig {
    /// Channels of the map that is corrected, and of every token.
    pub dim: usize,
    /// Layers of the transformer between pixels and tokens.
    pub depth: usize,
    /// Height and width of the map: a quarter of the network's input.
    pub grid: (usize, usize),
}

impl PreciseInteractorConfig {
    /// Pi-SAM's sizes for a square input of `image_size` pixels: 167,104 parameters.
    pub fn new(image_size: usize) -> Self {
        Self { dim: 32, depth: 2, grid: (image_size / 4, image_size / 4) }
    }
}

/// Clicks on a batch of masks; all rows are equally long, short ones are padded.
#[derive(Clone, Debug)]
pub struct Clicks {
    /// `[B, N, 2]`, f32, parts of the map's width and height in 0..1. The official code takes the first of the two as x, both for the position encoding and
    /// for where the map is sampled; its demo hands over (x/W, y/H), its training simulated clicks as (row/H, column/W).
    pub coords: Tensor,
    /// `[B, N]`, u32: 1 where foreground is missing, 0 where background was taken for foreground.
    pub flags: Tensor,
    /// `[B, 1 + N]`, u8: 1 for tokens that pixels must not look at, in the order mask token, clicks. The mask token is never masked. `None`: all count.
    ///
    /// As in the official code only the layers' first attention heeds it.
    pub ignored: Option<Tensor>,
}

impl Clicks {
    /// Clicks of one mask, `(x, y, foreground)` in 0..1: foreground ones first, as the official demo orders them.
    pub fn single(points: &[(f32, f32, bool)], device: &Device) -> Result<Self> {
        let ordered = || points.iter().filter(|p| p.2).chain(points.iter().filter(|p| !p.2));
        let coords: Vec<f32> = ordered().flat_map(|&(x, y, _)| [x, y]).collect();
        let flags: Vec<u32> = ordered().map(|p| u32::from(p.2)).collect();
        Ok(Self {
            coords: Tensor::from_vec(coords, (1, points.len(), 2), device)?,
            flags: Tensor::from_vec(flags, (1, points.len()), device)?,
            ignored: None,
        })
    }

    fn dims(&self, batch: usize) -> Result<usize> {
        let n = match *self.coords.dims() {
            [b, n, 2] if b == batch => n,
            _ => candle_core::bail!("clicks: coords {:?}, expected [{batch}, N, 2]", self.coords.shape()),
        };
        if self.flags.dims() != [batch, n] {
            candle_core::bail!("clicks: flags {:?}, expected [{batch}, {n}]", self.flags.shape());
        }
        if let Some(ignored) = self.ignored.as_ref().filter(|t| t.dims() != [batch, 1 + n]) {
            candle_core::bail!("clicks: ignored {:?}, expected [{batch}, {}]", ignored.shape(), 1 + n);
        }
        Ok(n)
    }
}

/// Pi-SAM's Precise Interactor.
///
/// Keys: `img_pe` (a stored position map; what `pe_layer` gives where a file has that alone), `points_flag.weight`, `pe_layer`, `token_embed.{0,1,2}`, `transformer`, `out_cov`. Official files also hold
/// [`PreciseInteractor::UNUSED`].
#[derive(Clone, Debug)]
pub struct PreciseInteractor {
    cfg: PreciseInteractorConfig,
    img_pe: Tensor,      // [1, HW, C]
    points_flag: Tensor, // [2, C]
    pe_layer: RandomFourierPosition,
    token_norm: LayerNorm,
    token_mlp: Mlp,
    token_out_norm: LayerNorm,
    transformer: PixelTransformer,
    out_cov: Conv2d,
}

impl PreciseInteractor {
    /// Beginnings of keys in official files that nothing reads: the constant kernel that finds the edges of wrong regions in training.
    pub const UNUSED: [&'static str; 1] = ["bnd_op."];

    /// Reads the module; `vb` is at `interact_2` of the decoder's state dict.
    pub fn new(cfg: &PreciseInteractorConfig, vb: VarBuilder) -> Result<Self> {
        let (dim, (h, w)) = (cfg.dim, cfg.grid);
        let embed = vb.pp("token_embed");
        let pe_layer = RandomFourierPosition::new(dim / 2, vb.pp("pe_layer"))?;
        // a source that has the matrix, and says that it has not the map, leaves it to be computed
        let derived =
            vb.contains_tensor("pe_layer.positional_encoding_gaussian_matrix") && !vb.contains_tensor("img_pe");
        let img_pe = if derived { pe_layer.dense(h, w)?.squeeze(0)? } else { vb.get((dim, h, w), "img_pe")? };
        Ok(Self {
            img_pe: img_pe.permute((1, 2, 0))?.contiguous()?.reshape((1, h * w, dim))?,
            points_flag: vb.pp("points_flag").get((2, dim), "weight")?,
            pe_layer,
            token_norm: LayerNorm::new(3 * dim, TOKEN_EPS, embed.pp("0"))?,
            token_mlp: Mlp::new(&[3 * dim, 8 * dim, 8 * dim, dim], Activation::Relu, embed.pp("1"))?,
            token_out_norm: LayerNorm::new(dim, TOKEN_EPS, embed.pp("2"))?,
            transformer: PixelTransformer::new(cfg, vb.pp("transformer"))?,
            out_cov: Conv2d::new(dim, dim, 3, nhwc(1, 1), vb.pp("out_cov"))?,
            cfg: cfg.clone(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &PreciseInteractorConfig {
        &self.cfg
    }

    /// What a click is to the transformer: the map where it was made, what was wrong there, and where that is. `map [B, C, H, W]` to `[B, N, C]`.
    fn tokens(&self, map: &Tensor, clicks: &Clicks) -> Result<Tensor> {
        let (batch, dim) = (map.dim(0)?, self.cfg.dim);
        let n = clicks.dims(batch)?;
        let grid = clicks.coords.to_dtype(map.dtype())?.affine(2., -1.)?.unsqueeze(2)?; // [B, N, 1, 2]
        let seen = seg_ops::grid_sample(&map.permute((0, 2, 3, 1))?.contiguous()?, &grid, Layout::Nhwc)?.squeeze(2)?;
        let flags = clicks.flags.flatten_all()?.to_dtype(DType::U32)?;
        let flags = self.points_flag.index_select(&flags, 0)?.reshape((batch, n, dim))?;
        let places = self.pe_layer.encode(&clicks.coords)?.to_dtype(map.dtype())?;
        let tokens = self.token_norm.forward(&Tensor::cat(&[&seen, &flags, &places], 2)?)?;
        self.token_out_norm.forward(&self.token_mlp.forward(&tokens)?)
    }

    /// Corrects `map [B, C, H, W]` by `clicks`; `mask_token [B, 1, C]` is the token that the mask was made with. Returns the map of the same shape, channels
    /// last in memory. Without clicks the transformer still runs, on the mask token alone, as in the official code.
    ///
    /// `observer` gets `interact.token` (the clicks' tokens, `[B, N, C]`), `interact.transformer` (`[B, HW, C]`) and `interact.out`.
    ///
    /// # Errors
    /// If the map has another size than the stored position map, or the clicks another batch.
    pub fn forward(
        &self,
        map: &Tensor,
        mask_token: &Tensor,
        clicks: &Clicks,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let _span = trace::module("precise_interactor");
        let (batch, c, h, w) = map.dims4()?;
        let (dim, grid) = (self.cfg.dim, self.cfg.grid);
        if c != dim || (h, w) != grid || mask_token.dims() != [batch, 1, dim] {
            candle_core::bail!(
                "Precise Interactor: map {:?} and mask token {:?}, expected [B, {dim}, {}, {}] and [B, 1, {dim}]",
                map.shape(),
                mask_token.shape(),
                grid.0,
                grid.1
            );
        }
        let mut tokens = mask_token.clone();
        if clicks.dims(batch)? > 0 {
            let clicked = self.tokens(map, clicks)?;
            observer.observe("interact.token", &clicked)?;
            tokens = Tensor::cat(&[mask_token, &clicked], 1)?;
        }
        let last = map.permute((0, 2, 3, 1))?.contiguous()?; // [B, H, W, C]
        let pixels =
            self.transformer.forward(&last.flatten(1, 2)?, &self.img_pe, &tokens, clicks.ignored.as_ref(), (h, w))?;
        observer.observe("interact.transformer", &pixels)?;
        let pixels = pixels.reshape((batch, h, w, dim))?;
        let out = self.out_cov.forward_with(&pixels, seg_layers::Epilogue::NONE.with_residual(&last))?;
        let out = out.permute((0, 3, 1, 2))?;
        observer.observe("interact.out", &out)?;
        Ok(out)
    }
}
