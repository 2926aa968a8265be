"""MIMO-UNet as an ONNX file, from its weights alone: its shape is read off them, and the graph written around
them.

The graph is what ``train.export`` gets from PyTorch: the result at full resolution of an image whose height
and width are multiples of 4, with free batch, height and width.

A network of two scales (ours, not the paper's) runs the same layers on the image and on one of half its size,
multiples of 8 then. What it changes there, which comes from twice as far around, replaces the coarse half of
what it changes here, in a measure that one more convolution (``blend``) tells pixel by pixel. One of three
scales does so at a quarter of the size as well, for multiples of 16; there each scale also learns, by a
convolution (``hint``) beside its first, what the next smaller one changes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimo_rt.errors import ModelError, make
from mimo_rt.onnx_writer import GraphWriter

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

PRESETS = {
    "mimo-unet": (32, (8, 8, 8), 1),
    "mimo-unet-plus": (32, (20, 20, 20), 1),
    "mimo-unet-s": (16, (1, 2, 5), 1),
    "mimo-unet-s2": (16, (1, 2, 5), 2),
    "mimo-unet-s3": (16, (1, 2, 5), 3),
}
"""Width, ResBlocks at the levels 1, 1/2, 1/4, and scales of the networks that have names."""

RESAMPLINGS = ("nearest", "bilinear")
"""How features are brought from a level to the one above: as in the authors' code, or as in the port to
MindSpore, which interpolates between neighbours (0 1 2 becomes 0 .5 1 1.5 2 2)."""

PYRAMID = "pyramid."
"""How the names of weights begin that were never learned: those that bring an image to another size."""
HALVE = np.full((2, 2), 0.25)
DOUBLE = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
"""How an image is brought to half its size, the mean of four pixels, and a change back: linear between its
pixels, nothing beyond the rim."""

STRIDES = {1: 4, 2: 8, 3: 16}
"""What height and width of an image are multiples of, by the number of scales."""

MOST_LISTED = 8


@dataclass(frozen=True)
class Shape:
    """What a MIMO-UNet is made of."""

    width: int
    """Channels at level 1."""
    blocks: tuple[int, int, int]
    """ResBlocks at the levels 1, 1/2, 1/4."""
    scales: int = 1
    """1; 2: the image and one of half its size; 3: and one of a quarter."""

    @property
    def preset(self) -> str:
        """The preset of this shape, or "custom"."""
        own = (self.width, self.blocks, self.scales)
        return next((name for name, shape in PRESETS.items() if shape == own), "custom")

    @property
    def stride(self) -> int:
        """What height and width of an image are multiples of."""
        return STRIDES[self.scales]


def _conv(
    name: str, cin: int, cout: int, kernel: int, *, transpose: bool = False
) -> dict[str, tuple[int, ...]]:
    shape = (cin, cout) if transpose else (cout, cin)
    return {f"{name}.main.0.weight": (*shape, kernel, kernel), f"{name}.main.0.bias": (cout,)}


def parameters(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters, those of the outputs at levels 1/2 and 1/4 (``ConvsOut``) among
    them."""
    w = shape.width
    found: dict[str, tuple[int, ...]] = {}
    for level, (channels, count) in enumerate(zip((w, 2 * w, 4 * w), shape.blocks, strict=True)):
        for side in (f"Encoder.{level}", f"Decoder.{2 - level}"):
            for block in range(count):
                for conv in range(2):
                    found |= _conv(f"{side}.layers.{block}.main.{conv}", channels, channels, 3)
    ends = ((3, w, 3), (w, 2 * w, 3), (2 * w, 4 * w, 3), (4 * w, 2 * w, 4), (2 * w, w, 4), (w, 3, 3))
    for i, (cin, cout, kernel) in enumerate(ends):
        found |= _conv(f"feat_extract.{i}", cin, cout, kernel, transpose=kernel == 4)
    for i, channels in enumerate((2 * w, w)):
        found |= _conv(f"Convs.{i}", 2 * channels, channels, 1)
        found |= _conv(f"ConvsOut.{i}", 2 * channels, 3, 3)
    for i, channels in enumerate((w, 2 * w)):
        found |= _conv(f"AFFs.{i}.conv.0", 7 * w, channels, 1)
        found |= _conv(f"AFFs.{i}.conv.1", channels, channels, 3)
    for i, channels in ((1, 4 * w), (2, 2 * w)):
        half = channels // 2
        found |= _conv(f"FAM{i}.merge", channels, channels, 3)
        found |= _conv(f"SCM{i}.main.0", 3, channels // 4, 3)
        found |= _conv(f"SCM{i}.main.1", channels // 4, half, 1)
        found |= _conv(f"SCM{i}.main.2", half, half, 3)
        found |= _conv(f"SCM{i}.main.3", half, channels - 3, 1)
        found |= _conv(f"SCM{i}.conv", channels, channels, 1)
    if shape.scales > 1:
        found |= _conv("blend", 3 * w, 3, 3)
    if shape.scales > 2:
        found |= _conv("hint", 3, w, 3)
    return found


def shape_of(weights: Weights) -> Shape:
    """The shape that a network's weights have, whose outputs at 1/2 and 1/4 may be missing.

    Raises ModelError "checkpoint.weights", which lists what is missing, unknown or of another shape.
    """
    first = weights.get("feat_extract.0.main.0.weight")
    width = int(first.shape[0]) if first is not None and first.ndim == 4 else 0
    blocks = [0, 0, 0]
    for name in weights:
        found = re.match(r"Encoder\.([012])\.layers\.(\d{1,4})\.", name)
        if found:
            blocks[int(found[1])] = max(blocks[int(found[1])], int(found[2]) + 1)
    if width < 4 or width % 2 or 0 in blocks:
        raise _misfit(["the first convolution or the encoder is missing"])
    scales = 3 if "hint.main.0.weight" in weights else 2 if "blend.main.0.weight" in weights else 1
    shape = Shape(width, (blocks[0], blocks[1], blocks[2]), scales)
    wanted = parameters(shape)
    wrong = [
        f"{name} is missing" for name in wanted if name not in weights and not name.startswith("ConvsOut.")
    ]
    for name, array in weights.items():
        if name not in wanted:
            wrong.append(f"{name} is unknown")
        elif array.shape != wanted[name]:
            wrong.append(f"{name} is {_times(array.shape)}, not {_times(wanted[name])}")
        elif not np.isfinite(array).all():
            wrong.append(f"{name} holds numbers that are not finite")
    if wrong:
        raise _misfit(wrong)
    return shape


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _misfit(wrong: list[str]) -> ModelError:
    listed = "; ".join(wrong[:MOST_LISTED])
    more = f"; and {len(wrong) - MOST_LISTED} more" if len(wrong) > MOST_LISTED else ""
    return make(ModelError, "checkpoint.weights", f"these are not the weights of a MIMO-UNet: {listed}{more}")


def weights_digest(weights: Weights) -> str:
    """SHA-256 over names, shapes and little-endian float32 values of all weights, by order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}:{value.shape}".encode())
        digest.update(np.ascontiguousarray(value, "<f4").tobytes())
    return digest.hexdigest()


def own_metadata(weights: Weights, shape: Shape, resample: str = "nearest") -> dict[str, str]:
    """What an ONNX file of these weights says of the network itself: preset, shape, digest of the weights."""
    entries = {
        "mimo_rt.preset": shape.preset,
        "mimo_rt.width": str(shape.width),
        "mimo_rt.num_res": ",".join(map(str, shape.blocks)),
        "mimo_rt.stride": str(shape.stride),
        "mimo_rt.weights_sha256": weights_digest(weights),
    }
    if shape.scales != 1:
        entries["mimo_rt.scales"] = str(shape.scales)
    if resample != "nearest":
        entries["mimo_rt.resample"] = resample
    return entries


def to_onnx(
    weights: Weights, *, resample: str = "nearest", metadata: Mapping[str, str] | None = None
) -> bytes:
    """The network of these weights as an ONNX file: input ``image``, output ``deblurred``, float32 (N, 3, H,
    W).

    resample: one of `RESAMPLINGS`. metadata: entries beside the network's own (preset, width, blocks,
    digest). Raises ModelError where the weights are not a MIMO-UNet's.
    """
    if resample not in RESAMPLINGS:
        raise ValueError(f"resample is one of {', '.join(RESAMPLINGS)}, not {resample!r}")
    shape = shape_of(weights)
    g = GraphWriter("mimo_unet")
    net = _Network(g, weights, resample)
    net.write(shape)
    return g.finish(own_metadata(weights, shape, resample) | dict(metadata or {}))


class _Network:
    """Writes the nodes; every method takes and returns names of values."""

    def __init__(self, graph: GraphWriter, weights: Weights, resample: str) -> None:
        self.g, self.weights, self.resample = graph, weights, resample

    def conv(self, x: str, name: str, *, stride: int = 1, relu: bool = True, transpose: bool = False) -> str:
        weight = self.weights[f"{name}.main.0.weight"]
        kernel = weight.shape[2]
        pad = kernel // 2 - 1 if transpose else kernel // 2
        inputs = [x] + [
            self.g.constant(f"net.{name}.main.0.{part}", self.weights[f"{name}.main.0.{part}"])
            for part in ("weight", "bias")
        ]
        y = self.g.node(
            "ConvTranspose" if transpose else "Conv",
            inputs,
            dilations=[1, 1],
            group=1,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )
        return self.g.node("Relu", [y]) if relu else y

    def blocks(self, x: str, name: str, count: int) -> str:
        for block in range(count):
            inner = self.conv(x, f"{name}.layers.{block}.main.0")
            x = self.g.node("Add", [self.conv(inner, f"{name}.layers.{block}.main.1", relu=False), x])
        return x

    def resize(self, x: str, factor: float) -> str:
        scales = self.g.constant(f"scales_{factor:g}", np.array([1, 1, factor, factor], np.float32))
        linear = factor > 1.0 and self.resample == "bilinear"
        if linear:
            return self.g.node(
                "Resize", [x, "", scales], coordinate_transformation_mode="asymmetric", mode="linear"
            )
        return self.g.node(
            "Resize",
            [x, "", scales],
            coordinate_transformation_mode="asymmetric",
            mode="nearest",
            nearest_mode="floor",
        )

    def concat(self, *values: str) -> str:
        return self.g.node("Concat", list(values), axis=1)

    def scm(self, x: str, name: str) -> str:
        y = x
        for i in range(4):
            y = self.conv(y, f"{name}.main.{i}")
        return self.conv(self.concat(x, y), f"{name}.conv", relu=False)

    def fam(self, x: str, gate: str, name: str) -> str:
        return self.g.node("Add", [x, self.conv(self.g.node("Mul", [x, gate]), f"{name}.merge", relu=False)])

    def aff(self, name: str, *levels: str) -> str:
        return self.conv(self.conv(self.concat(*levels), f"{name}.conv.0"), f"{name}.conv.1", relu=False)

    def fixed(self, x: str, name: str, kernel: NDArray[np.float64], *, transpose: bool = False) -> str:
        """Each channel of an image through a given square kernel, to half or double its size."""
        side = len(kernel)
        weight = (np.eye(3)[:, :, None, None] * kernel).astype(np.float32)
        return self.g.node(
            "ConvTranspose" if transpose else "Conv",
            [x, self.g.constant(f"{PYRAMID}{name}", weight)],
            dilations=[1, 1],
            group=1,
            kernel_shape=[side, side],
            pads=[(side - 2) // 2] * 4,
            strides=[2, 2],
        )

    def write(self, shape: Shape) -> None:
        x = self.g.image("image")
        self.g.result("deblurred", self.g.node("Add", [self.change(x, shape, shape.scales)[0], x]))

    def change(self, x: str, shape: Shape, scales: int) -> tuple[str, str]:
        """What the network adds to an image, looking at it at so many scales, and the decoder's features at
        level 1."""
        if scales == 1:
            _, features = self.features(x, shape)
            return self.conv(features, "feat_extract.5", relu=False), features
        coarse, below = self.change(self.fixed(x, "halve", HALVE), shape, scales - 1)
        hint = None
        if shape.scales > 2:
            hint = self.conv(self.fixed(coarse, "double", DOUBLE, transpose=True), "hint", relu=False)
        at_half, features = self.features(x, shape, hint)
        change = self.conv(features, "feat_extract.5", relu=False)
        measure = self.conv(self.concat(at_half, below), "blend", relu=False)
        other = self.g.node("Add", [coarse, self.fixed(change, "halve_minus", -HALVE)])
        other = self.fixed(self.g.node("Mul", [measure, other]), "double", DOUBLE, transpose=True)
        return self.g.node("Add", [change, other]), features

    def features(self, x: str, shape: Shape, hint: str | None = None) -> tuple[str, str]:
        """The decoder's features at the levels 1/2 and 1."""
        n1, n2, n4 = shape.blocks
        half = self.resize(x, 0.5)
        quarter = self.resize(half, 0.5)
        first = self.conv(x, "feat_extract.0", relu=hint is None)
        if hint is not None:
            first = self.g.node("Relu", [self.g.node("Add", [first, hint])])
        res1 = self.blocks(first, "Encoder.0", n1)
        down = self.fam(self.conv(res1, "feat_extract.1", stride=2), self.scm(half, "SCM2"), "FAM2")
        res2 = self.blocks(down, "Encoder.1", n2)
        down = self.fam(self.conv(res2, "feat_extract.2", stride=2), self.scm(quarter, "SCM1"), "FAM1")
        z = self.blocks(down, "Encoder.2", n4)
        up = self.resize(z, 2.0)
        skip2 = self.aff("AFFs.1", self.resize(res1, 0.5), res2, up)
        skip1 = self.aff("AFFs.0", res1, self.resize(res2, 2.0), self.resize(up, 2.0))
        z = self.conv(self.blocks(z, "Decoder.0", n4), "feat_extract.3", stride=2, transpose=True)
        at_half = self.blocks(self.conv(self.concat(z, skip2), "Convs.0"), "Decoder.1", n2)
        z = self.conv(at_half, "feat_extract.4", stride=2, transpose=True)
        z = self.blocks(self.conv(self.concat(z, skip1), "Convs.1"), "Decoder.2", n1)
        return at_half, z
