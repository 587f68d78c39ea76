#!/usr/bin/env bash
# torch.save(..., pickle_protocol=0) writes a file that no torch.load can read, and says nothing: what lies outside the pickle is named by
# a tuple, protocol 0 writes the tuple's repr() as a line of text, and torch.load asserts that it got a tuple. Both containers, and
# weights_only or not. Protocols 1 to 5 come back. The numbers are whole: the names in that text are those of the entries. Seen with
# torch 2.15.0:
#   protocol 0: AssertionError (saved_id must be a tuple, got str); protocols 1 to 5 load
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import io
import sys

import torch

fails = []
for container in (True, False):
    for protocol in range(6):
        file = io.BytesIO()
        torch.save({"w": torch.ones(2)}, file, pickle_protocol=protocol, _use_new_zipfile_serialization=container)
        file.seek(0)
        try:
            assert torch.equal(torch.load(file, weights_only=False)["w"], torch.ones(2)), "other numbers"
        except AssertionError as error:
            fails.append(protocol)
            print(f"{'zip' if container else 'old'} container, protocol {protocol}: AssertionError ({error})")
sys.exit(fails != [0, 0])
PY
