//! Pi-SAM's predictor and its files, on a toy.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use seg_data::{GrayImage, RgbImage};
use seg_golden::{GeneratedWeights, NamedShape, Pattern, fill::fill_tensor};
use seg_models::pi_sam::{
    PiSamBase, PiSamConfig, PiSamEncoder, PiSamFiles, PiSamMaskDecoder, PiSamPredictor, PiSamSize, RgbEmbed, load,
};
use seg_models::registry::LoadOptions;
use seg_models::{Error, MaskPrompt, Point, PromptableSegmenter, Prompts};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use vit_encoder::{SamVitConfig, TinyVitConfig};

const SIZE: usize = 64;

fn toy() -> PiSamConfig {
    PiSamConfig::with_encoder(SamVitConfig {
        image_size: SIZE,
        embed_dim: 16,
        depth: 2,
        num_heads: 2,
        window_size: 3,
        global_attn_indexes: vec![1],
        ..SamVitConfig::vit_b()
    })
}

/// Weights that have the pixel embedding, too.
fn weights() -> GeneratedWeights {
    GeneratedWeights::new("").official(vec![NamedShape { name: "rgb_embed.0.weight".into(), shape: vec![8, 3, 1, 1] }])
}

/// Names and shapes of both halves.
fn names(cfg: &PiSamConfig) -> (Vec<NamedShape>, Vec<NamedShape>) {
    let names = |build: &dyn Fn(candle_nn::VarBuilder<'static>)| {
        let weights = weights();
        build(weights.var_builder(DType::F32, &Device::Cpu));
        weights.requested()
    };
    let encoder = names(&|vb| drop(PiSamEncoder::new(cfg, vb).unwrap()));
    (encoder, names(&|vb| drop(PiSamMaskDecoder::new(cfg, vb).unwrap())))
}

fn predictor(cfg: &PiSamConfig) -> PiSamPredictor {
    let vb = || weights().var_builder(DType::F32, &Device::Cpu);
    let (encoder, decoder) = (PiSamEncoder::new(cfg, vb()).unwrap(), PiSamMaskDecoder::new(cfg, vb()).unwrap());
    PiSamPredictor::new(encoder, decoder, DType::F32, &Device::Cpu).unwrap()
}

