//! Weights to begin with: at random from a seed, or from a file as far as it has them.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use seg_checkpoints::Checkpoint;
use seg_data::training::{Dice, Place};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Bound of the biases that a mask prompt goes through: where the mask is empty they are all there is, and the norms behind them would blow up nothing at all.
const MASKS: f64 = 0.25;
/// Deviation of BEiT-3's embeddings of places.
const PLACES: f64 = 0.02;

/// Random weights: each a function of the seed, its name and its shape alone.
///
/// What a weight is, its name and shape tell: running statistics are those of nothing seen yet, biases 0 (but those of `mask_downscaling`), vectors (scales of norms) 1, tokens and embeddings of prompts and
/// words of the normal distribution, BEiT-3's of places the same times 0.02 (what is seen counts first, where it is later), everything else uniform within `1/√fan_in`, as torch begins
/// linear layers and convolutions.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// The seed.
    pub seed: u64,
}

impl Fresh {
    /// A builder at the root of any state dict.
    pub fn var_builder(self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), dtype, device.clone())
    }

    fn tensor(self, shape: &Shape, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let dims = shape.dims();
        match last {
            "running_mean" | "num_batches_tracked" => return Tensor::zeros(shape, dtype, device),
            // drawn, below
            bias if bias.ends_with("bias") && name.contains(".mask_downscaling.") => {}
            bias if bias.ends_with("bias") => return Tensor::zeros(shape, dtype, device),
            "running_var" => return Tensor::ones(shape, dtype, device),
            _ if dims.len() < 2 => return Tensor::ones(shape, dtype, device),
            _ => {}
        }
        let mut dice = Dice::new(Place { seed: self.seed, epoch: 0, index: 0 }, name);
        let fan_in: usize = dims[1..].iter().product();
        let bound = if dims.len() < 2 { MASKS } else { 1. / (fan_in.max(1) as f64).sqrt() };
        let normal = if name.contains(".embed_positions.") { Some(PLACES) } else { is_embedding(name).then_some(1.) };
        let mut number = || match normal {
            Some(deviation) => deviation * dice.normal(),
            None => dice.between(-bound, bound),
        };
        let values: Vec<f64> = (0..shape.elem_count()).map(|_| number()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }
}

/// Whether a weight is a token or an embedding by its own name, not by that of a layer which it is in (`cross_attn_token_to_image.q_proj.weight`).
fn is_embedding(name: &str) -> bool {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let own = name.rsplit('.').next().unwrap_or(name);
    let numbered = name.rsplit('.').nth(1) == Some("point_embeddings");
    const NAMES: [&str; 4] =
        ["not_a_point_embed", "no_mask_embed", "points_flag", "positional_encoding_gaussian_matrix"];
    own.contains("token") || numbered || own == "text_embed" || NAMES.contains(&own)
}

impl SimpleBackend for Fresh {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(&shape, name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name}: a weight without a file needs a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// Weights of a file where it has them in the right shape, and of `rest` where not.
///
/// A convolution or linear layer that has more inputs than the file's gets the file's weights for the first of them and zeros for the others: what is new begins
/// without a say.
#[derive(Clone)]
pub struct Partly {
    file: Checkpoint,
    rest: VarBuilder<'static>,
    begun: Arc<Mutex<Begun>>,
}

/// Where the weights of a model came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// From the file.
    pub from_file: BTreeSet<String>,
    /// From the file, and zeros for inputs that it does not have.
    pub widened: BTreeSet<String>,
    /// Not in the file, or in another shape.
    pub fresh: BTreeSet<String>,
}

impl Partly {
    /// `rest` is at the root of the state dict.
    pub fn new(file: Checkpoint, rest: VarBuilder<'static>) -> Self {
        Self { file, rest, begun: Arc::default() }
    }

