"""Runs an exported graph node by node in PyTorch, by the definitions of ONNX alone.

This is the second opinion on what `mimo_rt.half` and `train.quantize` write: another runtime, which fuses and
rewrites nothing, must agree with it. It also shows every value on the way, which calibration needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from mimo_rt.errors import ModelError, make
from train.model import up_bilinear

Attributes: TypeAlias = Mapping[str, Any]
Inputs: TypeAlias = Sequence[Tensor | None]
Observer: TypeAlias = Callable[[str, Tensor], Tensor | None]
"""Called with the name of a value and the value, right after it was computed. What it returns, if anything,
takes the value's place."""

_DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT64: torch.int64,
}


class Program:
    """A graph with one input and one output, made ready to run. Raises ModelError "interpret.operator" where
    it holds what our exports do not."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._constants = {t.name: _tensor(t) for t in graph.initializer}
        self._steps: list[tuple[onnx.NodeProto, Attributes]] = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._constants[node.output[0]] = _tensor(attributes["value"])
                continue
            if node.op_type not in _OPERATORS:
                raise make(
                    ModelError,
                    "interpret.operator",
                    f"the graph holds {node.op_type}, which no export of ours has",
                )
            if all(name in self._constants for name in node.input if name):  # int8 weights, once and for all
                self._constants[node.output[0]] = _apply(node, attributes, self._constants)
                continue
            self._steps.append((node, attributes))
        self._last: dict[str, int] = {}
        for i, (node, _) in enumerate(self._steps):
            self._last |= dict.fromkeys(node.input, i)

    def run(self, image: Tensor, observe: Observer | None = None) -> Tensor:
        """The output, as float32, for float32 (N, 3, H, W), H and W divisible by 4. Values that nothing
        reads any more are dropped at once."""
        values = {self._input: image}
        with torch.inference_mode():
            for i, (node, attributes) in enumerate(self._steps):
                result = _apply(node, attributes, self._constants, values)
                if observe is not None:
                    other = observe(node.output[0], result)
                    result = result if other is None else other
                values[node.output[0]] = result
                for name in set(node.input):
                    if self._last[name] == i and name != self._output:
                        values.pop(name, None)
        return values[self._output].float()


def _tensor(proto: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(proto)))


def _apply(node: onnx.NodeProto, attributes: Attributes, *places: Mapping[str, Tensor]) -> Tensor:
    inputs = [next((place[name] for place in places if name in place), None) for name in node.input]
    return _OPERATORS[node.op_type](attributes, inputs)


def _given(inputs: Inputs, index: int) -> Tensor:
    value = inputs[index]
    assert value is not None
    return value


def _convolve(attributes: Attributes, inputs: Inputs, *, transpose: bool) -> Tensor:
    """In float32 whatever the inputs' type; the result is rounded to that."""
    x = _given(inputs, 0)
    bias = inputs[2].float() if len(inputs) > 2 and inputs[2] is not None else None
    pads = attributes.get("pads", [0] * 4)
    stride = attributes.get("strides", [1, 1])
    if pads[:2] != pads[2:]:
        raise make(ModelError, "interpret.operator", "the graph holds a convolution padded on one side")
    weight = _given(inputs, 1).float()
    if transpose:
        y = F.conv_transpose2d(x.float(), weight, bias, stride=stride, padding=pads[:2])
    else:
        y = F.conv2d(x.float(), weight, bias, stride=stride, padding=pads[:2])
    return y.to(x.dtype)


def _conv(attributes: Attributes, inputs: Inputs) -> Tensor:
    return _convolve(attributes, inputs, transpose=False)


def _conv_transpose(attributes: Attributes, inputs: Inputs) -> Tensor:
    return _convolve(attributes, inputs, transpose=True)


def _resize(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, factor = _given(inputs, 0), float(_given(inputs, 2)[-1])
    if attributes.get("mode") == b"linear":
        return up_bilinear(x.float()).to(x.dtype)
    if factor == 0.5:
        return x[..., ::2, ::2]
    return x.repeat_interleave(int(factor), -1).repeat_interleave(int(factor), -2)


def _cast(attributes: Attributes, inputs: Inputs) -> Tensor:
    return _given(inputs, 0).to(_DTYPES[attributes["to"]])


def _quantize(_: Attributes, inputs: Inputs) -> Tensor:
    x, scale = _given(inputs, 0), _given(inputs, 1)
    return torch.clamp(torch.round(x / scale), -128, 127).to(torch.int8)  # halves to even


def _dequantize(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, scale = _given(inputs, 0), _given(inputs, 1)
    if scale.ndim:
        shape = [1] * x.ndim
        shape[attributes.get("axis", 1)] = -1
        scale = scale.reshape(shape)
    return x.to(torch.float32) * scale


_OPERATORS: dict[str, Callable[[Attributes, Inputs], Tensor]] = {
    "Add": lambda _, x: _given(x, 0) + _given(x, 1),
    "Cast": _cast,
    "Concat": lambda a, x: torch.cat([_given(x, i) for i in range(len(x))], a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "Identity": lambda _, x: _given(x, 0),
    "Mul": lambda _, x: _given(x, 0) * _given(x, 1),
    "QuantizeLinear": _quantize,
    "Relu": lambda _, x: torch.relu(_given(x, 0)),
    "Resize": _resize,
}
