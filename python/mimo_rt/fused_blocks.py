"""Runs of ResBlocks of 32 channels in a half precision graph become one node each, of our TensorRT plug-in.

The plug-in (cpp/src/tensorrt/resblock_plugin.cpp) computes a block in one kernel, where TensorRT has two. It
hides what it computes from TensorRT's own fusion, so a whole run becomes one node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PLUGIN = "MimoRtResBlocks"
VERSION = "1"
DOMAIN = "mimo_rt"
CHANNELS = 32


@dataclass(frozen=True)
class _Block:
    """A ResBlock: the values it takes and gives, its nodes by place, its two convolutions' weights."""

    given: str
    made: str
    nodes: tuple[int, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


def fuse_blocks(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """A copy of an fp16 graph with its runs of ResBlocks of 32 channels as nodes of the plug-in, and how many
    blocks went into them. Every other node stays as it is."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    blocks = {block.given: block for block in _blocks(model.graph)}
    follows = {block.made for block in blocks.values()}
    readers = Counter(name for node in model.graph.node for name in node.input)
    replaced: dict[int, onnx.NodeProto] = {}
    gone: set[int] = set()
    for first in blocks.values():
        # A value in the middle of a run is read by the next block alone: by its convolution and its sum.
        if first.given in follows and readers[first.given] == 2:
            continue
        run = [first]
        while run[-1].made in blocks and readers[run[-1].made] == 2:
            run.append(blocks[run[-1].made])
        gone |= {place for block in run for place in block.nodes}
        replaced[run[-1].nodes[-1]] = helper.make_node(
            PLUGIN,
            [first.given],
            [run[-1].made],
            name=f"{run[-1].made}_ResBlocks",
            domain=DOMAIN,
            weights=_tensor(np.concatenate([block.weights for block in run])),
            bias=_tensor(np.concatenate([block.bias for block in run])),
            plugin_version=VERSION,
            plugin_namespace="",
        )
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(
        replaced.get(place, node)
        for place, node in enumerate(model.graph.node)
        if place in replaced or place not in gone
    )
    if replaced:
        made.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    used = {name for node in made.graph.node for name in node.input}
    kept = [tensor for tensor in made.graph.initializer if tensor.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    return made, len(gone) // 4


def _blocks(graph: onnx.GraphProto) -> Iterator[_Block]:
    """Every convolution, ReLU, convolution and sum that is a ResBlock whose inside nobody else reads."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    for last, add in enumerate(graph.node):
        if add.op_type != "Add":
            continue
        for branch, given in (tuple(add.input), tuple(add.input)[::-1]):
            places = [last]
            name = branch
            for kind in ("Conv", "Relu", "Conv"):
                place = makers.get(name, -1)
                if place < 0 or graph.node[place].op_type != kind or readers[name] != 1:
                    break
                places.append(place)
                name = graph.node[place].input[0]
            if len(places) < 4 or name != given:
                continue
            both = [_plain(graph.node[place], constants) for place in (places[3], places[1])]
            weights = [found[0] for found in both if found is not None]
            biases = [found[1] for found in both if found is not None]
            if len(weights) == 2:
                order = tuple(sorted(places))
                yield _Block(given, add.output[0], order, np.stack(weights), np.stack(biases))
                break


def _plain(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """(weights, bias) of a 3x3 convolution of 32 to 32 channels in fp16; None of any other."""
    tensors = [constants.get(name) for name in node.input[1:]]
    if not 1 <= len(tensors) <= 2 or any(
        tensor is None or tensor.data_type != TensorProto.FLOAT16 for tensor in tensors
    ):
        return None
    arrays = [numpy_helper.to_array(tensor).astype(np.float32) for tensor in tensors if tensor is not None]
    asked = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    plain = {
        "pads": [1, 1, 1, 1],
        "strides": [1, 1],
        "dilations": [1, 1],
        "group": 1,
        "kernel_shape": [3, 3],
    }
    usual = {"strides", "dilations", "group", "kernel_shape"}
    if arrays[0].shape != (CHANNELS, CHANNELS, 3, 3) or "pads" not in asked:
        return None
    if any(asked.get(name, value if name in usual else None) != value for name, value in plain.items()):
        return None
    if asked.keys() - plain.keys() - {"auto_pad"} or asked.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    bias = arrays[1] if len(arrays) == 2 else np.zeros(CHANNELS, np.float32)
    return arrays[0], bias


def _tensor(array: NDArray[np.float32]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array))
