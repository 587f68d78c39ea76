//! `hrseg segment`, driven as a script would drive it: what it writes, what it says, how it ends.
//!
//! The weights are made up, so that the tests run everywhere: a mask's pixels mean nothing here, its form does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

#[path = "../common/mod.rs"]
mod common;

mod everything;
mod files;
mod models;
mod objects;
mod outputs;
mod photos;
mod prompts;
mod refusals;
mod running;
mod transparent;
mod wrapped;
