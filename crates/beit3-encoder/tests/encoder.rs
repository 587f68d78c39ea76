//! The encoder's names, sizes and padding, and what it refuses.

use beit3_encoder::{Beit3, Beit3Config, TextTokens, Tokenizer, resample_vision_positions};
use candle_core::{DType, Device, Result, Tensor};
use seg_golden::{GeneratedWeights, Pattern};

fn toy() -> Beit3Config {
    Beit3Config {
        image_size: 32,
        embed_dim: 32,
        depth: 2,
        num_heads: 2,
        ffn_dim: 48,
        vocab_size: 20,
        max_text_positions: 10,
        ..Beit3Config::base()
    }
}

fn encoder(cfg: &Beit3Config) -> Result<Beit3> {
    Beit3::new(cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))
}

fn image(h: usize, w: usize) -> Result<Tensor> {
    Pattern::new("image").image(h, w, &Device::Cpu)
}

fn text(rows: &[&[u32]]) -> Result<TextTokens> {
    let rows: Vec<Vec<u32>> = rows.iter().map(|row| row.to_vec()).collect();
    TextTokens::padded(&rows, Tokenizer::UNK, &Device::Cpu)
}

fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    (a - b)?.abs()?.max_all()?.to_scalar()
}

#[test]
fn published_sizes() -> Result<()> {
    for (cfg, tensors, parameters) in
        [(Beit3Config::base(), 491, 220_987_392), (Beit3Config::large(), 971, 672_702_464usize)]
    {
        // one layer is enough to count those of all
        let weights = GeneratedWeights::new("");
        Beit3::new(
            &Beit3Config { depth: 1, vocab_size: 1, ..cfg.clone() },
            weights.var_builder(DType::F32, &Device::Cpu),
        )?;
        let names = weights.requested();
        let layer = |n: &&seg_golden::NamedShape| n.name.contains(".layers.0.");
        let size = |n: &seg_golden::NamedShape| n.shape.iter().product::<usize>();
        let (count, elements) =
            (names.iter().filter(layer).count(), names.iter().filter(layer).map(size).sum::<usize>());
        let mask_token = cfg.embed_dim;
        assert_eq!(names.len() + (cfg.depth - 1) * count + Beit3::UNUSED.len(), tensors);
        let all = names.iter().map(size).sum::<usize>() + (cfg.depth - 1) * elements + mask_token;
        assert_eq!(all + (cfg.vocab_size - 1) * cfg.embed_dim, parameters);
    }
    Ok(())
}

/// What fills a batch up changes nothing for the tokens that count.
#[test]
fn padding_is_not_seen() -> Result<()> {
    let encoder = encoder(&toy())?;
    let image = image(32, 32)?;
    let alone = encoder.forward(&image, &text(&[&[0, 7, 2]])?)?;
    let images = Tensor::cat(&[&image, &image], 0)?;
    let batch = encoder.forward(&images, &text(&[&[0, 7, 2], &[0, 9, 12, 4, 6, 2]])?)?;
    assert_eq!((batch.vision.dims(), batch.text.dims()), (&[2, 5, 32][..], &[2, 6, 32][..]));
    assert!(difference(&batch.vision.narrow(0, 0, 1)?, &alone.vision)? < 1e-5);
    assert!(difference(&batch.text.narrow(0, 0, 1)?.narrow(1, 0, 3)?, &alone.text)? < 1e-5);
    assert!(difference(&batch.vision.narrow(0, 1, 1)?, &alone.vision)? > 1e-2);
    let other = encoder.forward(&image, &text(&[&[0, 8, 2]])?)?;
    assert!(difference(&other.vision, &alone.vision)? > 1e-3);
    Ok(())
}

#[test]
fn an_unknown_word_is_padding() -> Result<()> {
    let text = text(&[&[0, Tokenizer::UNK, 5, 2], &[0, 2]])?;
    let padding = text.padding().map(|p| p.to_vec2::<u8>()).transpose()?;
    assert_eq!(padding, Some(vec![vec![0, 1, 0, 0], vec![0, 0, 1, 1]]));
    assert_eq!(text.ids().to_vec2::<u32>()?, [[0, 3, 5, 2], [0, 2, 3, 3]]);
    let out = encoder(&toy())?.encode_text(&text)?;
    assert!(out.flatten_all()?.to_vec1::<f32>()?.iter().all(|v| v.is_finite()));
    Ok(())
}

