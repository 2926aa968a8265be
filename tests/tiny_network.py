"""The smallest network that is worth running, as an ONNX file: for tests that need any model at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_tiny(path: Path) -> Path:
    """image + conv3x3(relu(conv3x3(image))), 3 -> 8 -> 3 channels, dynamic height and width. Returns `path`."""
    rng = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), name)

    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["a"], "first", **pads),
            helper.make_node("Relu", ["a"], ["b"], "relu"),
            helper.make_node("Conv", ["b", "w2", "b2"], ["c"], "second", **pads),
            helper.make_node("Add", ["c", "image"], ["result"], "add"),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [weights("w1", 8, 3, 3, 3), weights("b1", 8), weights("w2", 3, 8, 3, 3), weights("b2", 3)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path
