"""NVIDIA's parser and builder take every preset in every precision, on a machine without a GPU."""

from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("torch")
if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
    pytest.skip("needs the extra rtx", allow_module_level=True)

from benchmarks.gpu_plans import exports
from mimo_rt import tensorrt_rtx
from mimo_rt.gpu_shapes import RANGE, shapes_for
from mimo_rt.typed_onnx import precision_of
from train.model import PRESETS

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    "preset", [p if p == "mimo-unet-s" else pytest.param(p, marks=pytest.mark.slow) for p in PRESETS]
)
def test_every_export_becomes_a_plan(preset: str) -> None:
    sizes = {}
    for precision, model in exports(preset).items():
        assert precision_of(model) == precision
        onnx = model.SerializeToString()
        for shapes in (RANGE, shapes_for(256, 4)):
            sizes[precision] = len(tensorrt_rtx.build_plan(onnx, shapes))
    assert sizes["fp16"] < 0.8 * sizes["fp32"]  # no silent fp32
