//! MPG-SAM 2: gradients, clips, and its files.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use beit3_encoder::{Beit3Config, Beit3Features, TextTokens, Tokenizer};
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use common::{list, picture};
use hiera_encoder::HieraConfig;
use seg_checkpoints::{Checkpoint, write_safetensors};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_layers::{Dropout, Uniform, Unobserved};
use seg_models::Error;
use seg_models::mpg_sam2::{self, MaskPriorGenerator, MpgBaseWeights, MpgSam2, MpgSam2Config, MpgSam2Predictor};
use seg_models::registry::LoadOptions;
use seg_models::sam2::{NO_OBJ_SCORE, Sam2Config, Sam2Version};

/// BEiT-3 of one layer on images of 4 x 4 patches.
fn beit3(embed_dim: usize, vocab_size: usize) -> Beit3Config {
    Beit3Config {
        image_size: 64,
        embed_dim,
        depth: 1,
        num_heads: embed_dim.div_ceil(64),
        ffn_dim: 2 * embed_dim,
        vocab_size,
        max_text_positions: 24,
        ..Beit3Config::base()
    }
}

fn config(vocab_size: usize) -> MpgSam2Config {
    let trunk =
        HieraConfig { embed_dim: 8, stages: vec![1, 1, 1, 1], global_att_blocks: vec![], ..HieraConfig::tiny() };
    let sam2 = Sam2Config { image_size: 64, ..Sam2Config::new(Sam2Version::V2_0, trunk) };
    MpgSam2Config::new(beit3(16, vocab_size), sam2)
}

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)
}

fn spm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/mpg-sam2/mpg_spm_toy.spm")
}

fn predictor() -> MpgSam2Predictor {
    let tokenizer = Tokenizer::open(spm()).unwrap();
    let cfg = config(tokenizer.vocab_size() as usize);
    let vb = GeneratedWeights::new("d").var_builder(DType::F32, &Device::Cpu);
    MpgSam2Predictor::new(MpgSam2::new(&cfg, vb).unwrap(), tokenizer, DType::F32, &Device::Cpu)
}

/// What the official training finds without a gradient on videos: prompts and heads that nothing asks for, and the choice by predicted IoU.
const UNREACHED: [&str; 6] = [
    "visual_model.no_mem_pos_enc",
    "visual_model.mask_downsample.",
    "pe_layer.",
    "no_mask_embed.",
    "iou_prediction_head.",
    "pred_obj_score_head.",
];
/// What has a gradient of zeros there: the absent object's pointer, points, masks that were not chosen, and keys' biases.
const ZERO: [&str; 5] =
    ["no_obj_ptr", "point_embeddings.", "output_hypernetworks_mlps.", "k_proj.bias", "k_proj.A.bias"];

#[test]
fn training_reaches_all_but_the_image_encoder() -> Result<()> {
    let mut weights = TrainableWeights::new(GeneratedWeights::new("d")).freeze("visual_model.image_encoder.");
    for part in UNREACHED {
        weights = weights.freeze(part);
    }
    let model = MpgSam2::new(&config(40), weights.var_builder(DType::F32, &Device::Cpu))?;
    let frames = 3;
    let text = TextTokens::padded(&[vec![0, 17, 3, 9, 2]], Tokenizer::UNK, &Device::Cpu)?.repeated(frames)?;
    let prior = model.prior(&model.look(&noise("input.look", &[frames, 3, 64, 64])?, &text)?, frames)?;
    let mut loss = prior.sentence_scores.sqr()?.sum_all()?;
    let mut video = model.video(prior)?;
    for t in 0..frames {
        let features = model.image_model().encode_image(noise(&format!("input.{t}"), &[1, 3, 64, 64])?)?;
        let heads = video.step(&features)?;
        loss = (loss + heads.high_res_masks.sqr()?.mean_all()?)?;
    }
    let faults = weights.faults(&loss.backward()?, &ZERO)?;
    assert_eq!(faults, Vec::<String>::new());
    Ok(())
}

