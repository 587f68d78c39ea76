//! hrseg
