#!/usr/bin/env bash
# Type-checks the CUDA code where there is no CUDA toolkit: `cargo check` never links, so a compiler that makes empty
# outputs is enough. With a real nvcc on the PATH, build with `cargo build --release --features cuda` instead.
set -euo pipefail
cd "$(dirname "$0")/.."
fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT
cat > "$fake/nvcc" <<'NVCC'
#!/usr/bin/env bash
out= dir=. mode=obj; args=("$@")
for ((i = 0; i < $#; i++)); do
  case "${args[i]}" in
    --version) printf 'nvcc: stand-in\n\n\nCuda compilation tools, release 13.0, V13.0.88\n'; exit 0 ;;
    --list-gpu-code) echo sm_90; exit 0 ;;
    --ptx) mode=ptx ;;
    --lib) mode=lib ;;
    -o) out=${args[i + 1]} ;;
    --output-directory) dir=${args[i + 1]} ;;
  esac
done
src=${args[$# - 1]}
case $mode in
  ptx) : > "$dir/$(basename "${src%.cu}").ptx" ;;
  lib) rm -f "$out"; ar crs "$out" ;;
  obj) : > "$out" ;;
esac
NVCC
chmod +x "$fake/nvcc"
# a target directory of its own: what this makes must never be linked
PATH="$fake:$PATH" CUDA_COMPUTE_CAP=90 CUDARC_CUDA_VERSION=13000 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/cuda-check" \
  cargo check --workspace --features cuda "$@"
