//! The configuration of MGD-SAM2's training: what of it counts, what the published code does not look at, what has no place in a recipe.

use std::collections::BTreeMap;

use yaml_serde::Value;

/// What has become of a configuration.
#[derive(Debug, Default)]
pub struct Converted {
    /// `key=value`s that change the recipe of the paper.
    pub changes: Vec<String>,
    /// Sentences about what counts in another way, or not at all.
    pub notes: Vec<String>,
    /// Keys that are not of such a configuration.
    pub unknown: Vec<String>,
}

/// Keys that the published training does not look at. A last part `*` stands for all that follows.
const WITHOUT_EFFECT: &[&str] = &[
    "data_norm.*",
    "lr_min",
    "multi_step_lr.*",
    "optimizer.args.weight_decay",
    "model.args.encoder_mode.name",
    "model.args.encoder_mode.num_pos_feats",
    "model.args.encoder_mode.normalize",
    "model.args.encoder_mode.scale",
    "model.args.encoder_mode.temperature",
    "model.args.encoder_mode.fpn_interp_model",
    "model.args.encoder_mode.img_size",
    "model.args.encoder_mode.mlp_ratio",
    "model.args.encoder_mode.qkv_bias",
    "model.args.encoder_mode.use_rel_pos",
    "model.args.encoder_mode.window_size",
    "model.args.encoder_mode.out_chans",
    "model.args.encoder_mode.scale_factor",
    "model.args.encoder_mode.input_type",
    "model.args.encoder_mode.freq_nums",
    "model.args.encoder_mode.prompt_type",
    "model.args.encoder_mode.tuning_stage",
    "model.args.encoder_mode.handcrafted_tune",
    "model.args.encoder_mode.embedding_tune",
    "model.args.encoder_mode.adaptor",
    "model.args.encoder_mode.embed_dim",
    "model.args.encoder_mode.depth",
    "model.args.encoder_mode.num_heads",
    "model.args.encoder_mode.global_attn_indexes",
    "train_dataset.wrapper.args.augment",
    "train_dataset.wrapper1.args.augment",
];

/// What is given elsewhere here: beginning of the keys, and where it is given.
const ELSEWHERE: &[(&str, &str)] = &[
    ("test_dataset", "is no part of a training: `hrseg evaluate` measures afterwards"),
    ("eval_type", "validation.watch names the score that tells the best checkpoint"),
    ("epoch_val", "validation.every counts steps"),
    ("epoch_save", "checkpoint.every counts steps"),
    ("resume", "`hrseg train --resume` goes on by itself"),
    ("start_epoch", "`hrseg train --resume` goes on by itself"),
];

/// Numbers that the architecture has; others cannot be had here.
const FIXED: &[(&str, &str)] = &[
    ("model.name", "sam"),
    ("model.args.loss", "iou"),
    ("model.args.encoder_mode.d_model", "256"),
    ("model.args.encoder_mode.prompt_embed_dim", "256"),
    ("model.args.encoder_mode.patch_size", "16"),
    ("model.args.encoder_mode.fpn_top_down_levels", "[2, 3]"),
];

const MODE: &str = "model.args.encoder_mode";

/// Reads a configuration.
///
/// # Errors
/// Text that is no YAML, lacks what a training needs, or asks for what is not here: the message has the key and its value.
pub fn converted(text: &str) -> Result<Converted, String> {
    let value: Value = yaml_serde::from_str(text).map_err(|error| format!("no YAML: {error}"))?;
    if !value.is_mapping() {
        return Err("expected keys and values, as in MGD-SAM2's configs/*.yaml".into());
    }
    let mut keys = Keys::default();
    keys.flatten("", value);
    let mut made = Converted::default();
    fixed(&mut keys)?;
    model(&mut keys, &mut made)?;
    training(&mut keys, &mut made)?;
    data(&mut keys, &mut made)?;
    for (key, value) in keys.0 {
        let without = WITHOUT_EFFECT.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => key == *pattern,
        });
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| key == *name || key.starts_with(&format!("{name}.")));
        match elsewhere {
            _ if without => made.notes.push(format!("{key} = {value}: the published training does not look at it")),
            Some((_, why)) => made.notes.push(format!("{key} = {value}: {why}")),
            None => made.unknown.push(key),
        }
    }
    Ok(made)
}