#[test]
fn gradients_of_the_prior() -> Result<()> {
    let cfg = config(40);
    let weights = TrainableWeights::new(GeneratedWeights::new("d"));
    let generator = MaskPriorGenerator::new(&cfg, weights.var_builder(DType::F64, &Device::Cpu))?;
    let double = |name: &str, dims: &[usize]| noise(name, dims)?.to_dtype(DType::F64);
    // two videos of three frames
    let features = Beit3Features { vision: double("input.v", &[6, 17, 16])?, text: double("input.t", &[6, 5, 16])? };
    let loss = || -> Result<Tensor> {
        let prior = generator.forward(&features, 3, &mut Unobserved)?;
        let parts = [prior.mask_prompts, prior.context, prior.sentence, prior.text, prior.sentence_scores];
        parts.iter().try_fold(Tensor::zeros((), DType::F64, &Device::Cpu)?, |sum, x| sum + x.sqr()?.sum_all()?)
    };
    assert_eq!(weights.faults(&loss()?.backward()?, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn priors_of_half_a_video_or_of_other_images() -> Result<()> {
    let generator =
        MaskPriorGenerator::new(&config(40), GeneratedWeights::new("d").var_builder(DType::F32, &Device::Cpu))?;
    for (images, tokens, frames) in [(5, 17, 3), (4, 17, 0), (4, 26, 2)] {
        let features = Beit3Features {
            vision: noise("input.v", &[images, tokens, 16])?,
            text: noise("input.t", &[images, 5, 16])?,
        };
        let message = generator.forward(&features, frames, &mut Unobserved).unwrap_err().to_string();
        let found = format!("{images} images of {tokens} tokens for videos of {frames} frames");
        assert!(message.contains(&found), "{message}");
    }
    Ok(())
}

/// Images as a batch, each with its text, and alone with the same padding.
#[test]
fn images_of_a_batch_do_not_see_each_other() -> Result<()> {
    let model = MpgSam2::new(&config(40), GeneratedWeights::new("d").var_builder(DType::F32, &Device::Cpu))?;
    let (images, look) = (noise("input.i", &[2, 3, 64, 64])?, noise("input.l", &[2, 3, 64, 64])?);
    let rows = [vec![0, 17, 9, 2], vec![0, 5, 2, 3]];
    let text = |rows: &[Vec<u32>]| TextTokens::padded(rows, Tokenizer::UNK, &Device::Cpu);
    let both = model.segment_images(images.clone(), &look, &text(&rows)?)?.low_res_masks;
    assert_eq!(both.dims(), [2, 1, 16, 16]);
    for i in 0..2 {
        let part = |x: &Tensor| x.narrow(0, i, 1)?.contiguous();
        let alone = model.segment_images(part(&images)?, &part(&look)?, &text(&rows[i..=i])?)?.low_res_masks;
        let difference = (alone - part(&both)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-4, "image {i}: {difference}");
    }
    Ok(())
}

#[test]
fn clips() {
    let predictor = predictor();
    // of different sizes
    let frames = [picture(80, 60, 0), picture(80, 60, 1), picture(31, 50, 2)];
    let mut masks = Vec::new();
    predictor
        .predict(&frames, "the dog", |index, mask| {
            assert_eq!(index, masks.len());
            masks.push(mask);
            Ok::<(), Error>(())
        })
        .unwrap();
    let sizes: Vec<_> = masks.iter().map(|mask| mask.logits.dims2().unwrap()).collect();
    assert_eq!(sizes, [(60, 80), (60, 80), (50, 31)]);
    for mask in &masks {
        let (logits, probabilities) = (list(&mask.logits), list(&mask.probabilities().unwrap()));
        if mask.object_score <= 0. {
            assert!(logits.iter().all(|&logit| logit == NO_OBJ_SCORE as f32));
        }
        let inside = mask.to_image().unwrap();
        assert!(inside.pixels().zip(&probabilities).all(|(pixel, &p)| (pixel[0] == 255) == (p > 0.5)));
    }

    // another text, another answer; the same one frame by frame
    let first = |text: &str| {
        let mut clip = predictor.clip(text).unwrap();
        frames.iter().for_each(|frame| clip.look(frame).unwrap());
        list(&clip.track().unwrap().segment(&frames[0]).unwrap().logits)
    };
    assert!(first("the dog") == list(&masks[0].logits));
    assert!(first("a cat") != list(&masks[0].logits));
    // no text is one of no words
    assert!(first("").iter().all(|logit| logit.is_finite()) && first("") == first("  "));
}

#[test]
fn clips_that_cannot_be() {
    let predictor = predictor();
    let long = "dog ".repeat(30);
    let error = predictor.clip(&long).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::TextTokens { tokens, most: 22 } if tokens > 30), "{error}");
    assert!(matches!(predictor.clip("x").unwrap().track().map(|_| ()), Err(Error::EmptyClip)));
    let mut clip = predictor.clip("x").unwrap();
    assert!(matches!(clip.look(&picture(0, 9, 0)), Err(Error::EmptyImage { width: 0, height: 9 })));
    let frames = [picture(20, 30, 0), picture(20, 30, 1)];
    frames.iter().for_each(|frame| clip.look(frame).unwrap());
    assert_eq!(clip.len(), 2);
    let mut tracking = clip.track().unwrap();
    let message = tracking.segment(&picture(30, 20, 0)).unwrap_err().to_string();
    assert!(message.contains("frame 0") && message.contains("30x20") && message.contains("20x30"), "{message}");
    frames.iter().for_each(|frame| assert!(tracking.segment(frame).is_ok()));
    let message = tracking.segment(&frames[0]).unwrap_err().to_string();
    assert!(message.contains("one too many") && message.contains("2 frames"), "{message}");
    let stop = predictor.predict(&frames, "x", |_, _| Err(Error::EmptyClip));
    assert!(matches!(stop, Err(Error::EmptyClip)));
}

/// All weights of a model with a published trunk, in half precision.
fn weights() -> BTreeMap<String, Tensor> {
    let mut cfg = MpgSam2Config::new(beit3(64, 2100), Sam2Config::tiny(Sam2Version::V2_0));
    cfg.prior.ffn_dim = 48;
    let recorded = GeneratedWeights::new("");
    MpgSam2::new(&cfg, recorded.var_builder(DType::F32, &Device::Cpu)).unwrap();
    let vb = recorded.var_builder(DType::F16, &Device::Cpu);
    recorded
        .requested()
        .into_iter()
        .map(|named| (named.name.clone(), vb.get(named.shape, &named.name).unwrap()))
        .collect()
}

fn write(path: &Path, tensors: impl IntoIterator<Item = (String, Tensor)>) {
    write_safetensors(path, &tensors.into_iter().collect(), &BTreeMap::new()).unwrap();
}

#[test]
fn layouts_of_files() {
    let (weights, dir) = (weights(), tempfile::tempdir().unwrap());
    let open = |path: &Path| mpg_sam2::load(path, None, &LoadOptions::default());

    // a folder as transformers saves it, in parts
    let index: BTreeMap<_, _> = weights
        .keys()
        .map(|name| (name, if name.starts_with("visual_model.") { "1.safetensors" } else { "2.safetensors" }))
        .collect();
    let (sam2, other): (Vec<_>, Vec<_>) =
        weights.clone().into_iter().partition(|(name, _)| name.starts_with("visual_model."));
    write(&dir.path().join("1.safetensors"), sam2);
    write(&dir.path().join("2.safetensors"), other);
    let text: Vec<String> = index.iter().map(|(name, file)| format!("\"{name}\": \"{file}\"")).collect();
    let text = format!("{{\"weight_map\": {{{}}}}}", text.join(","));
    std::fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
    let message = open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("sentencepiece.bpe.model or beit3.spm"), "{message}");
    std::fs::copy(spm(), dir.path().join("sentencepiece.bpe.model")).unwrap();
    let (parts, report) = open(dir.path()).unwrap();
    assert!(report.is_ok() && report.loaded == weights.len());
    assert_eq!(report.identity.map(|found| found.model()), Some("mpg-sam2"));
    let cfg = parts.model().config();
    assert_eq!((cfg.beit3.clone(), cfg.prior.ffn_dim, cfg.fusion.ffn_dim), (beit3(64, 2100), 48, 1024));

    // a state of the authors' training, with what nothing uses
    let single = dir.path().join("state.safetensors");
    let unused = (MpgSam2::UNUSED[0].to_owned(), Tensor::zeros((1, 1, 64), DType::F32, &Device::Cpu).unwrap());
    let wrapped = weights.clone().into_iter().chain([unused]).map(|(name, t)| (format!("module.evf_model.{name}"), t));
    write(&single, wrapped);
    let (single, report) = open(&single).unwrap();
    assert!(report.is_ok() && report.ignored == MpgSam2::UNUSED);
    let look = |predictor: &MpgSam2Predictor| {
        let text = TextTokens::padded(&[vec![0, 9, 2]], Tokenizer::UNK, &Device::Cpu).unwrap();
        let features = predictor.model().look(&noise("input.look", &[1, 3, 64, 64]).unwrap(), &text).unwrap();
        list(&predictor.model().prior(&features, 1).unwrap().context)
    };
    assert!(look(&single) == look(&parts));
}

