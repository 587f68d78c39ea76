//! Recipes by name or from a file.

use seg_train::recipe::Recipe;

use crate::cli::{Common, Outcome, UsageError};

/// Name and text of each recipe that comes with the command.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("sam2-unet", include_str!("../../../recipes/sam2-unet.toml")),
    ("sam2-unext", include_str!("../../../recipes/sam2-unext.toml")),
    ("mgd-sam2-dis", include_str!("../../../recipes/mgd-sam2-dis.toml")),
    ("is-net", include_str!("../../../recipes/is-net.toml")),
    ("is-net-gt", include_str!("../../../recipes/is-net-gt.toml")),
    ("dis-sam", include_str!("../../../recipes/dis-sam.toml")),
    ("pi-sam-decoder", include_str!("../../../recipes/pi-sam-decoder.toml")),
    ("pi-sam-interactor", include_str!("../../../recipes/pi-sam-interactor.toml")),
    ("mobile-sam", include_str!("../../../recipes/mobile-sam.toml")),
    ("mpg-sam2-pretrain", include_str!("../../../recipes/mpg-sam2-pretrain.toml")),
    ("mpg-sam2", include_str!("../../../recipes/mpg-sam2.toml")),
    ("sam2", include_str!("../../../recipes/sam2.toml")),
    ("own-photos", include_str!("../../../recipes/own-photos.toml")),
    ("sam2-unet-small", include_str!("../../../recipes/small/sam2-unet.toml")),
    ("sam2-unext-small", include_str!("../../../recipes/small/sam2-unext.toml")),
    ("mgd-sam2-small", include_str!("../../../recipes/small/mgd-sam2.toml")),
    ("is-net-small", include_str!("../../../recipes/small/is-net.toml")),
    ("dis-sam-small", include_str!("../../../recipes/small/dis-sam.toml")),
    ("dis-sam-on-is-net", include_str!("../../../recipes/small/dis-sam-on-is-net.toml")),
    ("sam2-unet-tiny", include_str!("../../../recipes/small/sam2-unet-tiny.toml")),
    ("mgd-sam2-tiny", include_str!("../../../recipes/small/mgd-sam2-tiny.toml")),
    ("pi-sam-small", include_str!("../../../recipes/small/pi-sam.toml")),
    ("pi-sam-mobile-small", include_str!("../../../recipes/small/pi-sam-mobile.toml")),
    ("sam2-small", include_str!("../../../recipes/small/sam2.toml")),
    ("mpg-sam2-pretrain-small", include_str!("../../../recipes/small/mpg-sam2-pretrain.toml")),
    ("mpg-sam2-small", include_str!("../../../recipes/small/mpg-sam2.toml")),
];

/// The recipe `name`, which is a file or one of ours, with values changed as `--set` says.
pub fn read(name: &str, changes: &[String]) -> anyhow::Result<Recipe> {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let text = match built_in {
        Some(text) => text,
        None => std::fs::read_to_string(name).map_err(|error| {
            let names = BUILT_IN.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
            UsageError(format!("{name}: cannot read the recipe: {error}; expected a TOML file, or one of {names}"))
        })?,
    };
    Recipe::parse(&text, name, changes).map_err(|error| UsageError(error.to_string()).into())
}

/// Prints names and what each is.
pub fn list(common: &Common) -> anyhow::Result<Outcome> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if common.json {
        let all: Vec<_> =
            BUILT_IN.iter().map(|(name, text)| serde_json::json!({"name": name, "about": about(text)})).collect();
        writeln!(out, "{}", serde_json::Value::Array(all))?;
        return Ok(Outcome::Done);
    }
    for (name, text) in BUILT_IN {
        writeln!(out, "{name:<24} {}", about(text))?;
    }
    Ok(Outcome::Done)
}

/// The first line of a recipe's comment: what it is.
fn about(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}