/// All that is no mapping, as text, by dotted keys.
#[derive(Default)]
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn flatten(&mut self, at: &str, value: Value) {
        match value {
            Value::Mapping(mapping) if !mapping.is_empty() => {
                for (key, value) in mapping {
                    let key = plain(&key);
                    self.flatten(&if at.is_empty() { key } else { format!("{at}.{key}") }, value);
                }
            }
            value => drop(self.0.insert(at.to_owned(), plain(&value))),
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn need(&mut self, key: &str) -> Result<String, String> {
        self.take(key).ok_or_else(|| format!("{key} is missing"))
    }

    fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<T, String> {
        let value = self.need(key)?;
        value.parse().map_err(|_| format!("{key} is {value}, expected a number"))
    }

    fn list(&mut self, key: &str) -> Result<Vec<usize>, String> {
        let value = self.need(key)?;
        let wrong = || format!("{key} is {value}, expected a list of whole numbers");
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
        inner.split(',').map(|number| number.trim().parse().map_err(|_| wrong())).collect()
    }
}

/// A value in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(values) => format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Mapping(_) => "{…}".into(),
        Value::Tagged(tagged) => plain(&tagged.value),
    }
}

fn fixed(keys: &mut Keys) -> Result<(), String> {
    for (key, expected) in FIXED {
        if let Some(value) = keys.take(key).filter(|value| value != expected) {
            return Err(format!("{key} is {value}, expected {expected}: nothing else is here"));
        }
    }
    Ok(())
}

fn model(keys: &mut Keys, made: &mut Converted) -> Result<(), String> {
    let side: usize = keys.number("model.args.inp_size")?;
    let mode = |key: &str| format!("{MODE}.{key}");
    let channels = keys.list(&mode("backbone_channel_list"))?;
    let embed_dim = channels.last().copied().unwrap_or(0);
    if channels != [8, 4, 2, 1].map(|times| times * embed_dim) {
        let key = mode("backbone_channel_list");
        return Err(format!("{key} is {channels:?}, expected each half of the one before, four of them"));
    }
    let heads: usize = keys.number(&mode("num_heads_hiera"))?;
    let [stages, mut global, windows] =
        [keys.list(&mode("stages"))?, keys.list(&mode("global_att_blocks"))?, keys.list(&mode("window_spec"))?];
    global.sort_unstable();
    let key = mode("window_pos_embed_bkg_spatial_size");
    let background = keys.list(&key)?;
    let [side_of_table, _] = background[..] else {
        return Err(format!("{key} is {background:?}, expected two numbers"));
    };
    if background[1] != side_of_table {
        return Err(format!("{key} is {background:?}, expected the same number twice"));
    }
    made.changes.push(format!("model.image_size={}", side.saturating_mul(2)));
    made.changes.push(format!(
        "model.trunk={{ embed_dim = {embed_dim}, num_heads = {heads}, stages = {stages:?}, global_att_blocks = {global:?}, window_spec = {windows:?}, window_pos_embed_bkg_spatial_size = {side_of_table} }}"
    ));
    if side > 0 {
        made.notes.push(format!(
            "inp_size {side} is that of the views: pictures are learnt at {0} x {0}",
            side.saturating_mul(2)
        ));
    }
    if let Some(file) = keys.take("sam_checkpoint") {
        made.changes.push(format!("start.weights={}", quoted(&file)));
    }
    Ok(())
}

