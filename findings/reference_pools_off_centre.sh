#!/usr/bin/env bash
# ONNX's own reference evaluator pools other windows than ONNX Runtime does, and another shape than ONNX itself infers, once
# ceil_mode is set.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0.
# Guess before it was run: the evaluator that comes with the standard is the one to test against; where it and a runtime
#   disagree, the runtime is wrong, and by rounding.
# Seen (2026-11-30): AveragePool of 7 x 7 numbers by 3 x 3 windows in steps of 3, no padding: the first window, the mean of 0,
#   1, 2, 7, 8, 9, 14, 15, 16, is 4.0 by the reference and 8.0 by ONNX Runtime, and no other window agrees either. The cells
#   that ceil_mode adds belong at the far end; the reference puts half of them at the near end, so that every window moves.
#   MaxPool of 5 x 5 with pads of 1 and steps of 1 comes out 8 x 8, filled up with 0.0, where the shape that onnx infers is
#   6 x 6, which is ONNX Runtime's too. Both agree without ceil_mode.
# Why it matters here: an export is tested against a second evaluator of the same file; with ceil_mode this one finds a
#   fault that is not there, and a network with such pools gets other outputs from it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def pooled(kind, size, **attributes):
    """The reference's result, ONNX Runtime's, and the shape that onnx infers."""
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, size, size))
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, "height", "width"))
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **attributes)], "pool", [images], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    x = {"x": np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)}
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
    return (ReferenceEvaluator(model).run(None, x)[0][0, 0], runtime.run(None, x)[0][0, 0],
            tuple(each.dim_value or each.dim_param for each in shape.dim)[2:])


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
windows = {"kernel_shape": [3, 3], "strides": [3, 3]}
means, truth, inferred = pooled("AveragePool", 7, ceil_mode=1, **windows)
numbers = np.arange(49.0).reshape(7, 7)
by_hand = [[numbers[i:i + 3, j:j + 3].mean() for j in (0, 3, 6)] for i in (0, 3, 6)]
print(means, truth, sep="\n")
assert inferred == means.shape == (3, 3)
np.testing.assert_allclose(truth, by_hand, rtol=1e-6)
assert means[0, 0] == 4.0 and not np.isclose(means, truth).any(), "this has changed"

steps = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 1, 1]}
largest, truth, inferred = pooled("MaxPool", 5, ceil_mode=1, **steps)
print("MaxPool", largest.shape, truth.shape, "inferred", inferred)
assert truth.shape == inferred == (6, 6)
assert largest.shape == (8, 8) and (largest[6:] == 0).all(), "this has changed"

for kind, size, attributes in (("AveragePool", 7, windows), ("MaxPool", 5, steps)):
    reference, runtime, _ = pooled(kind, size, ceil_mode=0, **attributes)
    np.testing.assert_allclose(reference, runtime, rtol=1e-6)
PYTHON
