//! Every weight of the encoder gets the right gradient.

use beit3_encoder::{Beit3, Beit3Config, TextTokens};
use candle_core::{DType, Device, Result, Tensor};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights};

/// A position table of 2×2 patches of 4 pixels.
fn toy() -> Beit3Config {
    Beit3Config {
        image_size: 8,
        patch_size: 4,
        embed_dim: 12,
        depth: 2,
        num_heads: 2,
        ffn_dim: 20,
        vocab_size: 16,
        max_text_positions: 8,
        layer_norm_eps: 1e-5,
    }
}

/// Gradients of the mean square of what `outputs` gives, and what is wrong with them but for the weights of which nothing is expected.
fn check(unreached: &[&str], outputs: impl Fn(&Beit3, &Tensor, &TextTokens) -> Result<Vec<Tensor>>) -> Result<()> {
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let encoder = Beit3::new(&toy(), weights.var_builder(DType::F64, &device))?;
    // a map of 2×3 patches: through the interpolated position table
    let images = Pattern::new("input.image").image(8, 12, &device)?.to_dtype(DType::F64)?;
    let images = Tensor::cat(&[&images, &(&images * 0.5)?], 0)?;
    let text = TextTokens::padded(&[vec![0, 5, 9, 7, 2], vec![0, 11, 2]], 3, &device)?;
    let loss = || {
        let mut terms = Vec::new();
        for (i, output) in outputs(&encoder, &images, &text)?.iter().enumerate() {
            let target = Pattern::new(&format!("target{i}")).map((1, 1, output.elem_count()), &device, |_, v| v)?;
            terms.push((output - target.reshape(output.shape())?.to_dtype(DType::F64)?)?.sqr()?.mean_all()?);
        }
        Tensor::stack(&terms, 0)?.sum_all()
    };
    let faults = weights.faults(&loss()?.backward()?, &[])?;
    let expected = |fault: &String| unreached.iter().any(|part| fault.contains(part));
    assert_eq!(faults.into_iter().filter(|fault| !expected(fault)).collect::<Vec<_>>(), Vec::<String>::new());
    let wrong = weights.check_directions(loss, 1e-5)?;
    assert_eq!(wrong.into_iter().filter(|fault| !expected(fault)).collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

/// Padding, another size of images, both position tables and the words' table included.
#[test]
fn images_with_texts() -> Result<()> {
    check(&[], |encoder, images, text| {
        let features = encoder.forward(images, text)?;
        Ok(vec![features.vision, features.text])
    })
}

/// A key's bias adds the same to all scores of a query: without the other part nothing depends on it.
#[test]
fn images_alone() -> Result<()> {
    check(&[".B.", "text_embed", "k_proj.A.bias"], |encoder, images, _| Ok(vec![encoder.encode_images(images)?]))
}
