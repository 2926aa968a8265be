"""A graph with 8-bit convolutions: pairs of QuantizeLinear and DequantizeLinear written into an fp32 export.

Symmetric int8 with zero point 0 and fp32 scales: one scale for an activation, one for each output channel of
a convolution's weights. Both the input of a quantised convolution and, where an addition follows it at once,
the other operand of that addition are quantised: otherwise no runtime could fuse the two in 8 bits.

Transposed convolutions, those that read the image (at any level) and those whose results are added to the
image (at any scale) stay in float: they have few operations, and their errors are seen undiminished.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mimo_rt import network
from mimo_rt.errors import ModelError, make

LARGEST = 127
"""The largest 8-bit weight, and what the end of an activation's range becomes; -128 is left unused there."""

ZERO_POINT = "quantization.zero_point"


@dataclass(frozen=True)
class Layer:
    """A convolution that can be quantised, by the names in its graph."""

    name: str
    """Of its weights, without ``net.`` and ``.weight``; with one of `SIZES` at another scale."""
    conv: str
    """The value that it makes."""
    activation: str
    """The value that it reads."""
    weight: str
    residual: str | None = None
    """The value that is added to its result at once, if there is one."""
    sum: str = ""
    """The value that this addition makes."""

    @property
    def activations(self) -> tuple[str, ...]:
        """All values that are quantised with this layer."""
        return (self.activation,) if self.residual is None else (self.activation, self.residual)


def scale_of(largest: float) -> float:
    """The scale for magnitudes up to ``largest``; 1 where they are all zero, or too small for a scale that is
    a normal float32 number."""
    scale = np.float32(largest / LARGEST)
    return float(scale) if scale >= np.finfo(np.float32).tiny else 1.0


def quantized_weights(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights (out, in, kh, kw) as int8, and the float32 scale of each output channel."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scales = np.array([scale_of(float(x)) for x in largest], np.float32)
    steps = np.rint(weight / scales.reshape(-1, 1, 1, 1))
    return np.clip(steps, -LARGEST, LARGEST).astype(np.int8), scales


def quantizable(model: onnx.ModelProto) -> list[Layer]:
    """The convolutions of an fp32 export that may be quantised, in running order."""
    graph = model.graph
    weights = {t.name for t in graph.initializer}
    ending = _ending(graph)
    images = _images(graph, ending)
    halved = _halvings(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: list[Layer] = []
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in weights or _is_fixed(node):
            continue
        if node.input[0] in images or node.output[0] in ending:
            continue
        name = node.input[1].removeprefix("net.").removesuffix(".weight") + SIZES[halved[node.input[0]]]
        residual, total = None, ""
        following = readers.get(node.output[0], [])
        if len(following) == 1 and following[0].op_type == "Add":
            residual = next((x for x in following[0].input if x != node.output[0]), None)
            total = following[0].output[0] if residual is not None else ""
        found.append(Layer(name, node.output[0], node.input[0], node.input[1], residual, total))
    return found


SIZES = ("", " at half size", " at a quarter of the size")
"""What a layer's name ends with that runs at several scales, by how often its image was halved."""


def _halvings(graph: onnx.GraphProto) -> dict[str, int]:
    """How often the image was halved, scale by scale, that a value comes from."""
    found = {graph.input[0].name: 0}
    for node in graph.node:
        known = [found[name] for name in node.input if name in found]
        step = (-1 if node.op_type == "ConvTranspose" else 1) if _is_fixed(node) else 0
        found[node.output[0]] = (known[0] if known else 0) + step
    return found


def _is_fixed(node: onnx.NodeProto) -> bool:
    """Whether a convolution brings an image to another size, by numbers that were never learned."""
    return node.op_type in ("Conv", "ConvTranspose") and node.input[1].startswith(network.PYRAMID)


def _images(graph: onnx.GraphProto, ending: set[str]) -> set[str]:
    """The input, the output and what it is made of, and what is nothing but one of these at another size."""
    images = {graph.input[0].name} | ending
    for node in graph.node:
        if (node.op_type in ("Resize", "Identity") or _is_fixed(node)) and node.input[0] in images:
            images.add(node.output[0])
    return images


def _ending(graph: onnx.GraphProto) -> set[str]:
    """The output, and what it is made of by sums, by changes of size and by the blend of scales."""
    ending = {graph.output[0].name}
    for node in reversed(graph.node):
        if node.output[0] in ending and (node.op_type in ("Add", "Mul", "Identity") or _is_fixed(node)):
            ending.update(node.input)
    return ending


def to_int8(
    model: onnx.ModelProto, layers: Collection[Layer], scales: Mapping[str, float]
) -> onnx.ModelProto:
    """A copy of an fp32 export in which these layers are quantised. scales: by name of an activation, for all
    `Layer.activations`. Raises ModelError where one is no positive number."""
    for layer in layers:
        for name in layer.activations:
            if not (np.isfinite(scales[name]) and scales[name] > 0.0):
                raise make(
                    ModelError, "quantize.scale", f"the scale {scales[name]} for {name} is no positive number"
                )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    del graph.node[:], graph.value_info[:]
    writer = _Writer(graph, scales)
    by_conv = {layer.conv: layer for layer in layers}
    by_sum = {layer.sum: layer for layer in layers if layer.residual is not None}
    for source in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        output = source.output[0] if source.output else ""
        if output in by_conv:
            layer = by_conv[output]
            node.input[0] = writer.activation(layer.activation)
            node.input[1] = writer.weight(layer.weight)
        elif output in by_sum:
            residual = by_sum[output].residual
            assert residual is not None
            node.input[list(source.input).index(residual)] = writer.activation(residual)
        graph.node.append(node)
    writer.drop_unread()
    return made


class _Writer:
    """Appends nodes and tensors to a graph; each value is quantised once, whoever reads it."""

    def __init__(self, graph: onnx.GraphProto, scales: Mapping[str, float]) -> None:
        self.graph, self.scales = graph, scales
        self.weights = {t.name: t for t in graph.initializer}
        self.done: dict[str, str] = {}

    def tensor(self, array: NDArray[np.generic], name: str) -> str:
        if name not in self.weights:
            proto = numpy_helper.from_array(np.asarray(array), name)
            self.graph.initializer.append(proto)
            self.weights[name] = proto
        return name

    def node(self, kind: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        node = helper.make_node(kind, inputs, [output], name=f"{output}_{kind}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.graph.node.append(node)
        return output

    def activation(self, name: str) -> str:
        if name not in self.done:
            scale = self.tensor(np.array(self.scales[name], np.float32), f"{name}_scale")
            zero = self.tensor(np.array(0, np.int8), ZERO_POINT)
            steps = self.node("QuantizeLinear", [name, scale, zero], f"{name}_quantized")
            self.done[name] = self.node("DequantizeLinear", [steps, scale, zero], f"{name}_dequantized")
        return self.done[name]

    def weight(self, name: str) -> str:
        if name not in self.done:
            steps, scales = quantized_weights(numpy_helper.to_array(self.weights[name]))
            inputs = [
                self.tensor(steps, f"{name}_quantized"),
                self.tensor(scales, f"{name}_scale"),
                self.tensor(np.zeros(len(scales), np.int8), f"{name}_zero_point"),
            ]
            self.done[name] = self.node("DequantizeLinear", inputs, f"{name}_dequantized", axis=0)
        return self.done[name]

    def drop_unread(self) -> None:
        read = {name for node in self.graph.node for name in node.input}
        kept = [t for t in self.graph.initializer if t.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
