//! SAM 2's configuration from a case: the official yaml's name and the overrides of its fields.

use super::{Result, Run, field};
use hiera_encoder::HieraConfig;
use hr_decoders::DynamicMultimask;
use seg_golden::Case;
use seg_models::sam2::video::Sam2VideoConfig;
use seg_models::sam2::{Sam2Config, Sam2Version};
use serde_json::{Map, Value};

/// The configuration that `config.yaml`, `config.overrides` (with `sam2_` before them where SAM 2 is a part of another model) and the fields beside them describe.
pub(super) fn sam2_video_config(run: &Run<'_, '_>) -> Result<Sam2VideoConfig> {
    let (case, json) = (run.case, &run.case.config);
    let [yaml, overrides] =
        if json["sam2_yaml"].is_null() { ["yaml", "overrides"] } else { ["sam2_yaml", "sam2_overrides"] };
    let yaml: String = field(case, &format!("config.{yaml}"), &json[yaml])?;
    let config = preset(&yaml).ok_or_else(|| {
        case.field_error("config.yaml", format!("{yaml:?}, expected such as configs/sam2.1/sam2.1_hiera_t.yaml"))
    })?;
    let mut video = Sam2VideoConfig::new(config);
    let delta: Option<f64> = optional(case, "delta")?;
    let thresh: Option<f64> = optional(case, "thresh")?;
    if let Some(rule) = &mut video.sam2.mask_decoder.dynamic_multimask {
        rule.stability_delta = delta.unwrap_or(rule.stability_delta);
        rule.stability_thresh = thresh.unwrap_or(rule.stability_thresh);
    }
    if optional(case, "dynamic_multimask_via_stability")? == Some(false) {
        video.sam2.mask_decoder.dynamic_multimask = None;
    }
    let overrides: Vec<String> = optional(case, overrides)?.unwrap_or_default();
    for text in &overrides {
        apply(case, &mut video, text)?;
    }
    if !json["image_size"].is_null() {
        video.sam2.image_size = field(case, "config.image_size", &json["image_size"])?;
    }
    let binarize: Option<bool> = optional(case, "binarize_mask_from_pts_for_mem_enc")?;
    video.memory.mask.binarize_mask_from_pts = binarize.unwrap_or(video.memory.mask.binarize_mask_from_pts);
    Ok(video)
}

fn optional<T: serde::de::DeserializeOwned>(case: &Case, name: &str) -> Result<Option<T>> {
    match &case.config[name] {
        Value::Null => Ok(None),
        value => field(case, &format!("config.{name}"), value).map(Some),
    }
}

/// The trunk that `config.hiera` describes: by its fields, or by the name of an official yaml.
pub(super) fn hiera_config(case: &Case) -> Result<HieraConfig> {
    const FIELD: &str = "config.hiera";
    let hiera = &case.config["hiera"];
    if let Some(yaml) = hiera.as_str() {
        let known = preset(yaml).map(|config| config.image_encoder.trunk);
        let problem = || case.field_error(FIELD, format!("{yaml:?}, expected such as sam2_hiera_l.yaml")).into();
        return known.ok_or_else(problem);
    }
    let mut trunk: Map<String, Value> = field(case, FIELD, hiera)?;
    square_background(case, &mut trunk)?;
    field(case, FIELD, &Value::Object(trunk))
}

/// The preset of an official yaml, by its file name.
fn preset(yaml: &str) -> Option<Sam2Config> {
    let file = yaml.rsplit('/').next()?.strip_suffix(".yaml")?;
    let (version, size) = match file.split_once("_hiera_")? {
        ("sam2", size) => (Sam2Version::V2_0, size),
        ("sam2.1", size) => (Sam2Version::V2_1, size),
        _ => return None,
    };
    Some(match size {
        "t" => Sam2Config::tiny(version),
        "s" => Sam2Config::small(version),
        "b+" => Sam2Config::base_plus(version),
        "l" => Sam2Config::large(version),
        _ => return None,
    })
}

