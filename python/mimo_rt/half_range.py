"""Which layers of an fp32 model make numbers that half precision cannot hold, found on pictures made here.

Needs the package `onnx`, whose own evaluator computes every value, slowly: seconds for a MIMO-UNet.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from mimo_rt.half import LARGEST, layer_name

SIDE = 32
MARGIN = 4.0
"""A photograph may drive a layer further than the pictures made here: so many times as far."""


def pictures() -> NDArray[np.float32]:
    """(2, 3, SIDE, SIDE) in 0..1 of what drives networks far: black and white pixels at random, and large
    squares of full colours."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (3, SIDE, SIDE))
    squares = np.kron(rng.integers(0, 2, (3, SIDE // 8, SIDE // 8)), np.ones((1, 8, 8)))
    return np.stack([noise, squares]).astype(np.float32)


def largest_values(model: onnx.ModelProto) -> dict[str, float]:
    """The largest magnitude of every value of the graph, by name, on `pictures`."""
    told = onnx.ModelProto()
    told.CopyFrom(model)
    del told.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    told.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names)
    evaluator = ReferenceEvaluator(told)
    found = dict.fromkeys(names, 0.0)
    for picture in pictures():
        for name, value in zip(
            names, evaluator.run(None, {model.graph.input[0].name: picture[None]}), strict=True
        ):
            array = np.asarray(value, np.float64)
            if array.size:
                found[name] = max(found[name], float(np.abs(array).max()))
    return found


def wide_layers(model: onnx.ModelProto) -> list[str]:
    """The layers, in order, that make or read numbers beyond `LARGEST` / `MARGIN`: those to keep in fp32."""
    return _wide(model, largest_values(model))


def advice(given: bytes) -> str:
    """What to do about an fp32 model, serialised, whose plan in half precision gave what is not finite."""
    model = onnx.load_from_string(given)
    largest = largest_values(model)
    wide = _wide(model, largest)
    if wide:
        return (
            f"half precision is too narrow for the model; build it with keep_fp32 of {', '.join(wide)} (or "
            "auto, which finds the same)"
        )
    name = max(largest, key=lambda value: largest[value])
    maker = next(layer_name(node) for node in model.graph.node if name in node.output)
    return (
        f"on pictures made to find it, no layer of the model goes beyond half precision: the largest number "
        f"is {largest[name]:.3g}, of {maker}; build it with precision fp32"
    )


def _wide(model: onnx.ModelProto, largest: dict[str, float]) -> list[str]:
    wide = {name for name, value in largest.items() if not value <= LARGEST / MARGIN}
    return [layer_name(node) for node in model.graph.node if wide & {*node.input, *node.output}]
