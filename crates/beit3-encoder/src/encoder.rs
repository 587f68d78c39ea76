//! BEiT-3 (arXiv 2208.10442): one pre-norm transformer for images and text. Both attend to each other in every layer; everything else has weights
//! of its own for either.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{LayerNorm, Observer, Unobserved, trace};

use crate::embedding::{Positions, TextEmbedding, VisionEmbedding};
use crate::layer::{EncoderLayer, multiway_norm};
use crate::multiway::{Multiway, Streams};
use crate::{Beit3Config, TextTokens};

/// Added to the scores of padding: its probability is exactly 0, in half precision too, and stays defined where nothing else can be looked at.
const MASKED: f64 = -3e4;

/// What BEiT-3 makes of images with their texts.
#[derive(Clone, Debug)]
pub struct Beit3Features {
    /// Class token and patches, row by row, `[B, 1 + P, C]`.
    pub vision: Tensor,
    /// The text's tokens, `[B, L, C]`; those of padding are ordinary numbers without meaning.
    pub text: Tensor,
}

/// BEiT-3's encoder (torchscale 0.2, `BEiT3`).
///
/// Images may have any size that patches divide. At the size of the position table the numbers are the official ones; at others the table is
/// interpolated, see [`resample_vision_positions`](crate::resample_vision_positions).
///
/// Keys: `beit3.vision_embed.{proj,cls_token}`, `beit3.text_embed.weight`, `beit3.encoder.embed_positions.{A,B}.weight`, `beit3.encoder.layers.N`,
/// `beit3.encoder.layer_norm.{A,B}`.
#[derive(Clone, Debug)]
pub struct Beit3 {
    vision_embed: VisionEmbedding,
    text_embed: TextEmbedding,
    embed_positions: Positions,
    layers: Vec<EncoderLayer>,
    layer_norm: Multiway<LayerNorm>,
    cfg: Beit3Config,
}

impl Beit3 {
    /// Parts of the official files that only pre-training uses.
    pub const UNUSED: [&'static str; 1] = ["beit3.vision_embed.mask_token"];

    /// Reads the network; `vb` is at the root of an official file, or at `mm_extractor` of MPG-SAM 2's.
    pub fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        cfg.validate()?;
        let vb = vb.pp("beit3");
        let encoder = vb.pp("encoder");
        Ok(Self {
            vision_embed: VisionEmbedding::new(cfg, vb.pp("vision_embed"))?,
            text_embed: TextEmbedding::new(cfg, vb.pp("text_embed"))?,
            embed_positions: Positions::new(cfg, encoder.pp("embed_positions"))?,
            layers: (0..cfg.depth)
                .map(|i| EncoderLayer::new(cfg, encoder.pp("layers").pp(i)))
                .collect::<Result<_>>()?,
            layer_norm: multiway_norm(cfg, cfg.embed_dim, encoder.pp("layer_norm"))?,
            cfg: cfg.clone(),
        })
    }

    /// The network with its vision position table interpolated once, to that of square images of `image_size` pixels.
    pub fn resampled(mut self, image_size: usize) -> Result<Self> {
        let (side, _) = self.map_size(image_size, image_size)?;
        self.embed_positions = self.embed_positions.resampled(side)?;
        self.cfg.image_size = image_size;
        Ok(self)
    }

    /// The sizes that it was built with.
    pub fn config(&self) -> &Beit3Config {
        &self.cfg
    }

    /// Normalised images `[B, 3, H, W]` (ImageNet's mean and deviation), sides multiples of the patch, with a text each.
    ///
    /// # Errors
    /// Besides candle's, images that patches do not divide, another number of texts than images, texts longer than the position table, and tokens
    /// that the vocabulary does not have.
    pub fn forward(&self, images: &Tensor, text: &TextTokens) -> Result<Beit3Features> {
        self.forward_observed(images, text, &mut Unobserved)
    }

