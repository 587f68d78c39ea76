#!/usr/bin/env bash
# The page of `hrseg serve` in a real browser: starts servers on free ports, runs tests/serve against them, and ends them.
# Needs a release build, node with npm, Chromium, and HRSEG_TEST_WEIGHTS (a folder with mobile_sam.pt and isnet_general_use.safetensors); says what it lacks.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "the page was not tested: $1"; exit 0; }
hrseg=$PWD/target/release/hrseg
[ -x "$hrseg" ] || skip "there is no target/release/hrseg"
weights=${HRSEG_TEST_WEIGHTS:-}
[ -f "$weights/mobile_sam.pt" ] && [ -f "$weights/isnet_general_use.safetensors" ] || skip "HRSEG_TEST_WEIGHTS names no folder with mobile_sam.pt and isnet_general_use.safetensors"
command -v npm >/dev/null || skip "there is no npm"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "node is older than 20"
for browser in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
  [ -x "$browser" ] && break
done
[ -x "$browser" ] || skip "there is no Chromium"
[ -d tests/serve/node_modules ] || (cd tests/serve && npm install --ignore-scripts --no-audit --no-fund --silent) || skip "npm brings nothing"

work=$(mktemp -d)
servers=()
end() {
  for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
}
trap end EXIT
models=(--model mobile-sam --model sam+isnet --weights "mobile-sam=$weights/mobile_sam.pt" --weights "sam+isnet=$weights/isnet_general_use.safetensors")
printf '0123456789-of-a-test\n' > "$work/token"
start() { # NAME OPTION...: the address goes to $work/NAME
  local name=$1
  shift
  "$hrseg" serve --port 0 "${models[@]}" "$@" > "$work/$name" 2> "$work/$name.log" &
  servers+=($!)
  for _ in $(seq 100); do
    [ -s "$work/$name" ] && return
    sleep 0.1
  done
  cat "$work/$name.log" >&2
  exit 1
}
start open
start guarded --token-file "$work/token"
url=$(cat "$work/open")
for _ in $(seq 600); do
  curl -sf "${url}readyz" >/dev/null && break
  sleep 0.2
done
cd tests/serve
HRSEG_TOKEN_URL=$(cat "$work/guarded")
export HRSEG_URL=$url HRSEG_TOKEN_URL HRSEG=$hrseg CHROMIUM=$browser
node --test --test-concurrency=1
