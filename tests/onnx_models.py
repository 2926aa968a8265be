"""Small networks of the MIMO-UNet kind as ONNX, made with `onnx.helper` and numpy alone: what tests build and
run.

The weights are lively: every layer matters to the output, so that no error in one can hide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class GraphMaker:
    """Adds nodes one by one; every method takes and returns names of values."""

    def __init__(self, seed: int, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.opset = opset
        self._count = 0

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def constant(self, array: NDArray[np.generic], stem: str) -> str:
        name = self.name(stem)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        output = self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{output}", **attributes))
        return output

    def conv(
        self,
        x: str,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        relu: bool = True,
        transpose: bool = False,
        scale: float = 1.0,
    ) -> str:
        """Convolution with weights of kaiming_normal (relu) times `scale` and biases uniform in +-0.05."""
        fan_in = (c_out if transpose else c_in) * kernel * kernel
        shape = (c_in, c_out) if transpose else (c_out, c_in)
        weight = self.rng.normal(0.0, scale * np.sqrt(2.0 / fan_in), (*shape, kernel, kernel))
        bias = self.rng.uniform(-0.05, 0.05, c_out)
        pad = kernel // 2 - 1 if transpose else kernel // 2
        y = self.op(
            "ConvTranspose" if transpose else "Conv",
            [
                x,
                self.constant(weight.astype(np.float32), "weight"),
                self.constant(bias.astype(np.float32), "bias"),
            ],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        return self.op("Relu", [y]) if relu else y

    def resize(self, x: str, factor: float, mode: str = "nearest") -> str:
        """By `factor` along both axes. mode: "nearest" or "linear", with row y at row y / factor."""
        # Before opset 13 the unused region must be there, if only empty.
        roi = "" if self.opset >= 13 else self.constant(np.zeros(0, np.float32), "roi")
        scales = self.constant(np.array([1, 1, factor, factor], np.float32), "scales")
        return self.op(
            "Resize",
            [x, roi, scales],
            mode=mode,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def model(self, output: str, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
        """Input "image" [1, 3, H, W], output named "deblurred" of the same size."""
        self.nodes.append(helper.make_node("Identity", [output], ["deblurred"], name="node_deblurred"))
        size = [1, 3, "height", "width"]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, size)],
            [helper.make_tensor_value_info("deblurred", TensorProto.FLOAT, size)],
            self.weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9, producer_name="tests"
        )
        helper.set_model_props(model, metadata or {"preset": "test"})
        return model


def mimo_unet(
    width: int = 8, num_res: int = 1, *, seed: int = 0, opset: int = 17, upsampling: str = "nearest"
) -> bytes:
    """A whole MIMO-UNet of any width and depth, full-resolution output only, serialised. upsampling: the mode
    in which features are resampled x2."""
    g, w = GraphMaker(seed, opset), width
    # Of trained size: beyond eight blocks a level the branches shrink, or the sums would grow without bound.
    branch = 0.3 * min(1.0, 8 / num_res) ** 0.5

    def blocks(x: str, channels: int) -> str:
        for _ in range(num_res):
            inner = g.conv(x, channels, channels)
            x = g.op("Add", [g.conv(inner, channels, channels, relu=False, scale=branch), x])
        return x

    def concat(*parts: str) -> str:
        return g.op("Concat", parts, axis=1)

    def shallow(x: str, channels: int) -> str:
        y = g.conv(x, 3, channels // 4)
        y = g.conv(y, channels // 4, channels // 2, 1)
        y = g.conv(y, channels // 2, channels // 2)
        y = g.conv(y, channels // 2, channels - 3, 1)
        return g.conv(concat(x, y), channels, channels, 1, relu=False)

    def attend(x: str, gate: str, channels: int) -> str:
        merged = g.conv(g.op("Mul", [x, gate]), channels, channels, relu=False)
        return g.op("Add", [x, merged])

    def fuse(channels: int, *levels: str) -> str:
        return g.conv(g.conv(concat(*levels), 7 * w, channels, 1), channels, channels, relu=False)

    x = "image"
    x2 = g.resize(x, 0.5)
    x4 = g.resize(x2, 0.5)
    res1 = blocks(g.conv(x, 3, w), w)
    res2 = blocks(attend(g.conv(res1, w, 2 * w, 3, 2), shallow(x2, 2 * w), 2 * w), 2 * w)
    z = blocks(attend(g.conv(res2, 2 * w, 4 * w, 3, 2), shallow(x4, 4 * w), 4 * w), 4 * w)
    z_half = g.resize(z, 2.0, upsampling)
    skip2 = fuse(2 * w, g.resize(res1, 0.5), res2, z_half)
    skip1 = fuse(w, res1, g.resize(res2, 2.0, upsampling), g.resize(z_half, 2.0, upsampling))
    z = blocks(z, 4 * w)
    z = concat(g.conv(z, 4 * w, 2 * w, 4, 2, transpose=True), skip2)
    z = blocks(g.conv(z, 4 * w, 2 * w, 1), 2 * w)
    z = concat(g.conv(z, 2 * w, w, 4, 2, transpose=True), skip1)
    z = blocks(g.conv(z, 2 * w, w, 1), w)
    residual = g.conv(z, w, 3, relu=False, scale=0.02)
    return g.model(g.op("Add", [residual, x])).SerializeToString()


def identity() -> bytes:
    """A network that gives its input back exactly: a 3x3 convolution with a single 1 a channel."""
    g = GraphMaker(0)
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[range(3), range(3), 1, 1] = 1.0
    return _one_conv(g, kernel, np.zeros(3, np.float32))


def box_blur_of_channels(red: float = 0.5, green: float = 0.25, blue: float = 0.125) -> bytes:
    """A network that averages 3x3 and scales each channel by its own factor: tells channel orders apart."""
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    for channel, factor in enumerate((red, green, blue)):
        kernel[channel, channel] = factor / 9.0
    return _one_conv(GraphMaker(0), kernel, np.zeros(3, np.float32))


def with_operator(kind: str) -> bytes:
    """A network with one operator of that kind between two convolutions."""
    g = GraphMaker(0)
    y = g.op(kind, [g.conv("image", 3, 8)])
    return g.model(g.conv(y, 8, 3, relu=False)).SerializeToString()


def _one_conv(g: GraphMaker, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> bytes:
    y = g.op(
        "Conv",
        ["image", g.constant(weight, "weight"), g.constant(bias, "bias")],
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
    )
    return g.model(y).SerializeToString()
