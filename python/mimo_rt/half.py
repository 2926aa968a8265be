"""A graph in half precision: every weight and value of an fp32 export becomes fp16, but for layers to keep.

Casts stand where the precision changes: around layers that are kept, and at the edges, so that images go in
and out as fp32 unless they are to be fp16 too. What ONNX wants in fp32 stays so: the factors of Resize.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mimo_rt.errors import ModelError, make

LARGEST = float(np.finfo(np.float16).max)
RESIZE_FP32_INPUTS = (1, 2)
"""The region and the factors of Resize, by position: fp32 in a half precision graph as well."""


def layer_name(node: onnx.NodeProto) -> str:
    """What a node is called where a person names it: its name, or what it makes where it has none."""
    return str(node.name or node.output[0])


def to_half(model: onnx.ModelProto, keep: Collection[str] = (), half_images: bool = False) -> onnx.ModelProto:
    """A copy of an fp32 export that computes in fp16, in the layers named in `keep` (`layer_name`) in fp32.
    half_images: the image in and the image out are fp16, else fp32.

    Raises ModelError where a weight is beyond the range of fp16, or `keep` names what is not there.
    """
    unknown = set(keep) - {layer_name(node) for node in model.graph.node}
    if unknown:
        raise make(
            ModelError,
            "half.no_layer",
            f"the model has no layer {', '.join(sorted(unknown))} to keep in fp32",
        )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.value_info[:], made.graph.initializer[:]
    if half_images:
        for image in (made.graph.input[0], made.graph.output[0]):
            image.type.tensor_type.elem_type = TensorProto.FLOAT16
    _Halving(model.graph, made.graph, frozenset(keep), half_images).run()
    return made


class _Halving:
    """Goes through a graph in order. A value keeps its name in the precision that it was made in, and has a
    second one where it was cast to the other."""

    def __init__(
        self, given: onnx.GraphProto, made: onnx.GraphProto, keep: frozenset[str], half_images: bool
    ) -> None:
        self.given, self.made, self.keep, self.half_images = given, made, keep, half_images
        self.weights = {tensor.name: tensor for tensor in given.initializer}
        self.parameters = {
            node.input[i]
            for node in given.node
            if node.op_type == "Resize"
            for i in RESIZE_FP32_INPUTS
            if i < len(node.input) and node.input[i]
        }
        self.single = set() if half_images else {given.input[0].name}  # values in fp32
        self.others: set[str] = set()  # weights
        self.cast: dict[tuple[str, bool], str] = {}

    def run(self) -> None:
        output = self.given.output[0].name
        for source in self.given.node:
            kept = layer_name(source) in self.keep
            node = onnx.NodeProto()
            node.CopyFrom(source)
            for i, name in enumerate(node.input):
                if name and name not in self.parameters:
                    node.input[i] = self.read(name, kept)
            if kept:
                self.single.update(node.output)
            if node.op_type == "Constant" and node.output[0] not in self.parameters and not kept:
                for attribute in node.attribute:
                    if attribute.t.data_type == TensorProto.FLOAT:
                        attribute.t.CopyFrom(_halved(attribute.t, node.output[0]))
            for i, name in enumerate(node.output):
                if name == output and kept == self.half_images:
                    node.output[i] = f"{name}_{'fp32' if kept else 'fp16'}"
                    self.cast[name, kept] = node.output[i]
            self.made.node.append(node)
        made_as = self.cast.get((output, self.half_images))
        if made_as is not None:
            to = TensorProto.FLOAT16 if self.half_images else TensorProto.FLOAT
            self.made.node.append(_cast(made_as, output, to))
        for name in self.parameters:
            if name in self.weights:
                self.made.initializer.append(self.weights[name])

    def read(self, name: str, single: bool) -> str:
        """The name of a value in fp32 (single) or fp16, made where it is not there yet."""
        if name in self.weights:
            return self.weight(name, single)
        known = self.cast.get((name, single))
        if known is not None:
            return known
        if (name in self.single) == single:
            return name
        target = f"{name}_{'fp32' if single else 'fp16'}"
        self.cast[name, single] = target
        self.made.node.append(_cast(name, target, TensorProto.FLOAT if single else TensorProto.FLOAT16))
        return target

    def weight(self, name: str, single: bool) -> str:
        tensor = self.weights[name]
        called = f"{name}_fp32" if single and tensor.data_type == TensorProto.FLOAT else name
        if called not in self.others:
            self.others.add(called)
            made = self.made.initializer.add()
            made.CopyFrom(
                tensor if single or tensor.data_type != TensorProto.FLOAT else _halved(tensor, name)
            )
            made.name = called
        return called


def _halved(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    if array.size and float(np.abs(array).max()) > LARGEST:
        raise make(ModelError, "half.range", f"{name} holds numbers beyond {LARGEST:g}, the largest of fp16")
    return numpy_helper.from_array(array.astype(np.float16), tensor.name)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_Cast", to=to)
