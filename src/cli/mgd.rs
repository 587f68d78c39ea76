//! Options that MGD-SAM2 alone has.

use clap::{Args, ValueEnum};
use seg_models::mgd_sam2::ViewOrder;
use seg_models::registry::{LoadOptions, ModelName};

/// How MGD-SAM2 looks at an image.
#[derive(Args, Clone, Debug)]
pub struct MgdArgs {
    /// MGD-SAM2: average over mirrored and scaled copies of the image, as its authors do; six times the work
    #[arg(long)]
    pub tta: bool,

    /// MGD-SAM2: how its five views go through the encoder; one after another holds one view at a time
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Views::Together)]
    pub views: Views,
}

/// Values of `--views`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Views {
    /// All at once.
    Together,
    /// One after another.
    Sequential,
}

impl MgdArgs {
    /// Refuses these options for other models.
    pub fn check(&self, model: ModelName) -> Result<(), String> {
        match (model, self.tta, self.views) {
            (ModelName::MgdSam2, ..) | (_, false, Views::Together) => Ok(()),
            (_, true, _) => Err(format!("{model} has no --tta, expected mgd-sam2")),
            (_, false, Views::Sequential) => Err(format!("{model} has no --views, expected mgd-sam2")),
        }
    }

    /// As options of the model, the others at their defaults.
    pub fn options(&self) -> LoadOptions {
        let view_order = match self.views {
            Views::Together => ViewOrder::Together,
            Views::Sequential => ViewOrder::Sequential,
        };
        LoadOptions { view_order, test_time_augmentation: self.tta, ..LoadOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_models_refuse() {
        let args = |tta, views| MgdArgs { tta, views };
        assert!(args(true, Views::Sequential).check(ModelName::MgdSam2).is_ok());
        assert!(args(false, Views::Together).check(ModelName::IsNet).is_ok());
        let message = args(true, Views::Together).check(ModelName::IsNet).unwrap_err();
        assert_eq!(message, "is-net has no --tta, expected mgd-sam2");
        assert!(args(false, Views::Sequential).check(ModelName::IsNet).unwrap_err().contains("--views"));
    }
}
