//! Looking at a model's intermediate tensors.

use candle_core::{Result, Tensor};

/// Receives named intermediate tensors while a model runs: for parity checks, figures and debugging.
///
/// Names are the module's place in the model (`trunk.block3`, `neck.fpn0`). Tensors are shared, not copied.
pub trait Observer {
    /// Called once for each tensor, in the order of computation.
    fn observe(&mut self, name: &str, tensor: &Tensor) -> Result<()>;

    /// Whether anybody looks: what is computed for the observer alone is left out otherwise.
    fn active(&self) -> bool {
        true
    }

    /// Whether anybody looks at the tensor `name`: what is costly and computed for the observer alone asks this.
    fn wants(&self, name: &str) -> bool {
        let _ = name;
        self.active()
    }
}

/// An [`Observer`] that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&mut self, _name: &str, _tensor: &Tensor) -> Result<()> {
        Ok(())
    }

    fn active(&self) -> bool {
        false
    }
}

impl<F: FnMut(&str, &Tensor) -> Result<()>> Observer for F {
    fn observe(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self(name, tensor)
    }
}

/// Shows a channels-last map `[B, H, W, C]` as `[B, C, H, W]`, a view.
pub fn observe_nhwc(observer: &mut dyn Observer, name: &str, map: &Tensor) -> Result<()> {
    if observer.active() { observer.observe(name, &map.permute((0, 3, 1, 2))?) } else { Ok(()) }
}