    /// A builder at the root of the state dict.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// What models have asked for.
    pub fn begun(&self) -> Begun {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, put: impl FnOnce(&mut Begun)) {
        put(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl SimpleBackend for Partly {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let stored = match self.file.get(name) {
            Some(_) => Some(self.file.tensor(name, &Device::Cpu).map_err(candle_core::Error::wrap)?),
            None => None,
        };
        if let Some(tensor) = stored {
            if *tensor.shape() == shape {
                self.note(|begun| _ = begun.from_file.insert(name.to_owned()));
                return tensor.to_dtype(dtype)?.to_device(device);
            }
            let (of, wanted) = (tensor.dims(), shape.dims());
            let wider = of.len() == wanted.len()
                && of.len() >= 2
                && of[1] < wanted[1]
                && of[0] == wanted[0]
                && of[2..] == wanted[2..];
            if wider {
                let mut missing = wanted.to_vec();
                missing[1] -= of[1];
                let zeros = Tensor::zeros(missing, tensor.dtype(), &Device::Cpu)?;
                self.note(|begun| _ = begun.widened.insert(name.to_owned()));
                return Tensor::cat(&[&tensor, &zeros], 1)?.to_dtype(dtype)?.to_device(device);
            }
        }
        self.note(|begun| _ = begun.fresh.insert(name.to_owned()));
        self.rest.get_with_hints_dtype(shape, name, init, dtype)?.to_device(device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.file.tensor(name, &Device::Cpu).map_err(candle_core::Error::wrap)?.to_dtype(dtype)?.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.file.get(name).is_some() || self.rest.contains_tensor(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_checkpoints::write_safetensors;
    use std::collections::BTreeMap;

    #[test]
    fn names_and_shapes_tell_the_numbers() -> Result<()> {
        let vb = Fresh { seed: 1 }.var_builder(DType::F32, &Device::Cpu);
        let flat = |shape: &[usize], name: &str| vb.get(shape, name)?.flatten_all()?.to_vec1::<f32>();
        assert!(flat(&[5], "norm.weight")?.iter().all(|v| *v == 1.));
        for zeros in ["conv.bias", "attention.in_proj_bias", "bn.running_mean"] {
            assert!(flat(&[5], zeros)?.iter().all(|v| *v == 0.), "{zeros}");
        }
        let masks = flat(&[16], "prompt_encoder.mask_downscaling.3.bias")?;
        assert!(masks.iter().all(|v| v.abs() <= 0.25) && masks.iter().any(|v| v.abs() > 0.15), "{masks:?}");
        assert!(flat(&[16], "prompt_encoder.mask_downscaling.4.weight")?.iter().all(|v| *v == 1.));
        assert!(flat(&[2, 128], "pe_layer.positional_encoding_gaussian_matrix")?.iter().any(|v| v.abs() > 1.5));
        assert!(flat(&[5], "bn.running_var")?.iter().all(|v| *v == 1.));
        let weights = flat(&[8, 16, 3, 3], "conv.weight")?;
        assert!(weights.iter().all(|v| v.abs() <= 1. / 12.) && weights.iter().any(|v| v.abs() > 0.9 / 12.));
        assert_eq!(weights, flat(&[8, 16, 3, 3], "conv.weight")?);
        assert_ne!(weights, flat(&[8, 16, 3, 3], "conv2.weight")?);
        let other = Fresh { seed: 2 }.var_builder(DType::F32, &Device::Cpu);
        assert_ne!(weights, other.get((8, 16, 3, 3), "conv.weight")?.flatten_all()?.to_vec1::<f32>()?);
        let widest =
            |name: &str| -> Result<f32> { Ok(flat(&[64, 256], name)?.into_iter().fold(0., |m, v| v.abs().max(m))) };
        for name in ["mask_tokens.weight", "x.point_embeddings.3.weight", "interact_2.points_flag.weight"] {
            assert!(widest(name)? > 2., "{name}");
        }
        for name in ["cross_attn_token_to_image.q_proj.weight", "interact_2.token_embed.1.layers.0.weight"] {
            assert!(widest(name)? <= 1. / 16., "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_file_gives_what_it_has() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("w.safetensors");
        let arange = |n: usize| Tensor::arange(0f32, n as f32, &Device::Cpu);
        let tensors = BTreeMap::from([
            ("a.weight".to_owned(), arange(6)?.reshape((2, 3))?),
            ("b.weight".to_owned(), arange(18)?.reshape((1, 2, 3, 3))?),
            ("c.weight".to_owned(), arange(4)?),
        ]);
        write_safetensors(&path, &tensors, &BTreeMap::new())?;
        let start = Partly::new(Checkpoint::open(&path)?, Fresh { seed: 0 }.var_builder(DType::F32, &Device::Cpu));
        let vb = start.var_builder(DType::F32, &Device::Cpu);
        assert_eq!(vb.get((2, 3), "a.weight")?.to_vec2::<f32>()?, [[0., 1., 2.], [3., 4., 5.]]);
        let wide = vb.get((1, 4, 3, 3), "b.weight")?;
        assert_eq!(wide.narrow(1, 0, 2)?.flatten_all()?.to_vec1::<f32>()?, arange(18)?.to_vec1::<f32>()?);
        assert_eq!(wide.narrow(1, 2, 2)?.abs()?.sum_all()?.to_scalar::<f32>()?, 0.);
        assert_eq!(vb.get(5, "c.weight")?.to_vec1::<f32>()?, [1.; 5]);
        let begun = start.begun();
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(
            [names(&begun.from_file), names(&begun.widened), names(&begun.fresh)],
            [["a.weight"], ["b.weight"], ["c.weight"]]
        );
        Ok(())
    }
}
