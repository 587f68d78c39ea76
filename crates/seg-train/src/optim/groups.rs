//! AdamW over groups of weights.

use candle_core::Result;
use candle_core::backprop::GradStore;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use seg_checkpoints::GroupedVariables;

/// AdamW in which every group of weights has its own factor on the learning rate and its own weight decay.
#[derive(Debug)]
pub struct GroupedAdamW {
    groups: Vec<(f64, AdamW)>,
    learning_rate: f64,
}

impl GroupedAdamW {
    /// `groups` as [`seg_checkpoints::TrainingWeights::grouped`] gives them; `params` has the learning rate that their factors are for. Its weight decay
    /// does not count: groups bring theirs.
    pub fn new(groups: Vec<GroupedVariables>, params: ParamsAdamW) -> Result<Self> {
        let optimiser = |(group, vars): GroupedVariables| {
            let params =
                ParamsAdamW { lr: params.lr * group.lr_factor, weight_decay: group.weight_decay, ..params.clone() };
            Ok((group.lr_factor, AdamW::new(vars.into_iter().map(|(_, var)| var).collect(), params)?))
        };
        Ok(Self { learning_rate: params.lr, groups: groups.into_iter().map(optimiser).collect::<Result<_>>()? })
    }

    /// One step. Weights that the backward pass has not reached are left alone.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.groups.iter_mut().try_for_each(|(_, optimiser)| optimiser.step(grads))
    }

    /// The learning rate, before any factor.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// A new learning rate, before any factor.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
        self.groups.iter_mut().for_each(|(factor, optimiser)| optimiser.set_learning_rate(learning_rate * *factor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use seg_checkpoints::ParameterGroup;

    #[test]
    fn groups_have_their_own_rates() -> Result<()> {
        let vars = [Var::new(1f64, &Device::Cpu)?, Var::new(1f64, &Device::Cpu)?];
        let group =
            |name, lr, decay, var: &Var| (ParameterGroup::new(name, lr, decay), vec![(name.to_owned(), var.clone())]);
        let groups = vec![group("fast", 1., 0., &vars[0]), group("slow", 0.1, 0.5, &vars[1])];
        let mut optimiser = GroupedAdamW::new(groups, ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() })?;
        let grads = (vars[0].as_tensor() + vars[1].as_tensor())?.backward()?;
        optimiser.step(&grads)?;
        // the first step of Adam is the learning rate; decay takes its part of the weight before
        let value = |var: &Var| var.as_tensor().to_scalar::<f64>();
        assert!((value(&vars[0])? - 0.99).abs() < 1e-8);
        assert!((value(&vars[1])? - (1. - 0.001 * 0.5 - 0.001)).abs() < 1e-8);
        optimiser.set_learning_rate(0.);
        optimiser.step(&grads)?;
        assert!((value(&vars[0])? - 0.99).abs() < 1e-8 && optimiser.learning_rate() == 0.);
        Ok(())
    }
}