    /// As [`Self::forward`]; the observer sees whole sequences `[B, N, C]` under the official modules' names: `vision_embed`, `text_embed`,
    /// `encoder_embedding` (both, without positions), `layer{i}.{self_attn_layer_norm,q_proj,inner_attn_ln,self_attn,final_layer_norm,ffn,out}`
    /// (`q_proj` not scaled, `self_attn` and `ffn` without what they are added to), `encoder_out`.
    pub fn forward_observed(
        &self,
        images: &Tensor,
        text: &TextTokens,
        observer: &mut dyn Observer,
    ) -> Result<Beit3Features> {
        let (count, (texts, _)) = (images.dim(0)?, text.dims());
        if count != texts {
            candle_core::bail!("BEiT-3: {count} images and {texts} texts, expected as many of either");
        }
        let out = self.run(Some(images), Some(text), observer)?;
        let part = |part: Option<Tensor>| part.ok_or_else(|| candle_core::Error::msg("BEiT-3: a part is missing"));
        Ok(Beit3Features { vision: part(out.vision)?, text: part(out.text)? })
    }

    /// Images alone: class token and patches, `[B, 1 + P, C]`.
    pub fn encode_images(&self, images: &Tensor) -> Result<Tensor> {
        self.run(Some(images), None, &mut Unobserved)?.joined()
    }

    /// Texts alone, `[B, L, C]`.
    pub fn encode_text(&self, text: &TextTokens) -> Result<Tensor> {
        self.run(None, Some(text), &mut Unobserved)?.joined()
    }

    fn run(&self, images: Option<&Tensor>, text: Option<&TextTokens>, observer: &mut dyn Observer) -> Result<Streams> {
        let mut x = self.embed(images, text, observer)?;
        let mask = match text.and_then(TextTokens::padding) {
            Some(padding) => Some(score_mask(padding, x.length()?, self.text_embed.dtype())?),
            None => None,
        };
        for (i, layer) in self.layers.iter().enumerate() {
            let _layer = trace::part("layers", i);
            x = layer.forward(x, mask.as_ref(), &format!("layer{i}"), observer)?;
        }
        let out = self.layer_norm.forward(&x)?;
        if observer.wants("encoder_out") {
            observer.observe("encoder_out", &out.joined()?)?;
        }
        Ok(out)
    }

    /// Tokens with their positions; those of padding are zeros.
    fn embed(
        &self,
        images: Option<&Tensor>,
        text: Option<&TextTokens>,
        observer: &mut dyn Observer,
    ) -> Result<Streams> {
        let grid = match images.map(Tensor::dims4).transpose()? {
            Some((_, _, height, width)) => self.map_size(height, width)?,
            None => (0, 0),
        };
        let x = Streams {
            vision: images.map(|images| self.vision_embed.forward(images)).transpose()?,
            text: text.map(|text| self.text_embed.forward(text)).transpose()?,
        };
        if observer.active() {
            for (name, part) in [("vision_embed", &x.vision), ("text_embed", &x.text)] {
                part.as_ref().map_or(Ok(()), |part| observer.observe(name, part))?;
            }
            observer.observe("encoder_embedding", &x.joined()?)?;
        }
        Ok(Streams {
            vision: x.vision.map(|x| x.broadcast_add(&self.embed_positions.vision(grid)?)).transpose()?,
            text: x.text.zip(text).map(|(x, text)| self.place_text(&x, text)).transpose()?,
        })
    }

    fn place_text(&self, embedded: &Tensor, text: &TextTokens) -> Result<Tensor> {
        let placed = embedded.broadcast_add(&self.embed_positions.text(text.dims().1)?)?;
        match text.padding() {
            Some(padding) => placed.broadcast_mul(&padding.eq(0u8)?.to_dtype(placed.dtype())?.unsqueeze(2)?), // [B, L, 1]
            None => Ok(placed),
        }
    }

    /// Rows and columns of patches of an image.
    fn map_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        let patch = self.cfg.patch_size;
        if height == 0 || width == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            candle_core::bail!("BEiT-3: an image of {height} x {width} pixels, expected positive multiples of {patch}");
        }
        Ok((height / patch, width / patch))
    }
}

/// What is added to the scores of a sequence of `length` tokens, the last of them the text's: `[B, 1, N, N]`.
fn score_mask(padding: &Tensor, length: usize, dtype: DType) -> Result<Tensor> {
    let (b, text) = padding.dims2()?;
    let keys = (padding.to_dtype(dtype)? * MASKED)?.pad_with_zeros(1, length - text, 0)?; // [B, N]
    keys.reshape((b, 1, 1, length))?.broadcast_as((b, 1, length, length))?.contiguous()
}