#[test]
fn files_whose_sizes_contradict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.safetensors");
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::U8, &Device::Cpu).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    let add = |tensors: &mut BTreeMap<String, Tensor>, name: &str, shape: &[usize]| {
        tensors.insert(name.to_owned(), zeros(shape));
    };
    add(&mut tensors, "visual_model.image_encoder.trunk.patch_embed.proj.weight", &[96, 3, 7, 7]);
    for i in 0..12 {
        add(&mut tensors, &format!("visual_model.image_encoder.trunk.blocks.{i}.norm1.weight"), &[1]);
    }
    for (name, shape) in [
        ("vision_embed.proj.weight", &[64, 3, 16, 16][..]),
        ("text_embed.weight", &[9, 64]),
        ("encoder.embed_positions.A.weight", &[3 + 16, 64]),
        ("encoder.embed_positions.B.weight", &[24, 64]),
        ("encoder.layers.0.self_attn.q_proj.A.weight", &[64, 64]),
        ("encoder.layers.0.ffn.A.fc1.weight", &[128, 64]),
    ] {
        add(&mut tensors, &format!("mm_extractor.beit3.{name}"), shape);
    }
    add(&mut tensors, "visual_ifi.linear1.weight", &[48, 64]);
    add(&mut tensors, "visual_model.sam_mask_decoder.vtlfusion_module.linear1.weight", &[1024, 256]);
    add(&mut tensors, "mask_linear.weight", &[64, 64]);
    let sizes = |tensors: &BTreeMap<String, Tensor>| {
        write(&path, tensors.clone());
        MpgSam2Config::of(&Checkpoint::open(&path).unwrap())
    };
    let expected = Sam2Config::tiny(Sam2Version::V2_0).image_encoder.trunk;
    assert_eq!(sizes(&tensors).unwrap().sam2.sam2.image_encoder.trunk, expected);

    let refused = |name: &str, shape: Option<&[usize]>, expected: &str| {
        let mut tensors = tensors.clone();
        match shape {
            Some(shape) => add(&mut tensors, name, shape),
            None => drop(tensors.remove(name)),
        }
        let message = sizes(&tensors).unwrap_err().to_string();
        assert!(message.contains("weights.safetensors") && message.contains(expected), "{message}");
    };
    refused("mask_linear.weight", Some(&[96, 96]), "mask_linear is 96 wide, BEiT-3 64");
    refused("visual_ifi.linear1.weight", None, "no tensor `visual_ifi.linear1.weight`");
    refused("visual_model.image_encoder.trunk.blocks.4.norm1.weight", None, "a Hiera of 4 blocks, 96 wide");
    refused("mm_extractor.beit3.encoder.embed_positions.A.weight", Some(&[21, 64]), "table of 21 rows");
    refused("mm_extractor.beit3.text_embed.weight", Some(&[9, 70]), "70 wide");
    refused("mm_extractor.beit3.encoder.layers.0.self_attn.q_proj.A.weight", None, "depth 0");
}

