#!/usr/bin/env bash
# supervision's DetectionDataset.as_coco marks a single object as a crowd if its mask has a hole or two parts: such masks are written as
# RLE, and with RLE comes iscrowd 1. COCOeval does not ask for crowds: whoever misses these objects loses nothing, and a data set of
# rings has no AP at all (-1). The help of as_coco speaks of the RLE alone. Seen with supervision 0.31.2, pycocotools 2.0.11, for a
# ring and a square, of which only the square is found:
#   iscrowd 1 and 0, recall 1.00; the same file with iscrowd 0 for both: recall 0.50
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

masks = np.zeros((2, 100, 100), bool)
masks[0, 10:40, 10:40] = True
masks[0, 20:30, 20:30] = False
masks[1, 60:90, 60:90] = True
cv2.imwrite("a.png", np.zeros((100, 100, 3), np.uint8))
marked = sv.Detections(xyxy=sv.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.array([0, 0]))
sv.DetectionDataset(classes=["a"], images=["a.png"], annotations={"a.png": marked}).as_coco(annotations_path="a.json")
written = json.load(open("a.json"))
crowds = [a["iscrowd"] for a in written["annotations"]]
for a in written["annotations"]:
    a["iscrowd"] = 0
json.dump(written, open("b.json", "w"))


def recall(name):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(name)
        found = {"image_id": 1, "category_id": 1, "segmentation": rle.encode(np.asfortranarray(masks[1].astype(np.uint8))), "score": 1.0}
        judge = COCOeval(truth, truth.loadRes([found]), "segm")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    return round(float(judge.eval["recall"][0, 0, 0, -1]), 2)


seen = crowds, recall("a.json"), recall("b.json")
print("supervision", sv.__version__, "iscrowd {}, recall {:.2f}; with iscrowd 0 {:.2f}".format(*seen))
sys.exit(seen != ([1, 0], 1.0, 0.5))
PY
