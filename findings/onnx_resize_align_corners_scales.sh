#!/usr/bin/env bash
# Resize of ONNX with coordinate_transformation_mode=align_corners and factors (`scales`) that do not give a whole number: the reference evaluator of the
# onnx package and onnxruntime disagree on the same valid model. The reference takes the length before it is rounded down, so that the corners do not
# fall on each other after all; onnxruntime takes the length that comes out, as PyTorch does. Five pixels 0 1 2 3 4:
#   onnx 1.20.0, factor 1.5: last of 7 pixels 3.6923, factor 0.5: 0 2.6667
#   onnxruntime 1.23.2: 4 and 0 4
# Who checks an exported network against the reference finds an error of a fifth of a pixel or more at the far edge, and none with `sizes`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install numpy==2.3.5 onnx==1.20.0 onnxruntime==1.23.2
cat > "$folder/resize.py" <<'PY'
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ramp = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)


def last(name, values):
    """The pixels at the far end, by the reference and by onnxruntime."""
    inputs = ["x", "", name] if name == "scales" else ["x", "", "", name]
    kind = np.float32 if name == "scales" else np.int64
    node = helper.make_node("Resize", inputs, ["y"], mode="linear", coordinate_transformation_mode="align_corners")
    graph = helper.make_graph(
        [node], "resize", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ramp.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, None])],
        [numpy_helper.from_array(np.array([1, 1, 1, values], kind), name)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = ReferenceEvaluator(model).run(None, {"x": ramp})[0], session.run(None, {"x": ramp})[0]
    return tuple(round(float(answer.ravel()[-1]), 4) for answer in answers)


found = [last("scales", 1.5), last("scales", 0.5), last("sizes", 7), last("sizes", 2)]
print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: factor 1.5 {found[0]}, 0.5 {found[1]}; sizes 7 {found[2]}, 2 {found[3]}")
sys.exit(found != [(3.6923, 4.0), (2.6667, 4.0), (4.0, 4.0), (4.0, 4.0)])
PY
"$folder/venv/bin/python" "$folder/resize.py"