/// Training starts from two files, which lack exactly what is new.
#[test]
fn the_start_of_training() {
    let (weights, dir) = (weights(), tempfile::tempdir().unwrap());
    let paths = ["sam2", "beit3"].map(|name| dir.path().join(format!("{name}.safetensors")));
    let is_new = |name: &str| MpgBaseWeights::NEW_IN_DECODER.iter().any(|part| name.starts_with(part));
    let below = |prefix: &'static str| {
        let parts = weights.iter().filter(move |(name, _)| !is_new(name));
        parts.filter_map(move |(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())))
    };
    write(&paths[0], below("visual_model."));
    write(&paths[1], below("mm_extractor."));
    let base = MpgBaseWeights::open(&paths[0], &paths[1]).unwrap();
    let rest = TrainableWeights::new(GeneratedWeights::new("rest"));
    let vb = base.var_builder(rest.var_builder(DType::F32, &Device::Cpu), DType::F32, &Device::Cpu);
    let mut cfg = MpgSam2Config::new(beit3(64, 2100), Sam2Config::tiny(Sam2Version::V2_0));
    cfg.prior.ffn_dim = 48;
    MpgSam2::new(&cfg, vb).unwrap();
    let asked: Vec<String> = rest.variables().into_iter().map(|(name, _)| name).collect();
    let in_no_file =
        |name: &&String| is_new(name) || !(name.starts_with("visual_model.") || name.starts_with("mm_extractor."));
    assert_eq!(asked, weights.keys().filter(in_no_file).cloned().collect::<Vec<_>>());

    let message = MpgBaseWeights::open(&paths[0], &paths[0]).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("sam2-tiny") && message.contains("expected BEiT-3"), "{message}");
    // what a file should have is not made up
    write(&paths[0], below("visual_model.").filter(|(name, _)| name != "no_obj_ptr"));
    let base = MpgBaseWeights::open(&paths[0], &paths[1]).unwrap();
    let vb = base.var_builder(VarBuilder::zeros(DType::F32, &Device::Cpu), DType::F32, &Device::Cpu);
    let message = MpgSam2::new(&cfg, vb).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("sam2.safetensors") && message.contains("no_obj_ptr"), "{message}");
}

