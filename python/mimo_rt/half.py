"""A graph in half precision: every weight and every value of an fp32 export becomes fp16.

Casts stand at the edges, so that images go in and out as fp32. What ONNX wants in fp32 stays so: the factors
of Resize.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mimo_rt.errors import ModelError, make

LARGEST = float(np.finfo(np.float16).max)
RESIZE_FP32_INPUTS = (1, 2)
"""The region and the factors of Resize, by position: fp32 in a half precision graph as well."""


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an fp32 export that computes in fp16. Raises ModelError where a weight is beyond the range of
    fp16."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    del graph.node[:], graph.value_info[:]
    kept = {
        node.input[i]
        for node in model.graph.node
        if node.op_type == "Resize"
        for i in RESIZE_FP32_INPUTS
        if i < len(node.input) and node.input[i]
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_halved(tensor, tensor.name))
    image, output = graph.input[0].name, graph.output[0].name
    renamed = {name: f"{name}_fp16" for name in (image, output)}
    graph.node.append(_cast(image, renamed[image], TensorProto.FLOAT16))
    for source in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, name)
        if node.op_type == "Constant" and node.output[0] not in kept:
            for attribute in node.attribute:
                if attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(_halved(attribute.t, node.output[0]))
        graph.node.append(node)
    graph.node.append(_cast(renamed[output], output, TensorProto.FLOAT))
    return made


def _halved(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    if array.size and float(np.abs(array).max()) > LARGEST:
        raise make(ModelError, "half.range", f"{name} holds numbers beyond {LARGEST:g}, the largest of fp16")
    return numpy_helper.from_array(array.astype(np.float16), tensor.name)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_Cast", to=to)
