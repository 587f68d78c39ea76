#!/usr/bin/env bash
# Runs every example of the workspace once, without arguments and in a folder of its own: on published weights where they can be had, else on made-up ones.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
target=${CARGO_TARGET_DIR:-$repository/target}
cargo build --workspace --release --examples
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
count=0
for source in "$repository"/examples/*.rs "$repository"/crates/*/examples/*.rs; do
  name=$(basename "$source" .rs)
  echo "== $name"
  "$target/release/examples/$name" </dev/null
  count=$((count + 1))
done
echo "$count examples ran"
