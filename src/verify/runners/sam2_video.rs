//! `sam2_video`: SAM 2's video predictor on synthetic frames.

use super::sam2_config::sam2_video_config;
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use candle_core::{DType, Tensor};
use seg_data::GrayImage;
use seg_models::sam2::video::{
    Direction, FrameMasks, Retention, Sam2VideoModel, Sam2VideoPredictor, SessionOptions, TrackingConfig, VideoFrame,
    VideoSession,
};
use seg_models::{MaskPrompt, Point, Prompts};

/// What the cases do beside the click that their JSON gives, in pixels of the frame: the second object's box, and the
/// click on an already tracked frame.
const SECOND_BOX: [f32; 4] = [60.0, 80.0, 300.0, 280.0];
const CORRECTION: (usize, Point) = (2, Point { x: 100.0, y: 200.0, positive: false });

/// A video of a case, its frames encoded.
struct Video {
    predictor: Sam2VideoPredictor,
    frames: Vec<VideoFrame>,
    click: Prompts,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let mut cfg = sam2_video_config(run)?;
    let hole_area = cfg.tracking.fill_hole_area;
    // the official hole filling needs CUDA, and was skipped but for the outputs that say so
    cfg.tracking.fill_hole_area = 0;
    let weights = Weights::of(case, "model")?;
    let model = Sam2VideoModel::new(&cfg, weights.var_builder(device))?;
    weights.check(run.checks, &[]);
    let video = Video::new(run, Sam2VideoPredictor::new(model, DType::F32, device))?;

    plain(run, &video)?;
    if has(run, "maskprompt.") || has(run, "correction.") {
        mask_prompt_and_correction(run, &video)?;
    }
    if has(run, "reverse.") {
        reverse(run, &video)?;
    }
    if has(run, "holefill.") {
        let tracking = TrackingConfig { fill_hole_area: hole_area, ..cfg.tracking };
        let model = video.predictor.model().clone().with_tracking(tracking);
        let video = Video { predictor: Sam2VideoPredictor::new(model, DType::F32, device), ..video };
        let mut session = video.session();
        session.prompt(0, &video.frames[0], 1, &video.click)?;
        forward(run, &video, &mut session, "holefill.")?;
    }
    Ok(())
}

fn has(run: &Run<'_, '_>, prefix: &str) -> bool {
    run.case.output_names().any(|name| name.starts_with(prefix))
}

impl Video {
    fn new(run: &Run<'_, '_>, predictor: Sam2VideoPredictor) -> Result<Self> {
        let (case, config) = (run.case, &run.case.config);
        let (height, width): (u32, u32) = field(case, "config.video_hw", &config["video_hw"])?;
        let count: usize = field(case, "config.frames", &config["frames"])?;
        let side = predictor.model().config().sam2.image_size;
        let clicks: Vec<[f32; 2]> = field(case, "values.click", &case.values["click"])?;
        let encode = |t: usize| -> Result<VideoFrame> {
            let name = format!("input.frame.{t}");
            let moved = 0.04 * t as f64;
            let image =
                run.inputs().tensor(&name, |pattern| pattern.clone().shifted(moved).image(side, side, run.device))?;
            Ok(predictor.encode_preprocessed(image, (width, height))?)
        };
        let frames = (0..count).map(encode).collect::<Result<Vec<_>>>()?;
        if frames.is_empty() {
            return Err(case.field_error("config.frames", "0, expected at least 1").into());
        }
        let points = clicks.iter().map(|&[x, y]| Point { x, y, positive: true }).collect();
        Ok(Self { predictor, frames, click: Prompts { points, ..Prompts::default() } })
    }

    /// A session that keeps everything, so that all frames can be looked at afterwards.
    fn session(&self) -> VideoSession<'_> {
        let num_frames = Some(self.frames.len());
        self.predictor.session(SessionOptions { num_frames, retention: Retention::Everything, storage: None })
    }
}

/// A click on frame 0 (and a box for a second object), tracked to the end.
fn plain(run: &mut Run<'_, '_>, video: &Video) -> Result<()> {
    let mut session = video.session();
    let clicked = session.prompt(0, &video.frames[0], 1, &video.click)?;
    run.checks.tensor("click.frame0.video_logits", &clicked.logits.unsqueeze(0)?.unsqueeze(0)?);
    if has(run, "obj1.") {
        session.prompt(0, &video.frames[0], 2, &Prompts::bbox(SECOND_BOX))?;
    }
    forward(run, video, &mut session, "")
}

