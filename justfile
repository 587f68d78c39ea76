# Short names for the usual commands; plain cargo does as well.

# list the recipes
default:
    @just --list

# formatting, lints, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# everything, in the release profile: the tests run whole models
test:
    cargo test --workspace --release

# our numbers against the official ones
golden:
    cargo run --release -- verify tests/golden

# criterion benches: the kernels, then whole encoders
bench:
    cargo bench -p seg-ops
    cargo bench -p hrseg

# type-check the CUDA code on a machine without a CUDA toolkit
cuda:
    scripts/check-cuda.sh

# advisories, licences, sources, duplicate versions (needs cargo-deny)
deny:
    cargo deny check

# the documentation, in a browser
docs:
    cargo doc --workspace --no-deps --open
