"""A graph in half precision: every weight and every value of an fp32 export becomes fp16.

Casts stand at the edges, so that images go in and out as fp32 (or not, for fp16 images). What ONNX wants in
fp32 stays so: the factors of Resize, and the scales of 8-bit values, between Casts of their own.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mimo_rt.errors import ModelError, make

LARGEST = float(np.finfo(np.float16).max)
FP32_INPUTS = {"Resize": (1, 2), "QuantizeLinear": (1,), "DequantizeLinear": (1,)}
"""Inputs of operators, by position, that are fp32 in a half precision graph as well."""


def to_half(model: onnx.ModelProto, *, half_images: bool = False) -> onnx.ModelProto:
    """A copy of an fp32 export, or of one with quantised layers, that computes in fp16. half_images: its
    input and output are fp16 as well. Raises ModelError where a weight is beyond the range of fp16."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    del graph.node[:], graph.value_info[:]
    kept = _kept_fp32(model.graph)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_halved(tensor, tensor.name))
    image, output = graph.input[0], graph.output[0]
    renamed: dict[str, str] = {}
    if half_images:
        image.type.tensor_type.elem_type = TensorProto.FLOAT16
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    else:
        renamed = {name: f"{name}_fp16" for name in (image.name, output.name)}
        graph.node.append(_cast(image.name, renamed[image.name], TensorProto.FLOAT16))
    for source in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, name)
        if node.op_type == "QuantizeLinear":
            as_fp32 = f"{node.output[0]}_fp32"
            graph.node.append(_cast(node.input[0], as_fp32, TensorProto.FLOAT))
            node.input[0] = as_fp32
        if node.op_type == "Constant" and node.output[0] not in kept:
            for attribute in node.attribute:
                if attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(_halved(attribute.t, node.output[0]))
        graph.node.append(node)
        if node.op_type == "DequantizeLinear":
            as_fp16 = f"{node.output[0]}_fp16"
            graph.node.append(_cast(node.output[0], as_fp16, TensorProto.FLOAT16))
            renamed[source.output[0]] = as_fp16
    if not half_images:
        graph.node.append(_cast(renamed[output.name], output.name, TensorProto.FLOAT))
    return made


def _kept_fp32(graph: onnx.GraphProto) -> set[str]:
    return {
        node.input[i]
        for node in graph.node
        for i in FP32_INPUTS.get(node.op_type, ())
        if i < len(node.input) and node.input[i]
    }


def _halved(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    if array.size and float(np.abs(array).max()) > LARGEST:
        raise make(ModelError, "half.range", f"{name} holds numbers beyond {LARGEST:g}, the largest of fp16")
    return numpy_helper.from_array(array.astype(np.float16), tensor.name)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_Cast", to=to)
