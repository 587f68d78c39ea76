//! `hrseg weights groups`.

use anyhow::Context as _;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use seg_checkpoints::Treatment;
use seg_golden::RecordedWeights;
use seg_models::registry::ModelName;

use super::{Common, Outcome, UsageError, print};

pub(super) fn run(model: ModelName, names: bool, common: &Common) -> anyhow::Result<Outcome> {
    let Some(rules) = model.parameter_rules() else {
        let known: Vec<&str> =
            ModelName::ALL.iter().filter(|m| m.parameter_rules().is_some()).map(|m| m.as_str()).collect();
        return Err(UsageError(format!("no rules are known for {model}; known: {}", known.join(", "))).into());
    };
    // the model says which weights it has by asking for them
    let weights = RecordedWeights::new(VarBuilder::zeros(DType::F32, &Device::Cpu));
    let vb = weights.var_builder(DType::F32, &Device::Cpu);
    model.ask_for_weights(vb).context("cannot build the model")?;
    let shapes = weights.requested();
    let table = rules.table(shapes.iter().map(|named| (named.name.as_str(), named.shape.as_slice())));
    if common.json {
        return print(&serde_json::to_string_pretty(&table)?);
    }
    let mut text =
        format!("{:<22} {:>7} {:>12} {:>8} {:>12}", "group", "lr x", "weight decay", "tensors", "parameters");
    for row in table.iter().filter(|row| !row.names.is_empty()) {
        let (name, lr, decay) = match &row.treatment {
            Treatment::Trained(group) => (&*group.name, group.lr_factor.to_string(), group.weight_decay.to_string()),
            Treatment::Statistic => ("(running statistics)", "-".into(), "-".into()),
            Treatment::Frozen => ("(frozen)", "0".into(), "-".into()),
        };
        text += &format!("\n{name:<22} {lr:>7} {decay:>12} {:>8} {:>12}", row.names.len(), row.elements());
        if names {
            text.extend(row.names.iter().map(|(name, shape)| format!("\n    {name} {shape:?}")));
        }
    }
    text += "\n\nrules, the first that fits decides:";
    for rule in rules.rules() {
        let to = match &rule.treatment {
            Treatment::Trained(group) => &*group.name,
            Treatment::Statistic => "(running statistics)",
            Treatment::Frozen => "(frozen)",
        };
        text += &format!("\n    {:<36} {to}", rule.pattern);
    }
    print(&text)
}
