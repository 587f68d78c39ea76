//! What training starts from: the encoders' own published files.

use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use sam_adapters::wrapped_name;
use seg_checkpoints::Checkpoint;
use vit_encoder::dinov2::{PositionInterpolation, resample_position_table};

use crate::base_files::{self, BaseFiles, sam_2_0};
use crate::error::Result;

/// The frozen encoders' weights under the names that they have inside SAM2-UNet and SAM2-UNeXT, out of the files that both train from: SAM 2.0's
/// (`sam2_hiera_large.pt`), not 2.1's, and for SAM2-UNeXT DINOv2's (timm's `vit_large_patch14_dinov2`, or the original).
///
/// DINOv2's position table is interpolated to the size that the model asks for, as timm does it at loading.
#[derive(Clone)]
pub struct BaseWeights {
    sam2: Checkpoint,
    trunk: &'static str,
    dino: Option<Checkpoint>,
}

/// Beginning of DINOv2's names in SAM2-UNeXT.
const DINO: &str = "dino.model.";
/// Part of the names of adapters, which no base file has.
const ADAPTER: &str = ".prompt_learn.";

impl BaseWeights {
    /// For SAM2-UNeXT.
    ///
    /// # Errors
    /// A file that cannot be read, or a `sam2` that is not SAM 2.0.
    pub fn unext(sam2: &Path, dino: &Path) -> Result<Self> {
        Ok(Self { sam2: sam_2_0(sam2)?, trunk: "sam.", dino: Some(Checkpoint::open(dino)?) })
    }

    /// For SAM2-UNet.
    ///
    /// # Errors
    /// As there.
    pub fn unet(sam2: &Path) -> Result<Self> {
        Ok(Self { sam2: sam_2_0(sam2)?, trunk: "encoder.", dino: None })
    }

    /// A builder at the root of the model's state dict: the encoders from the files, everything else (adapters, decoder) from `rest`.
    pub fn var_builder(&self, rest: VarBuilder<'static>, dtype: DType, device: &Device) -> VarBuilder<'static> {
        base_files::var_builder(self.clone(), rest, dtype, device)
    }

    /// The file and the name in it of the weight that the model calls `name`; `None`: no base file has it.
    pub fn origin(&self, name: &str) -> Option<(&Path, String)> {
        self.find(name).map(|(file, key)| (file.path(), key))
    }
}

impl BaseFiles for BaseWeights {
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)> {
        if let (Some(dino), Some(key)) = (&self.dino, name.strip_prefix(DINO)) {
            return Some((dino, key.to_owned()));
        }
        let key = name.strip_prefix(self.trunk).filter(|_| !name.contains(ADAPTER))?;
        Some((&self.sam2, format!("image_encoder.trunk.{}", bare_name(key))))
    }

    fn fitted(&self, key: &str, tensor: Tensor, shape: &Shape) -> candle_core::Result<Tensor> {
        match *shape.dims() {
            [1, rows, _] if key == "pos_embed" => {
                resample_position_table(&tensor, rows, PositionInterpolation::Antialiased)
            }
            _ => Ok(tensor),
        }
    }
}

/// The reverse of [`wrapped_name`].
fn bare_name(name: &str) -> String {
    let bare = name.replacen(".block.", ".", 1);
    if wrapped_name(&bare) == name { bare } else { name.to_owned() }
}
