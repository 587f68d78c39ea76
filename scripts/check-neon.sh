#!/usr/bin/env bash
# Type-checks for 64-bit ARM, where the kernels use NEON: `cargo check` never links, and the library seg-ops, which is checked unless arguments for
# cargo say otherwise, compiles no C, so the target's standard library is all that is needed. `-p seg-ops --all-targets` and `--workspace` have
# dependencies that do compile C (criterion's and rustls'): these need a cross compiler as well.
#
# With `--run` the tests of seg-ops are run as well: natively on ARM, elsewhere by qemu-aarch64 with a cross linker (Debian's packages
# gcc-aarch64-linux-gnu and qemu-user): some ten minutes where everything is emulated. What follows goes to `cargo test`, as `--test conv`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
  echo "The compiler in use has no standard library for $target." >&2
  echo "With rustup: rustup target add $target" >&2
  echo "Else unpack rust-std-<version>-$target.tar.xz of the very same version ($(rustc -V | cut -d' ' -f2)) into that compiler's sysroot." >&2
  exit 1
fi
if [ "${1:-}" != --run ]; then
  [ $# -gt 0 ] || set -- -p seg-ops
  exec cargo check --target "$target" "$@"
fi
shift
if [ "$(uname -m)" != aarch64 ]; then
  : "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:=aarch64-linux-gnu-gcc}"
  : "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER:=qemu-aarch64 -L /usr/aarch64-linux-gnu}"
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER
  for tool in "$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER" "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER%% *}"; do
    command -v "$tool" > /dev/null || { echo "$tool is not on the PATH." >&2; exit 1; }
  done
fi
exec cargo test --release --target "$target" -p seg-ops "$@"
