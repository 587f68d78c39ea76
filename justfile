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

# criterion benches: the kernels, the metrics, whole encoders
bench:
    cargo bench --workspace

# every bench once on small maps, ours against candle's numbers
bench-check:
    cargo bench --workspace -- --test

# every example once, without arguments
examples:
    scripts/run-examples.sh

# what this machine's fused multiply-adds reach: the peak that shares are of
peak:
    cargo run --release -p seg-ops --example fma_peak

# trainings in two processes (needs Open MPI with its headers, and libclang)
mpi:
    cargo test --workspace --release --features mpi --test processes

# type-check the CUDA code on a machine without a CUDA toolkit
cuda:
    scripts/check-cuda.sh

# type-check for 64-bit ARM, where the kernels use NEON
neon:
    scripts/check-neon.sh

# advisories, licences, sources, duplicate versions (needs cargo-deny)
deny:
    cargo deny check

# the documentation, in a browser
docs:
    cargo doc --workspace --no-deps --open
