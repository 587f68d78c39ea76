//! What the prompt encoder refuses, and how masks are chosen.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use hr_decoders::{PointPrompts, PromptEncoder, PromptEncoderConfig, label, stability_scores};
use seg_golden::GeneratedWeights;

fn encoder() -> Result<PromptEncoder> {
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    PromptEncoder::new(&PromptEncoderConfig::new(64), vb)
}

#[test]
fn token_counts_follow_the_official_code() -> Result<()> {
    let encoder = encoder()?;
    let click = PointPrompts::single(&[(5., 6., label::POSITIVE)], &Device::Cpu)?;
    let boxes = Tensor::new(&[[1f32, 2., 30., 40.], [3., 3., 9., 9.]], &Device::Cpu)?;
    let sparse = |p: Option<&PointPrompts>, b: Option<&Tensor>| -> Result<Vec<usize>> {
        Ok(encoder.forward(p, b, None)?.sparse_prompt_embeddings.dims().to_vec())
    };
    assert_eq!(sparse(Some(&click), None)?, [1, 2, 256]); // with a padding point
    assert_eq!(sparse(None, Some(&boxes))?, [2, 2, 256]); // without
    assert_eq!(sparse(None, None)?, [1, 0, 256]);
    Ok(())
}

#[test]
fn the_position_of_the_grid_is_computed_once_and_follows_a_variable() -> Result<()> {
    // the same tensor again where nothing can change it
    let fixed = encoder()?;
    assert_eq!(fixed.dense_pe()?.id(), fixed.dense_pe()?.id());
    // new numbers where a training, or a checkpoint, has put others in the variable's place
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let encoder = PromptEncoder::new(&PromptEncoderConfig::new(64), vb)?;
    let before = encoder.dense_pe()?;
    let matrix = &variables.data().lock().unwrap()["pe_layer.positional_encoding_gaussian_matrix"];
    matrix.set(&Tensor::ones((2, 128), DType::F32, &Device::Cpu)?)?;
    let difference = (encoder.dense_pe()? - before)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference > 0.1, "{difference}");
    Ok(())
}

#[test]
fn bad_prompts_are_named() -> Result<()> {
    let encoder = encoder()?;
    let label = PointPrompts::single(&[(5., 6., 7)], &Device::Cpu)?;
    let message = encoder.forward(Some(&label), None, None).unwrap_err().to_string();
    assert!(message.contains("label 7"), "{message}");
    let mask = Tensor::zeros((1, 1, 8, 16), DType::F32, &Device::Cpu)?;
    let message = encoder.forward(None, None, Some(&mask)).unwrap_err().to_string();
    assert!(message.contains("[1, 1, 8, 16]") && message.contains("[B, 1, 16, 16]"), "{message}");
    Ok(())
}

#[test]
fn stability_of_a_mask() -> Result<()> {
    // 2 of 3 pixels above -1 are also above 1; a mask without any is stable
    let masks = Tensor::new(&[[[[3f32, 2.], [0., -5.]], [[-9., -9.], [-9., -9.]]]], &Device::Cpu)?;
    let scores = stability_scores(&masks, 1.0)?.flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(scores, [2. / 3., 1.]);
    Ok(())
}