#[test]
fn one_text_for_many_images() -> Result<()> {
    let pair = text(&[&[0, 7, 3, 2], &[0, 2]])?.repeated(2)?;
    assert_eq!(pair.ids().to_vec2::<u32>()?, [[0, 7, 3, 2], [0, 7, 3, 2], [0, 2, 3, 3], [0, 2, 3, 3]]);
    assert_eq!(pair.padding().map(|p| p.dims().to_vec()), Some(vec![4, 4]));
    assert_eq!(pair.dims(), (4, 4));
    Ok(())
}

/// Resampled at loading or at every call: the same table, the same numbers.
#[test]
fn a_table_resampled_once_is_the_one_resampled_each_time() -> Result<()> {
    let (image, encoder) = (image(64, 64)?, encoder(&toy())?);
    let each_time = encoder.encode_images(&image)?;
    let once = encoder.resampled(64)?;
    assert_eq!((once.config().image_size, each_time.dims()), (64, &[1, 17, 32][..]));
    assert_eq!(difference(&once.encode_images(&image)?, &each_time)?, 0.);
    Ok(())
}

#[test]
fn position_tables() -> Result<()> {
    let table = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu).get((3 + 16, 4), "positions")?;
    assert_eq!(difference(&resample_vision_positions(&table, (4, 4))?, &table)?, 0.);
    let wider = resample_vision_positions(&table, (4, 6))?;
    assert_eq!(wider.dims(), [3 + 24, 4]);
    assert_eq!(difference(&wider.narrow(0, 0, 3)?, &table.narrow(0, 0, 3)?)?, 0.);
    // a constant grid stays what it is
    let flat = resample_vision_positions(&Tensor::ones((3 + 9, 4), DType::F32, &Device::Cpu)?, (5, 5))?;
    assert!(difference(&flat, &flat.ones_like()?)? < 1e-6);
    let error = resample_vision_positions(&table.narrow(0, 0, 18)?, (4, 4)).unwrap_err().to_string();
    assert!(error.contains("18 rows") && error.contains("3 more than a square"), "{error}");
    Ok(())
}

#[test]
fn refusals() -> Result<()> {
    let net = encoder(&toy())?;
    let error = |result: Result<beit3_encoder::Beit3Features>| result.unwrap_err().to_string();
    let short = text(&[&[0, 2]])?;
    let found = error(net.forward(&image(32, 40)?, &short));
    assert!(found.contains("32 x 40") && found.contains("multiples of 16"), "{found}");
    let found = error(net.forward(&image(32, 32)?, &text(&[&[0, 2], &[0, 2]])?));
    assert!(found.contains("1 images and 2 texts"), "{found}");
    assert!(net.forward(&image(32, 32)?, &text(&[&[5; 8]])?).is_ok());
    let found = error(net.forward(&image(32, 32)?, &text(&[&[5; 9]])?));
    assert!(found.contains("9 tokens") && found.contains("at most 8"), "{found}");
    let found = error(net.forward(&image(32, 32)?, &text(&[&[0, 20, 2]])?));
    assert!(found.contains("token 20") && found.contains("vocabulary's 20"), "{found}");
    assert!(text(&[]).is_err() && text(&[&[0, 2], &[]]).is_err());
    let found = encoder(&Beit3Config { num_heads: 3, ..toy() }).unwrap_err().to_string();
    assert!(found.contains("width 32 and 3 heads"), "{found}");
    let found = encoder(&Beit3Config { image_size: 40, ..toy() }).unwrap_err().to_string();
    assert!(found.contains("40 pixels with patches of 16"), "{found}");
    let found = encoder(&Beit3Config { max_text_positions: 2, ..toy() }).unwrap_err().to_string();
    assert!(found.contains("2 text positions"), "{found}");
    Ok(())
}
