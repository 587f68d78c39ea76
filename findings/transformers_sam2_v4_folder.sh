#!/usr/bin/env bash
# transformers 5.24 fills a table of SAM 2's prompt encoder at random when it loads a folder that version 4.57 saved.
#
# SAM 2 has one table of random frequencies for positions, of points and of the image alike. 4.57 ties the two names of it and
# save_pretrained writes one (`shared_image_embedding.positional_embedding`). 5.24 ties nothing: the prompt encoder's name is missing from
# such a file, a log line says so, and points and boxes are encoded with frequencies that the weights were never trained with. The second
# load of the same folder gives other numbers than the first.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v4" && python3 -m venv "$dir/v5"
"$dir/v4/bin/pip" -q install torch==2.15.0 transformers==4.57.6
# the same torch serves both
"$dir/v5/bin/pip" -q install --no-deps transformers==5.24.0
"$dir/v5/bin/pip" -q install 'huggingface-hub>=1.3,<2' tokenizers==0.23.3 safetensors pyyaml regex tqdm packaging numpy typer filelock
ls -d "$dir"/v4/lib/python3*/site-packages > "$(ls -d "$dir"/v5/lib/python3*/site-packages)/torch-of-v4.pth"

"$dir/v4/bin/python" - "$dir/saved" <<'PY'
import sys, transformers
from transformers import Sam2Config, Sam2Model
print("saving with", transformers.__version__)
Sam2Model(Sam2Config()).save_pretrained(sys.argv[1])
PY
"$dir/v5/bin/python" - "$dir/saved" <<'PY'
import sys, torch, transformers
from transformers import Sam2Model
print("loading with", transformers.__version__)
loads = [Sam2Model.from_pretrained(sys.argv[1], output_loading_info=True) for _ in range(2)]
image, points = [[getattr(m, p) if p == "shared_image_embedding" else m.prompt_encoder.shared_embedding for m, _ in loads]
                 for p in ("shared_image_embedding", "prompt_encoder")]
missing = sorted(loads[0][1]["missing_keys"])
same_image = torch.equal(image[0].positional_embedding, image[1].positional_embedding)
same_points = torch.equal(points[0].positional_embedding, points[1].positional_embedding)
tied = torch.equal(image[0].positional_embedding, points[0].positional_embedding)
print(f"missing: {missing}; two loads give the same table for the image: {same_image}, for points: {same_points}; one table: {tied}")
assert missing == ["prompt_encoder.shared_embedding.positional_embedding"] and same_image and not same_points and not tied, "changed"
PY