/// What was saved in the middle of a clip goes on to the same masks, with the frames looked at anew.
#[test]
fn a_restored_clip_goes_on_alike() {
    let predictor = predictor();
    let frames: Vec<_> = (0..10).map(|t| picture(40, 30, t)).collect();
    let look = || {
        let mut clip = predictor.clip("the dog").unwrap();
        frames.iter().for_each(|frame| clip.look(frame).unwrap());
        clip.track().unwrap()
    };
    let mut whole = look();
    frames[..9].iter().for_each(|frame| assert!(whole.segment(frame).is_ok()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.safetensors");
    let notes = BTreeMap::from([("asked".to_owned(), "the dog".to_owned())]);
    whole.save(&path, &notes).unwrap();
    assert_eq!(mpg_sam2::saved_notes(&path).unwrap()["asked"], "the dog");
    let mut restored = look();
    restored.restore(&path).unwrap();
    assert_eq!(restored.next_frame(), 9);
    let last = |tracking: &mut mpg_sam2::MpgTracking<'_>| list(&tracking.segment(&frames[9]).unwrap().logits);
    assert!(last(&mut whole) == last(&mut restored));

    let mut short = predictor.clip("the dog").unwrap();
    frames[..3].iter().for_each(|frame| short.look(frame).unwrap());
    let message = short.track().unwrap().restore(&path).unwrap_err().to_string();
    assert!(message.contains("clip.safetensors") && message.contains("a clip of 3"), "{message}");
}

/// Random numbers of names, and the shapes that they were asked for in.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<Vec<Vec<usize>>>>);

impl Uniform for Recorded {
    fn uniform(&mut self, shape: &Shape, device: &Device) -> Result<Tensor> {
        let mut drawn = self.0.lock().unwrap();
        let values = seg_golden::fill::uniform(&format!("drawn{}", drawn.len()), shape.elem_count());
        drawn.push(shape.dims().to_vec());
        Tensor::from_iter(values.into_iter().map(|u| u as f32), device)?.reshape(shape)
    }
}

/// Where the official training leaves numbers out, tensor by tensor.
#[test]
fn places_of_dropout() -> Result<()> {
    let cfg = config(40);
    let model = MpgSam2::new(&cfg, GeneratedWeights::new("d").var_builder(DType::F32, &Device::Cpu))?;
    let (frames, tokens) = (2, 5);
    let text = TextTokens::padded(&[vec![0, 17, 8, 9, 2]], Tokenizer::UNK, &Device::Cpu)?.repeated(frames)?;
    let run = |model: &MpgSam2| -> Result<Vec<f32>> {
        let prior = model.prior(&model.look(&noise("input.look", &[frames, 3, 64, 64])?, &text)?, frames)?;
        let mut video = model.video(prior)?;
        let mut logits = Vec::new();
        for t in 0..frames {
            let features = model.image_model().encode_image(noise(&format!("input.{t}"), &[1, 3, 64, 64])?)?;
            logits.extend(list(&video.step(&features)?.low_res_masks));
        }
        Ok(logits)
    };
    let drawn = Recorded::default();
    let with_dropout = || Ok::<_, candle_core::Error>(model.clone().with_dropout(&Dropout::new(0.1, drawn.clone())?));
    let first = run(&with_dropout()?)?;
    let shapes = std::mem::take(&mut *drawn.0.lock().unwrap());
    // attention weights, what attention adds, hidden numbers, what the MLP adds
    let block =
        |heads, n, m, wide, hidden| [vec![1, heads, n, m], vec![1, n, wide], vec![1, n, hidden], vec![1, n, wide]];
    let (context, image) = (frames * 16, 16);
    let prior = block(8, context, context, 16, 64);
    let look_at_context = block(8, 4, context, 256, 1024);
    let look_at_video = block(8, image, context / 4 + tokens, 256, 1024);
    let look_at_history = block(8, 4, 1, 256, 1024);
    let layer = [vec![1, 1, image, image], vec![1, image, 256], vec![1, 1, image, image + 4], vec![1, image, 256]];
    let layer = layer.into_iter().chain([vec![1, image, 2048], vec![1, image, 256]]);
    let memory: Vec<_> = std::iter::repeat_n(layer, cfg.sam2.memory.attention.num_layers).flatten().collect();
    let first_frame = [&look_at_context[..], &look_at_video].concat();
    let second_frame = [&look_at_context[..], &memory, &look_at_video, &look_at_history].concat();
    assert_eq!(shapes, [&prior[..], &first_frame, &second_frame].concat());

    // the same numbers, the same masks; none, those of inference
    assert!(run(&with_dropout()?)? == first);
    let plain = run(&model)?;
    assert!(plain != first && run(&model.clone().with_dropout(&Dropout::OFF))? == plain);
    Ok(())
}
