#!/usr/bin/env bash
# safetensors writes another tensor than the one it was given when torch has put a conjugate or a sign off: torch.conj() copies nothing
# and marks its result, save() and save_file() write the numbers beneath and drop the mark, without an error or a warning. So the
# conjugate of a complex tensor comes back as the tensor itself, and a float32 tensor out of it with the wrong sign. torch.save keeps the
# mark, in a field behind the usual ones of _rebuild_tensor_v2, which a reader of .pt files must heed. Seen with safetensors 0.8.0 and
# torch 2.15.0:
#   conj: saved [1-2j], loaded [1+2j]; imag: saved [-2.0], loaded [2.0]; torch.save keeps both
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install safetensors==0.8.0 torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import io
import sys

import safetensors.torch
import torch

z = torch.tensor([1 + 2j])
right = True
for name, tensor, beneath in [("conj", z.conj(), z), ("imag", z.conj().imag, z.imag)]:
    assert tensor.is_contiguous()  # which is all that safetensors asks for
    loaded = safetensors.torch.load(safetensors.torch.save({"w": tensor}))["w"]
    file = io.BytesIO()
    torch.save({"w": tensor}, file)
    file.seek(0)
    kept = torch.equal(torch.load(file)["w"], tensor)
    print(f"{name}: saved {tensor.tolist()}, loaded {loaded.tolist()}, torch.save keeps it: {kept}")
    right &= torch.equal(loaded, beneath) and not torch.equal(loaded, tensor) and kept
sys.exit(not right)
PY
