"""Layers that half precision is too narrow for: they are found, named, and kept in fp32."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import mimo_rt
from mimo_rt.half import to_half
from mimo_rt.half_range import advice, largest_values, wide_layers
from mimo_rt.typed_onnx import typed

IMAGE = np.random.default_rng(3).random((1, 3, 16, 24), np.float32)


def scaled(tensors: dict[str, onnx.TensorProto], name: str, factor: float) -> None:
    array = onnx.numpy_helper.to_array(tensors[name]) * np.float32(factor)
    tensors[name].CopyFrom(onnx.numpy_helper.from_array(array, name))


@pytest.fixture(scope="module")
def loud() -> onnx.ModelProto:
    """A network whose first ResBlock makes numbers of 100,000 and more in between, and takes them back."""
    model = onnx.load_from_string(onnx_models.mimo_unet(8, 1))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    _, inner, outer = [node for node in model.graph.node if node.op_type == "Conv"][:3]
    for name in inner.input[1:]:
        scaled(tensors, name, 1e5)
    scaled(tensors, outer.input[1], 1.0 / 1e5)
    return model


def run(model: onnx.ModelProto, image: NDArray[Any] = IMAGE) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        result: Any = ReferenceEvaluator(model).run(None, {"image": image})[0]
    assert result.dtype == image.dtype
    return np.asarray(result)


def test_the_layers_are_those_that_make_or_read_large_numbers(loud: onnx.ModelProto) -> None:
    largest = largest_values(loud)
    assert 65504 < max(largest.values()) < 1e7
    wide = wide_layers(loud)
    kinds = {node.name: node.op_type for node in loud.graph.node}
    assert [kinds[name] for name in wide] == ["Conv", "Relu", "Conv"]
    assert wide_layers(onnx.load_from_string(onnx_models.mimo_unet(8, 1))) == []


def test_kept_in_fp32_they_do_no_harm(loud: onnx.ModelProto) -> None:
    wanted = run(loud)
    narrow = typed(loud.SerializeToString(), "fp16")
    assert not np.isfinite(run(onnx.load_from_string(narrow.onnx))).all()
    model = typed(loud.SerializeToString(), "fp16", "auto")
    assert list(model.kept) == wide_layers(loud)
    half = onnx.load_from_string(model.onnx)
    onnx.checker.check_model(half, full_check=True)
    assert np.abs(run(half) - wanted).max() < 0.01
    single = [t for t in half.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4]
    assert len(single) == 2  # the two convolutions' weights, and no others


def test_any_layers_can_be_kept() -> None:
    model = onnx.load_from_string(onnx_models.mimo_unet(8, 1))
    wanted = run(model)
    names = [node.name for node in model.graph.node]
    for keep in (names[:1], names[-1:], names[::2], names[1::3], names):
        half = to_half(model, keep)
        onnx.checker.check_model(half, full_check=True)
        error = np.abs(run(half) - wanted).max()
        assert error < 0.01
        if keep == names:
            assert error == 0
            assert not [node for node in half.graph.node if node.op_type == "Cast"]
    with pytest.raises(mimo_rt.ModelError, match="no layer conv_of_nobody"):
        to_half(model, ["conv_of_nobody"])


def test_the_advice_names_them(loud: onnx.ModelProto) -> None:
    said = advice(loud.SerializeToString())
    assert f"keep_fp32 of {', '.join(wide_layers(loud))}" in said
    said = advice(onnx_models.mimo_unet(8, 1))
    assert "no layer" in said
    assert "precision fp32" in said


def test_images_in_half_precision() -> None:
    model = onnx.load_from_string(onnx_models.mimo_unet(8, 1))
    names = [node.name for node in model.graph.node]
    image = IMAGE.astype(np.float16)
    wanted = run(model, image.astype(np.float32))
    for keep in ((), names[:1], names[-1:], names[::2], names):
        half = to_half(model, keep, half_images=True)
        onnx.checker.check_model(half, full_check=True)
        made = run(half, image)
        # a step of half precision below 2 is 1/1024
        assert np.abs(made - wanted).max() < (0.001 if keep == names else 0.01)
        casts = [node for node in half.graph.node if node.op_type == "Cast"]
        assert keep or not casts


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_options_of_fp16_alone(precision: str) -> None:
    for options in ({"keep_fp32": ["a"]}, {"fused_blocks": True}, {"half_images": True}):
        with pytest.raises(mimo_rt.BackendError, match="fp16"):
            typed(onnx_models.mimo_unet(8, 1), precision, **options)  # type: ignore[arg-type]


def test_nothing_to_fuse() -> None:
    with pytest.raises(mimo_rt.BackendError, match="no ResBlocks of 32 channels"):
        typed(onnx_models.mimo_unet(20, 1), "fp16", fused_blocks=True)