fn photo(width: u32, height: u32) -> RgbImage {
    let bytes = Pattern::new("input.photo").image_u8(height as usize, width as usize);
    RgbImage::from_raw(width, height, bytes).unwrap()
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn click(x: f32, y: f32, positive: bool) -> Point {
    Point { x, y, positive }
}

#[test]
fn clicks_build_on_each_other() {
    let predictor = predictor(&toy());
    let embedding = predictor.embed(&photo(90, 41)).unwrap();
    let corners = [10., 5., 70., 36.];
    let mut correction = predictor.correct(&embedding, corners).unwrap();
    let first = correction.mask().unwrap();
    assert_eq!(first.masks.dims(), [1, 41, 90]);
    assert_eq!(first.low_res_masks.dims(), [1, SIZE / 4, SIZE / 4]);
    let boxed = predictor.predict(&embedding, &Prompts::bbox(corners)).unwrap();
    assert_eq!(values(&first.masks), values(&boxed.masks));

    let clicks = [click(20., 10., true), click(60., 30., false), click(33., 12., true)];
    let mut last = first.clone();
    for (i, &point) in clicks.iter().enumerate() {
        let next = correction.click(point).unwrap();
        assert_ne!(values(&next.masks), values(&last.masks), "click {i}");
        assert_eq!(values(&next.low_res_masks), values(&first.low_res_masks));
        // all clicks at once are the same
        let prompts = Prompts { points: clicks[..=i].to_vec(), ..Prompts::bbox(corners) };
        assert_eq!(values(&next.masks), values(&predictor.predict(&embedding, &prompts).unwrap().masks));
        last = next;
    }
    let second = Prompts { points: clicks[..2].to_vec(), ..Prompts::bbox(corners) };
    assert_eq!(correction.undo(), Some(clicks[2]));
    let undone = correction.mask().unwrap();
    assert_eq!(values(&undone.masks), values(&predictor.predict(&embedding, &second).unwrap().masks));
    // a click beside the image does not count
    assert!(matches!(correction.click(click(91., 1., true)), Err(Error::PointOutside { .. })));
    assert_eq!(correction.clicks(), &clicks[..2]);
}

#[test]
fn many_boxes() {
    let predictor = predictor(&toy());
    let embedding = predictor.embed(&photo(50, 64)).unwrap();
    let boxes = [[1., 2., 30., 40.], [20., 10., 50., 64.]];
    let all = predictor.predict_boxes(&embedding, &boxes).unwrap();
    assert_eq!(all.len(), 2);
    for (prediction, corners) in all.iter().zip(boxes) {
        let alone = predictor.predict(&embedding, &Prompts::bbox(corners)).unwrap();
        assert_eq!(values(&prediction.masks), values(&alone.masks));
        assert!(prediction.iou_predictions[0].is_nan() && prediction.best() == 0);
    }
    assert!(matches!(predictor.predict_boxes(&embedding, &[[0., 0., 51., 3.]]), Err(Error::BoxOutside { .. })));
}

#[test]
fn a_mask_is_a_box() {
    let predictor = predictor(&toy());
    // as large as the input, so that nothing is rounded on the way
    let embedding = predictor.embed(&photo(64, 64)).unwrap();
    let mut mask = GrayImage::new(64, 64);
    for (x, y) in [(12, 30), (40, 9), (25, 50)] {
        mask.put_pixel(x, y, [255].into());
    }
    let prompts = |mask: GrayImage| Prompts { mask: Some(MaskPrompt::Image(mask)), ..Prompts::default() };
    let of_mask = predictor.predict(&embedding, &prompts(mask)).unwrap();
    let of_box = predictor.predict(&embedding, &Prompts::bbox([12., 9., 40., 50.])).unwrap();
    assert_eq!(values(&of_mask.masks), values(&of_box.masks));
    let refused = |prompts: &Prompts| predictor.predict(&embedding, prompts).unwrap_err().to_string();
    let text = refused(&prompts(GrayImage::new(64, 64)));
    assert!(text.contains("mask prompt is empty"), "{text}");
    let text = refused(&prompts(GrayImage::new(64, 20)));
    assert!(text.contains("64x20"), "{text}");
}

#[test]
fn refused() {
    let predictor = predictor(&toy());
    let embedding = predictor.embed(&photo(64, 64)).unwrap();
    let text = predictor.predict(&embedding, &Prompts::point(3., 4.)).unwrap_err().to_string();
    assert!(text.contains("Pi-SAM needs a box") && text.contains("1 clicks"), "{text}");
    assert!(matches!(predictor.predict(&embedding, &Prompts::default()), Err(Error::NoBox { .. })));
    let mut foreign = embedding.clone();
    foreign.high_res_features = None;
    let text = predictor.predict(&foreign, &Prompts::bbox([1., 1., 9., 9.])).unwrap_err().to_string();
    assert!(text.contains("not of Pi-SAM"), "{text}");
    assert!(matches!(predictor.embed(&RgbImage::new(0, 5)), Err(Error::EmptyImage { .. })));
}

/// Writes tensors of these names; `extra` names are written as single numbers.
fn write(dir: &Path, file: &str, names: &[&NamedShape], extra: &[&str]) -> PathBuf {
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for named in names {
        let tensor = fill_tensor(&named.name, named.shape.as_slice(), "", &Device::Cpu).unwrap();
        tensors.insert(named.name.clone(), tensor);
    }
    for name in extra {
        tensors.insert((*name).to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    }
    let path = dir.join(file);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let cfg = toy();
    let (encoder, decoder) = names(&cfg);
    let part = |all: &'static str, list: &'_ [NamedShape]| -> Vec<NamedShape> {
        list.iter().filter(|n| !n.name.starts_with(all)).cloned().collect()
    };
    let refs = |list: &'_ [NamedShape]| -> Vec<NamedShape> { list.to_vec() };
    let save = |file: &str, list: &[NamedShape], extra: &[&str]| {
        write(dir.path(), file, &list.iter().collect::<Vec<_>>(), extra)
    };
    let unread = ["iou_prediction_head.layers.0.bias", "output_hypernetworks_mlps.0.layers.0.bias"];
    let sam = save("sam.safetensors", &part("rgb_embed", &encoder), &["mask_decoder.iou_token.weight"]);
    let sam_rgb = save("sam_rgb.safetensors", &refs(&encoder), &[]);
    let with = save("decoder.safetensors", &decoder, &[unread[0], unread[1], "interact_2.bnd_op.laplacian_kernel"]);
    let without = save("stage1.safetensors", &part("interact_2", &decoder), &unread);
    let merged = save("merged.safetensors", &[encoder, decoder].concat(), &unread);

    let options = LoadOptions::default();
    let image = photo(64, 40);
    let prompts = Prompts::bbox([5., 5., 50., 30.]);
    let mask = |predictor: &PiSamPredictor, prompts: &Prompts| {
        let embedding = predictor.embed(&image).unwrap();
        predictor.predict(&embedding, prompts).map(|p| values(&p.masks))
    };
    let expected = mask(&predictor(&cfg), &prompts).unwrap();
    let (two, reports) = load(&cfg, &PiSamFiles::two(&sam_rgb, &with), &options).unwrap();
    assert_eq!(mask(&two, &prompts).unwrap(), expected);
    assert!(reports.iter().all(|r| r.notes.is_empty()), "{reports:?}");
    let (one, reports) = load(&cfg, &PiSamFiles::Merged(merged), &options).unwrap();
    assert_eq!(mask(&one, &prompts).unwrap(), expected);
    assert_eq!(reports.len(), 1);

    // without the pixel embedding it comes from the seed, and another seed gives another mask
    let (seeded, reports) = load(&cfg, &PiSamFiles::two(&sam, &with), &options).unwrap();
    assert!(reports[0].notes.iter().any(|n| n.contains("seed 42")), "{reports:?}");
    let by_seed = mask(&seeded, &prompts).unwrap();
    let (other, _) = load(&cfg.clone().rgb_embed_seed(43), &PiSamFiles::two(&sam, &with), &options).unwrap();
    assert_ne!(mask(&other, &prompts).unwrap(), by_seed);

    // a decoder of the first stage has masks, but nothing to click on
    let (stage1, _) = load(&cfg, &PiSamFiles::two(&sam_rgb, &without), &options).unwrap();
    assert_eq!(mask(&stage1, &prompts).unwrap(), expected);
    let clicked = Prompts { points: vec![click(9., 9., true)], ..prompts };
    let text = mask(&stage1, &clicked).unwrap_err().to_string();
    assert!(text.contains("no Precise Interactor"), "{text}");

    // the two files exchanged, a file of another size
    assert!(load(&cfg, &PiSamFiles::two(&with, &sam_rgb), &options).is_err());
    assert!(load(&PiSamSize::B.config(), &PiSamFiles::two(&sam_rgb, &with), &options).is_err());
}

#[test]
fn the_seed_is_the_seed() {
    let cfg = toy();
    let all = RgbEmbed::seeded(&cfg);
    assert_eq!(all.clone(), RgbEmbed::seeded(&cfg));
    assert_ne!(all[0].1, RgbEmbed::seeded(&cfg.rgb_embed_seed(7))[0].1);
    let sizes: Vec<usize> = all.iter().map(|(_, v)| v.len()).collect();
    assert_eq!(sizes, [24, 8, 576, 8]);
    let bound = 1. / 3f32.sqrt();
    assert!(all[0].1.iter().all(|v| v.abs() <= bound));
}

/// MobileSAM's encoder of few channels.
fn tiny() -> PiSamConfig {
    let cfg = TinyVitConfig {
        embed_dims: [8, 16, 16, 320],
        depths: [1, 1, 1, 1],
        num_heads: [1, 1, 1, 5],
        window_sizes: [4, 4, 4, 4],
        mlp_ratio: 1,
        mbconv_expand_ratio: 1,
        out_channels: 256,
    };
    PiSamConfig::with_tiny_vit(cfg, SIZE)
}

#[test]
fn a_decoder_may_leave_out_what_sam_has() {
    let dir = tempfile::tempdir().unwrap();
    let cfg = tiny();
    let (encoder, decoder) = names(&cfg);
    let own = ["transformer.", "iou_token.", "mask_tokens.", "output_upscaling."];
    let is_sams = |n: &&NamedShape| own.iter().any(|part| n.name.starts_with(part));
    // SAM's file, with what both of its own parts and the classifier are called there
    let mut sam: HashMap<String, Tensor> = HashMap::new();
    let filled = |n: &NamedShape| fill_tensor(&n.name, n.shape.as_slice(), "", &Device::Cpu).unwrap();
    for named in encoder.iter().filter(|n| !n.name.starts_with("rgb_embed.")) {
        sam.insert(named.name.clone(), filled(named));
    }
    for named in decoder.iter().filter(is_sams) {
        sam.insert(format!("mask_decoder.{}", named.name), filled(named));
    }
    for named in decoder.iter().filter(|n| n.name.starts_with("hf_mlp.")) {
        let name = named.name.replace("hf_mlp.", "mask_decoder.output_hypernetworks_mlps.0.");
        sam.insert(name, (filled(named) * 2.).unwrap());
    }
    sam.insert("image_encoder.head.weight".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    let sam_path = dir.path().join("sam.safetensors");
    candle_core::safetensors::save(&sam, &sam_path).unwrap();
    let listed = |derived: bool| -> Vec<&NamedShape> {
        let new = decoder.iter().filter(|n| !is_sams(n) && (derived || n.name != "interact_2.img_pe"));
        new.chain(encoder.iter().filter(|n| n.name.starts_with("rgb_embed."))).collect()
    };
    let difference = write(dir.path(), "difference.safetensors", &listed(true), &[]);
    let whole: Vec<&NamedShape> = encoder.iter().chain(&decoder).collect();
    let merged = write(dir.path(), "merged.safetensors", &whole, &[]);

    let image = photo(50, 40);
    let options = LoadOptions::default();
    let prompts = Prompts { points: vec![click(20., 20., false)], ..Prompts::bbox([5., 5., 40., 30.]) };
    let mask = |files: &PiSamFiles| {
        let (predictor, _) = load(&cfg, files, &options).unwrap();
        values(&predictor.predict(&predictor.embed(&image).unwrap(), &prompts).unwrap().masks)
    };
    let expected = mask(&PiSamFiles::Merged(merged));
    assert_eq!(mask(&PiSamFiles::two(&sam_path, &difference)), expected);
    // the position map is what its matrix gives, where it is not there
    let derived = write(dir.path(), "derived.safetensors", &listed(false), &[]);
    let (predictor, _) = load(&cfg, &PiSamFiles::two(&sam_path, &derived), &options).unwrap();
    assert!(predictor.decoder().interactor().is_some());

    // what a training starts from
    let fresh = weights().var_builder(DType::F32, &Device::Cpu);
    let get = |base: PiSamBase, name: &str, shape: &[usize]| {
        values(&base.var_builder(fresh.clone(), DType::F32, &Device::Cpu).get(shape, name).unwrap())
    };
    let base = PiSamBase::open(&sam_path).unwrap();
    assert_eq!(get(base.clone(), "mask_tokens.weight", &[4, 256]), values(&sam["mask_decoder.mask_tokens.weight"]));
    let token = get(base.clone().with_token_of_sam(), "hf_token.weight", &[1, 256]);
    assert_eq!(token, values(&sam["mask_decoder.mask_tokens.weight"])[..256]);
    assert_ne!(get(base.clone(), "hf_token.weight", &[1, 256]), token);
    let mlp = |base: PiSamBase| get(base, "hf_mlp.layers.0.bias", &[256]);
    assert_eq!(
        mlp(base.clone().with_token_of_sam()),
        values(&sam["mask_decoder.output_hypernetworks_mlps.0.layers.0.bias"])
    );
    assert_ne!(mlp(base.clone()), mlp(base.with_token_of_sam()));
}
