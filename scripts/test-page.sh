#!/usr/bin/env bash
# The page of `hrseg serve` in a real browser: starts servers on free ports, runs tests/serve against them, and ends them.
# Needs a release build, node with npm, Chromium, and weights: those of HRSEG_TEST_WEIGHTS (a folder with mobile_sam.pt and isnet_general_use.safetensors), or what `hrseg weights fetch` has or brings; says what it lacks.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "the page was not tested: $1"; exit 0; }
hrseg=$PWD/target/release/hrseg
[ -x "$hrseg" ] || skip "there is no target/release/hrseg"
command -v npm >/dev/null || skip "there is no npm"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "node is older than 20"
for browser in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
  [ -x "$browser" ] && break
done
[ -x "$browser" ] || skip "there is no Chromium"
[ -d tests/serve/node_modules ] || (cd tests/serve && timeout 300 npm install --ignore-scripts --no-audit --no-fund --silent) || skip "npm brings nothing"
models=(--model mobile-sam --model sam+isnet)
weights=${HRSEG_TEST_WEIGHTS:-}
if [ -f "$weights/mobile_sam.pt" ] && [ -f "$weights/isnet_general_use.safetensors" ]; then
  models+=(--weights "mobile-sam=$weights/mobile_sam.pt" --weights "sam+isnet=$weights/isnet_general_use.safetensors")
else
  [ -z "$weights" ] || echo "HRSEG_TEST_WEIGHTS names no folder with mobile_sam.pt and isnet_general_use.safetensors: those of the cache are taken" >&2
  # the tests' own `hrseg segment` is to take those of the cache, too
  unset HRSEG_TEST_WEIGHTS
  timeout 300 "$hrseg" weights fetch mobile-sam is-net >/dev/null || skip "there are no weights: HRSEG_TEST_WEIGHTS names none, and they could not be fetched"
fi

work=$(mktemp -d)
servers=()
end() {
  for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
}
trap end EXIT
# what follows an object, or a sentence, or corrects: trained for two steps, so their masks are of no use, but all that is around them is as with real ones
toy() { # RECIPE NAME DATA: its weights are $work/NAME/last.safetensors
  "$hrseg" train "$1" --data "procedural:$3" --out "$work/$2" --set length.steps=2 --set data.batch=2 --set schedule.warm_up=0 \
    --set checkpoint.every=2 --set validation.examples=2 > "$work/$2.log" 2>&1 || { cat "$work/$2.log" >&2; exit 1; }
  models+=(--model "$2" --weights "$2=$work/$2/last.safetensors")
}
toy sam2-small sam2-tiny clips
toy mpg-sam2-pretrain-small mpg-sam2 clips
toy pi-sam-small pi-sam-b scenes
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
HRSEG_FFMPEG=no-such-ffmpeg start guarded --token-file "$work/token"
url=$(cat "$work/open")
for _ in $(seq 600); do
  curl -sf "${url}readyz" >/dev/null && break
  sleep 0.2
done
cd tests/serve
HRSEG_TOKEN_URL=$(cat "$work/guarded")
export HRSEG_URL=$url HRSEG_TOKEN_URL HRSEG=$hrseg CHROMIUM=$browser
node --test --test-concurrency=1
