"""ResBlocks that become nodes of our TensorRT plug-in: which do, and that the graph computes what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from mimo_rt.fused_blocks import DOMAIN, PLUGIN, fuse_blocks
from mimo_rt.half import to_half


def convolved(x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "w", "b", "y")
    ]
    graph = helper.make_graph([node], "conv", values[:3], values[3:])
    return ReferenceEvaluator(helper.make_model(graph)).run(None, {"x": x, "w": weight, "b": bias})[0]


class MimoRtResBlocks(OpRun):  # type: ignore[misc]
    op_domain = DOMAIN

    def _run(self, x: Any, weights: Any = None, bias: Any = None, **_others: Any) -> Any:
        y = x.astype(np.float32)
        for first in range(0, len(weights), 2):
            inner = np.maximum(convolved(y, weights[first], bias[first]), 0.0)
            y = y + convolved(inner, weights[first + 1], bias[first + 1])
        return (y.astype(np.float16),)


def half(width: int, blocks: int) -> onnx.ModelProto:
    return to_half(onnx.load_from_string(onnx_models.mimo_unet(width, blocks)))


def plugins(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == PLUGIN]


@pytest.mark.parametrize(("width", "blocks"), [(32, 1), (16, 3)])
def test_runs_of_blocks_become_one_node(width: int, blocks: int) -> None:
    model = half(width, blocks)
    fused, count = fuse_blocks(model)
    assert count == 2 * blocks  # of the one level that has 32 channels, in encoder and decoder
    assert len(plugins(fused)) == 2
    assert len(fused.graph.node) == len(model.graph.node) - 4 * count + 2
    onnx.checker.check_model(fused)
    used = {name for node in fused.graph.node for name in node.input}
    assert {tensor.name for tensor in fused.graph.initializer} <= used


@pytest.mark.parametrize(("width", "blocks"), [(32, 1), (16, 2)])
def test_it_computes_the_same(width: int, blocks: int) -> None:
    model = half(width, blocks)
    image = np.random.default_rng(1).random((1, 3, 12, 20), np.float32)
    before = ReferenceEvaluator(model).run(None, {"image": image})[0]
    fused = fuse_blocks(model)[0]
    after = ReferenceEvaluator(fused, new_ops=[MimoRtResBlocks]).run(None, {"image": image})[0]
    assert np.abs(before - image).max() > 0.05
    assert np.abs(after - before).max() < 5e-3


def test_other_widths_stay_as_they_are() -> None:
    model = half(8, 1)  # has 32 channels at quarter size
    assert fuse_blocks(model)[1] == 2
    model = half(20, 1)
    fused, count = fuse_blocks(model)
    assert count == 0
    assert fused == model


def changed(change: str) -> onnx.ModelProto:
    """Two blocks of 32 channels, with something about the second that the plug-in does not do."""
    g = onnx_models.GraphMaker(0)
    x = g.conv("image", 3, 32)
    for block in (1, 2):
        odd = block == 2
        inner = g.conv(x, 32, 32)
        if odd and change == "shown":
            shown = g.op("Mul", [inner, inner])
        branch = g.conv(inner, 32, 32, relu=False)
        if odd and change == "twice":
            branch = g.op("Add", [branch, branch])
        y = g.op("Sub" if odd and change == "difference" else "Add", [branch, x])
        if odd and change == "shown":
            y = g.op("Add", [y, shown])
        x = y
    model = onnx.load_from_string(g.model(g.conv(x, 32, 3, relu=False)).SerializeToString())
    if change == "padding":
        convolution = [node for node in model.graph.node if node.op_type == "Conv"][3]
        next(a for a in convolution.attribute if a.name == "pads").ints[:] = [0, 2, 2, 0]
    return to_half(model)


@pytest.mark.parametrize("change", ["shown", "twice", "difference", "padding"])
def test_what_is_no_plain_block_stays(change: str) -> None:
    assert fuse_blocks(changed("nothing"))[1] == 2
    assert fuse_blocks(changed(change))[1] == 1


def test_fp32_stays_as_it_is() -> None:
    model = onnx.load_from_string(onnx_models.mimo_unet(32, 1))
    assert fuse_blocks(model) == (model, 0)
