//! The pieces of MobileSAM's TinyViT alone, at sizes that the JSON's keys and shapes give.

use super::{Result, Run, field};
use crate::verify::weights::Weights;
use candle_core::Tensor;
use candle_nn::VarBuilder;
use seg_layers::Unobserved;
use vit_encoder::tiny_vit::{BasicLayer, MbConv, PatchEmbed, PatchMerging, TinyVitBlock, offset_index};

/// All inputs of these cases are noise times this.
const FACTOR: f32 = 2.0;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let names: Vec<&str> = run.case.output_names().collect();
    for name in names {
        if name == "bias_idxs" {
            let tokens = run.case.output(name).and_then(|o| o.shape.first().copied()).unwrap_or(0);
            let index = offset_index(tokens.isqrt(), run.device)?.reshape((tokens, tokens))?;
            run.checks.tensor(name, &index);
            continue;
        }
        // a piece is filled under its name in front of its own keys
        let weights = Weights::with(run.case, name, |rule| rule.prefix(format!("{name}.")))?;
        let output = piece(run, name, weights.var_builder(run.device))?;
        weights.check(run.checks, &[]);
        match output {
            Some(output) => run.checks.tensor(name, &output),
            None => run.checks.fact(name, false, "no piece of this name"),
        }
    }
    Ok(())
}

/// The piece `name` on its input; maps are channels last inside, tokens `[B, L, C]` outside.
fn piece(run: &Run<'_, '_>, name: &str, vb: VarBuilder) -> Result<Option<Tensor>> {
    let (h, w): (usize, usize) = field(run.case, "inputs.grid", &run.case.inputs["grid"])?;
    let tokens = |map: Tensor| map.flatten(1, 2);
    Ok(Some(match name {
        "mbconv" => {
            let [hidden, dim, ..] = shape(run, name, "conv1.c.weight")?[..] else { return Ok(None) };
            let x = input(run, "input.x4", &[2, dim, h, w])?.permute((0, 2, 3, 1))?.contiguous()?;
            MbConv::new(dim, hidden / dim, vb)?.forward(x)?.permute((0, 3, 1, 2))?
        }
        "merge2" | "merge320" => {
            let [out_dim, dim, ..] = shape(run, name, "conv1.c.weight")?[..] else { return Ok(None) };
            // the official layer takes maps and tokens: one of the two pieces is run on each
            let x = if name == "merge2" {
                input(run, "input.x4", &[2, dim, h, w])?.permute((0, 2, 3, 1))?.contiguous()?
            } else {
                input(run, "input.x3", &[2, h * w, dim])?.reshape((2, h, w, dim))?
            };
            tokens(PatchMerging::new(dim, out_dim, vb)?.forward(x)?)?
        }
        "block" | "block_exact" => {
            let Sizes { dim, heads, window, mlp_ratio } = sizes(run, name, "")?;
            // the exact one is a map of a single window
            let (name, h, w) = if name == "block" { ("input.xb", h, w) } else { ("input.xe", window, window) };
            let x = input(run, name, &[2, h * w, dim])?.reshape((2, h, w, dim))?;
            tokens(TinyVitBlock::new(dim, heads, window, mlp_ratio, vb)?.forward_with(x, "", &mut Unobserved)?)?
        }
        "layer" => {
            let Sizes { dim, heads, window, mlp_ratio } = sizes(run, name, "blocks.0.")?;
            let official = run.case.official(name).unwrap_or_default();
            let depth = official.iter().filter(|n| n.name.ends_with("attn.attention_biases")).count();
            let out_dim = shape(run, name, "downsample.conv1.c.weight").ok().and_then(|s| s.first().copied());
            let x = input(run, "input.xb", &[2, h * w, dim])?.reshape((2, h, w, dim))?;
            let layer = BasicLayer::new(dim, depth, heads, window, mlp_ratio, out_dim, vb)?;
            tokens(layer.forward_with(x, "", &mut Unobserved)?)?
        }
        "patch_embed" => {
            let in_channels = shape(run, name, "seq.0.c.weight")?[1];
            let embed_dim = shape(run, name, "seq.2.c.weight")?[0];
            // the output is a quarter of the image on each axis
            let Some([b, _, h4, w4]) = run.case.output(name).map(|o| &o.shape[..]) else { return Ok(None) };
            let x = input(run, "input.img", &[*b, in_channels, 4 * h4, 4 * w4])?.permute((0, 2, 3, 1))?.contiguous()?;
            PatchEmbed::new(in_channels, embed_dim, vb)?.forward(x)?.permute((0, 3, 1, 2))?
        }
        _ => return Ok(None),
    }))
}

fn input(run: &Run<'_, '_>, name: &str, dims: &[usize]) -> Result<Tensor> {
    run.inputs().noise(name, dims, FACTOR)
}

/// The official shape of `key` in the module `name`.
fn shape(run: &Run<'_, '_>, name: &str, key: &str) -> Result<Vec<usize>> {
    let found = run.case.official(name).unwrap_or_default().into_iter().find(|n| n.name == key);
    found
        .map(|n| n.shape)
        .ok_or_else(|| run.case.field_error(&format!("modules.{name}"), format!("no key {key}")).into())
}

struct Sizes {
    dim: usize,
    heads: usize,
    window: usize,
    mlp_ratio: usize,
}

/// Sizes of the transformer block whose keys begin with `prefix`.
fn sizes(run: &Run<'_, '_>, name: &str, prefix: &str) -> Result<Sizes> {
    let biases = shape(run, name, &format!("{prefix}attn.attention_biases"))?; // [heads, window * window]
    let fc1 = shape(run, name, &format!("{prefix}mlp.fc1.weight"))?; // [mlp_ratio * dim, dim]
    Ok(Sizes { dim: fc1[1], heads: biases[0], window: biases[1].isqrt(), mlp_ratio: fc1[0] / fc1[1] })
}
