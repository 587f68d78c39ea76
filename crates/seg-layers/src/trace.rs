//! Where the time goes: spans of [`tracing`] around modules and layers.
//!
//! They cost nothing worth measuring until a subscriber enables the target `hrseg::layer` at `TRACE` (the command's `--trace` does).
//! A subscriber finds two fields: `name`, the module's or layer's place below its parent span, and `flops`, the
//! multiplications and additions that a layer does by its definition, 0 for modules and for layers that are no products.

use tracing::span::EnteredSpan;

/// The target of all spans here.
pub const TARGET: &str = "hrseg::layer";

/// A module that holds layers: its time is theirs.
pub fn module(name: &str) -> EnteredSpan {
    tracing::trace_span!(target: TARGET, "module", name, flops = 0u64).entered()
}

/// The `index`-th of a module's like parts.
pub fn part(name: &str, index: usize) -> EnteredSpan {
    tracing::trace_span!(target: TARGET, "module", name = format_args!("{name}.{index}"), flops = 0u64).entered()
}

/// A layer that does `flops` floating-point operations, counted only when somebody looks.
pub fn layer(name: &str, flops: impl FnOnce() -> u64) -> EnteredSpan {
    sized_layer(|| (name.to_owned(), flops()))
}

/// A layer whose name carries its sizes (`linear 96 -> 288`), put together only when somebody looks.
pub fn sized_layer(describe: impl FnOnce() -> (String, u64)) -> EnteredSpan {
    if !tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        return tracing::Span::none().entered();
    }
    let (name, flops) = describe();
    tracing::trace_span!(target: TARGET, "layer", name, flops).entered()
}

/// Multiplications and additions of a matrix product `[m, k] × [k, n]`.
pub fn product_flops(m: usize, n: usize, k: usize) -> u64 {
    2 * m as u64 * n as u64 * k as u64
}

/// Multiplications and additions of attention: `groups` (batch × heads) of `n` queries and `m` keys of width `d`.
pub fn attention_flops(groups: usize, n: usize, m: usize, d: usize) -> u64 {
    2 * groups as u64 * product_flops(n, m, d)
}