/// Tracks all frames and compares what is shown and what is remembered.
fn forward(run: &mut Run<'_, '_>, video: &Video, session: &mut VideoSession<'_>, prefix: &str) -> Result<()> {
    let model = video.predictor.model();
    let objects = session.objects();
    for (t, frame) in video.frames.iter().enumerate() {
        let name = format!("frame{t}.pix_feat_with_mem");
        if run.case.output(&name).is_some() && prefix.is_empty() {
            // with two objects the last one's was recorded
            let bank = objects.last().and_then(|object| session.bank(*object));
            let at = (t > 0).then_some((t, Direction::Forward, Some(video.frames.len())));
            if let Some(bank) = bank {
                run.checks.tensor(&name, &model.pix_feat_with_mem(&frame.features, bank, at)?);
            }
        }
        let masks = session.track(t, frame, Direction::Forward)?;
        run.checks.tensor(&format!("{prefix}frame{t}.video_logits"), &stacked(&masks)?);
        for (i, object) in objects.iter().enumerate() {
            let name = if objects.len() > 1 { format!("obj{i}.frame{t}") } else { format!("{prefix}frame{t}") };
            let Some(memory) = session.bank(*object).and_then(|bank| bank.get(t)) else { continue };
            let parts = [
                ("pred_masks", memory.pred_masks.as_ref()),
                ("obj_ptr", Some(&memory.obj_ptr)),
                ("object_score_logits", Some(&memory.object_score_logits)),
            ];
            for (part, tensor) in parts {
                if let Some(tensor) = tensor {
                    run.checks.tensor(&format!("{name}.{part}"), tensor);
                }
            }
            if let Some(map) = &memory.maskmem_features {
                check_map(run, &format!("{name}.maskmem_features"), map)?;
            }
        }
    }
    let like = &video.frames[0].features.vision_features;
    let (_, _, h, w) = like.dims4()?;
    run.checks.tensor(&format!("{prefix}maskmem_pos_enc"), &model.memory().map_positions((h, w), like)?);
    Ok(())
}

/// A bfloat16 map. Values within 1e-6 of the middle between two bfloat16 numbers may be rounded the other way: a neighbour
/// counts as equal, for one value in a hundred at most.
fn check_map(run: &mut Run<'_, '_>, name: &str, map: &Tensor) -> Result<()> {
    let Some(stride) = run.case.output(name).map(|output| output.stride.max(1)) else { return Ok(()) };
    let mut values = map.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let stored = run.case.stored_values(name).unwrap_or_default();
    let mut flips = 0;
    for (value, &reference) in values.iter_mut().step_by(stride).zip(stored) {
        let reference = reference as f32;
        // the upper half of an f32 is its bfloat16: neighbours differ by one there
        let steps = (value.to_bits() >> 16).abs_diff(reference.to_bits() >> 16);
        if steps == 1 && value.is_sign_positive() == reference.is_sign_positive() {
            *value = reference;
            flips += 1;
        }
    }
    run.checks.tensor(name, &Tensor::from_vec(values, map.shape(), map.device())?);
    let (few, count) = (flips * 100 <= stored.len(), stored.len());
    run.checks.fact(&format!("{name}: roundings"), few, format!("{flips} of {count} differ by one step, expected 1 %"));
    Ok(())
}

/// A mask on frame 0; then, with all frames tracked, a click on one of them, and everything tracked once more.
fn mask_prompt_and_correction(run: &mut Run<'_, '_>, video: &Video) -> Result<()> {
    let mut session = video.session();
    let (h, w) = run.inputs().size("input.mask_video")?;
    let mask = run.inputs().tensor("input.mask_video", |pattern| pattern.mask(h, w, 0.6, run.device))?;
    let bytes = mask.flatten_all()?.to_vec1::<f32>()?.iter().map(|&v| u8::from(v > 0.0) * 255).collect();
    let image = GrayImage::from_raw(w as u32, h as u32, bytes)
        .ok_or_else(|| run.case.field_error("input.mask_video", format!("no mask of {h} x {w} pixels")))?;
    let prompts = Prompts { mask: Some(MaskPrompt::Image(image)), ..Prompts::default() };
    let first = session.prompt(0, &video.frames[0], 1, &prompts)?;
    run.checks.tensor("maskprompt.frame0.first_logits", &first.logits.unsqueeze(0)?.unsqueeze(0)?);
    shown(run, video, &mut session, "maskprompt", Direction::Forward)?;
    let (at, click) = CORRECTION;
    if let Some(frame) = video.frames.get(at) {
        let prompts = Prompts { points: vec![click], ..Prompts::default() };
        let corrected = session.prompt(at, frame, 1, &prompts)?;
        run.checks.tensor(&format!("correction.frame{at}.logits"), &corrected.logits.unsqueeze(0)?.unsqueeze(0)?);
    }
    shown(run, video, &mut session, "correction", Direction::Forward)
}

/// The click on the last frame, tracked to the first.
fn reverse(run: &mut Run<'_, '_>, video: &Video) -> Result<()> {
    let mut session = video.session();
    let last = video.frames.len() - 1;
    session.prompt(last, &video.frames[last], 1, &video.click)?;
    shown(run, video, &mut session, "reverse", Direction::Backward)
}

fn shown(
    run: &mut Run<'_, '_>,
    video: &Video,
    session: &mut VideoSession<'_>,
    prefix: &str,
    direction: Direction,
) -> Result<()> {
    let count = video.frames.len();
    for step in 0..count {
        let t = if direction == Direction::Forward { step } else { count - 1 - step };
        let masks = session.track(t, &video.frames[t], direction)?;
        run.checks.tensor(&format!("{prefix}.frame{t}.video_logits"), &stacked(&masks)?);
    }
    Ok(())
}

/// `[objects, 1, H, W]`.
fn stacked(masks: &FrameMasks) -> Result<Tensor> {
    let logits = masks.masks.iter().map(|mask| mask.logits.unsqueeze(0));
    Ok(Tensor::stack(&logits.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}
