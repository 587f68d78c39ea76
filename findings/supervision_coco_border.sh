#!/usr/bin/env bash
# supervision's DetectionDataset.as_coco writes a mask as the polygon through the centres of its border pixels. pycocotools, which the
# file is for, fills what lies between the lines, and so draws a mask that lacks a column and a row: of a square of n x n pixels
# (n - 1) x (n - 1). `area` beside it says n x n, and from_coco, which draws with OpenCV, gets the whole square back: who tests the
# round trip sees nothing. A detection that is right to the pixel is then wrong at most thresholds of COCOeval if it is small. Seen with
# supervision 0.31.2, pycocotools 2.0.11 and opencv-python-headless 4.14.0.94, for 6 x 6:
#   area 36, from_coco 36, pycocotools 25, AP of the very mask 0.40
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install supervision==0.31.2 pycocotools==2.0.11 opencv-python-headless==4.14.0.94 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import contextlib
import io
import json
import sys
import cv2
import numpy as np
import supervision as sv
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

square = np.zeros((100, 100), bool)
square[60:66, 60:66] = True
cv2.imwrite("a.png", np.zeros((100, 100, 3), np.uint8))
marked = sv.Detections(xyxy=sv.mask_to_xyxy(square[None]).astype(float), mask=square[None], class_id=np.array([0]))
sv.DetectionDataset(classes=["a"], images=["a.png"], annotations={"a.png": marked}).as_coco(annotations_path="a.json")
area = json.load(open("a.json"))["annotations"][0]["area"]
back = next(iter(sv.DetectionDataset.from_coco(".", "a.json", force_masks=True).annotations.values())).mask
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO("a.json")
    drawn = truth.annToMask(next(iter(truth.anns.values())))
    found = {"image_id": 1, "category_id": 1, "segmentation": rle.encode(np.asfortranarray(square.astype(np.uint8))), "score": 1.0}
    judge = COCOeval(truth, truth.loadRes([found]), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
seen = int(area), int(back.sum()), int(drawn.sum()), round(float(judge.stats[0]), 2)
print("supervision", sv.__version__, "area {}, from_coco {}, pycocotools {}, AP of the very mask {:.2f}".format(*seen))
sys.exit(seen != (36, 36, 25, 0.4))
PY
