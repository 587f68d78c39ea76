#![doc = include_str!("../README.md")]

mod views;

pub use views::ViewGrid;