fn training(keys: &mut Keys, made: &mut Converted) -> Result<(), String> {
    made.changes.push(format!("length={{ epochs = {} }}", keys.number::<u64>("epoch_max")?));
    made.changes.push(format!("schedule.lr={:?}", keys.number::<f64>("optimizer.args.lr")?));
    let optimizer = keys.need("optimizer.name")?;
    match optimizer.as_str() {
        "adamw" => made.changes.push("optimizer.decoupled=true".into()),
        "adam" => made.changes.push("optimizer.decoupled=false".into()),
        _ => return Err(format!("optimizer.name is {optimizer}, expected adamw or adam: no other is here")),
    }
    if let Some(betas) = keys.take("optimizer.args.betas") {
        made.changes.push(format!("optimizer.betas={betas}"));
    }
    if let Some(eps) = keys.take("optimizer.args.eps") {
        made.changes.push(format!("optimizer.eps={eps}"));
    }
    Ok(())
}

/// Folders are arguments of the command; only their names are kept, in notes.
fn data(keys: &mut Keys, made: &mut Converted) -> Result<(), String> {
    made.changes.push(format!("data.batch={}", keys.number::<u64>("train_dataset.batch_size")?));
    let view = made.changes.iter().find_map(|change| change.strip_prefix("model.image_size=")?.parse::<u64>().ok());
    for (dataset, wrapper, argument) in [("dataset", "wrapper", "--data"), ("dataset1", "wrapper1", "more --data")] {
        folders(keys, &format!("train_dataset.{dataset}"), argument, made)?;
        let prefix = format!("train_dataset.{wrapper}");
        if let Some(size) = keys.take(&format!("{prefix}.args.inp_size"))
            && size.parse::<u64>().ok().map(|size| 2 * size) != view
        {
            return Err(format!("{prefix}.args.inp_size is {size}, expected that of model.args.inp_size"));
        }
        if let Some(name) = keys.take(&format!("{prefix}.name")).filter(|name| name != "train") {
            return Err(format!("{prefix}.name is {name}, expected train"));
        }
    }
    if made.notes.iter().any(|note| note.contains("more --data")) {
        made.notes.push("a training has one --data: put both folders into one, or link them".into());
    }
    let sets: Vec<String> =
        std::iter::once("val_dataset".to_owned()).chain((2..10).map(|n| format!("val_dataset{n}"))).collect();
    let mut found = 0;
    for set in sets {
        found += usize::from(folders(keys, &format!("{set}.dataset"), "--val", made)?);
        for key in ["wrapper.name", "wrapper.args.inp_size", "batch_size"] {
            let key = format!("{set}.{key}");
            if let Some(value) = keys.take(&key) {
                made.notes
                    .push(format!("{key} = {value}: one picture at a time is measured, at the size of the training"));
            }
        }
    }
    if found > 1 {
        made.notes
            .push(format!("a training measures on one --val; `hrseg evaluate` measures on all {found} afterwards"));
    }
    Ok(())
}

/// Takes a pair of folders, and tells where to give them.
fn folders(keys: &mut Keys, prefix: &str, argument: &str, made: &mut Converted) -> Result<bool, String> {
    if let Some(name) = keys.take(&format!("{prefix}.name")).filter(|name| name != "paired-image-folders") {
        return Err(format!("{prefix}.name is {name}, expected paired-image-folders"));
    }
    for key in ["cache", "split_key"] {
        let key = format!("{prefix}.args.{key}");
        if let Some(value) = keys.take(&key) {
            made.notes.push(format!("{key} = {value}: of how files are loaded there"));
        }
    }
    let paths = ["root_path_1", "root_path_2"].map(|key| keys.take(&format!("{prefix}.args.{key}")));
    let [Some(images), Some(masks)] = paths else { return Ok(false) };
    made.notes.push(format!("{argument}: images in {images}, masks in {masks}"));
    Ok(true)
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    // JSON's strings are TOML's basic strings
    serde_json::Value::from(text).to_string()
}