/// Apply one override such as `++model.image_encoder.trunk.embed_dim=16`.
fn apply(case: &Case, video: &mut Sam2VideoConfig, text: &str) -> Result<()> {
    let wrong = |problem: &str| case.field_error("config.overrides", format!("{text}: {problem}"));
    let (key, value) = text.trim_start_matches('+').split_once('=').ok_or_else(|| wrong("expected key=value"))?;
    let value: Value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_string()));
    if let Some(name) = key.strip_prefix("model.").filter(|name| is_video_setting(name)) {
        return apply_video(case, video, name, &value, text);
    }
    let config = &mut video.sam2;
    let encoder = &mut config.image_encoder;
    if let Some(name) = key.strip_prefix("model.image_encoder.trunk.") {
        encoder.trunk = with_field(case, &encoder.trunk, name, value)?;
        return Ok(());
    }
    let rule = &mut config.mask_decoder.dynamic_multimask;
    let named = format!("config.overrides: {text}");
    match key {
        "model.image_size" => config.image_size = field(case, &named, &value)?,
        "model.image_encoder.scalp" => encoder.scalp = field(case, &named, &value)?,
        "model.image_encoder.neck.d_model" => encoder.d_model = field(case, &named, &value)?,
        "model.image_encoder.neck.fpn_top_down_levels" => {
            encoder.fpn_top_down_levels = field(case, &named, &value)?;
        }
        "model.image_encoder.neck.fpn_interp_model" => encoder.fpn_interp = field(case, &named, &value)?,
        "model.image_encoder.neck.backbone_channel_list" => {
            // follows from the trunk; listed coarsest first
            let listed: Vec<usize> = field(case, &named, &value)?;
            let mut channels = encoder.trunk.stage_channels();
            channels.reverse();
            if listed != channels {
                return Err(wrong(&format!("the trunk before it has {channels:?}")).into());
            }
        }
        "model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability" => {
            let on: bool = field(case, &named, &value)?;
            *rule = on.then_some(DynamicMultimask { stability_delta: 0.05, stability_thresh: 0.98 });
        }
        "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta" => {
            let delta = field(case, &named, &value)?;
            rule.iter_mut().for_each(|rule| rule.stability_delta = delta);
        }
        "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh" => {
            let thresh = field(case, &named, &value)?;
            rule.iter_mut().for_each(|rule| rule.stability_thresh = thresh);
        }
        _ => return Err(wrong("this override is not known here").into()),
    }
    Ok(())
}

/// Whether the setting `name` (without `model.`) is of the memory or the tracking.
fn is_video_setting(name: &str) -> bool {
    const SETTINGS: [&str; 10] = [
        "num_maskmem",
        "max_obj_ptrs_in_encoder",
        "max_cond_frames_in_attn",
        "memory_temporal_stride_for_eval",
        "fill_hole_area",
        "binarize_mask_from_pts_for_mem_enc",
        "multimask_min_pt_num",
        "multimask_max_pt_num",
        "add_all_frames_to_correct_as_cond",
        "memory_attention.num_layers",
    ];
    SETTINGS.contains(&name)
        || name.ends_with("self_attention.feat_sizes")
        || name.ends_with("cross_attention.feat_sizes")
}

fn apply_video(case: &Case, video: &mut Sam2VideoConfig, name: &str, value: &Value, text: &str) -> Result<()> {
    let named = format!("config.overrides: {text}");
    let (bank, tracking) = (&mut video.memory.bank, &mut video.tracking);
    let count = || field::<usize>(case, &named, value);
    match name {
        "num_maskmem" => bank.num_maskmem = count()?,
        "max_obj_ptrs_in_encoder" => bank.max_obj_ptrs_in_encoder = count()?,
        // -1 is all of them
        "max_cond_frames_in_attn" => {
            bank.max_cond_frames_in_attn = usize::try_from(field::<i64>(case, &named, value)?).ok();
        }
        "memory_temporal_stride_for_eval" => bank.memory_temporal_stride = count()?,
        "fill_hole_area" => tracking.fill_hole_area = field(case, &named, value)?,
        "binarize_mask_from_pts_for_mem_enc" => {
            video.memory.mask.binarize_mask_from_pts = field(case, &named, value)?;
        }
        "multimask_min_pt_num" => tracking.multimask_min_pt_num = count()?,
        "multimask_max_pt_num" => tracking.multimask_max_pt_num = count()?,
        "add_all_frames_to_correct_as_cond" => {
            tracking.add_all_frames_to_correct_as_cond = field(case, &named, value)?;
        }
        "memory_attention.num_layers" => video.memory.attention.num_layers = count()?,
        // the official tables are made anew for other sizes
        _ => {}
    }
    Ok(())
}

/// `trunk` with one of its fields replaced, by the field's official name.
fn with_field(case: &Case, trunk: &HieraConfig, name: &str, value: Value) -> Result<HieraConfig> {
    let named = format!("config.overrides: model.image_encoder.trunk.{name}");
    let json = serde_json::to_value(trunk).map_err(|e| case.field_error(&named, e.to_string()))?;
    let mut fields: Map<String, Value> = field(case, &named, &json)?;
    fields.insert(name.to_string(), value);
    square_background(case, &mut fields)?;
    field(case, &named, &Value::Object(fields))
}

/// The official setting for the background grid is a pair of equal sides; ours is the side.
fn square_background(case: &Case, trunk: &mut Map<String, Value>) -> Result<()> {
    const KEY: &str = "window_pos_embed_bkg_spatial_size";
    let Some(Value::Array(sides)) = trunk.get(KEY) else { return Ok(()) };
    match &sides[..] {
        [h, w] if h == w => {
            let side = h.clone();
            trunk.insert(KEY.to_string(), side);
            Ok(())
        }
        other => Err(case.field_error(KEY, format!("{other:?}, expected two equal sides")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_yaml_names() {
        assert_eq!(preset("configs/sam2.1/sam2.1_hiera_b+.yaml"), Some(Sam2Config::base_plus(Sam2Version::V2_1)));
        assert_eq!(preset("configs/sam2/sam2_hiera_l.yaml"), Some(Sam2Config::large(Sam2Version::V2_0)));
        assert_eq!(preset("configs/sam3/sam3_hiera_l.yaml"), None);
    }
}
