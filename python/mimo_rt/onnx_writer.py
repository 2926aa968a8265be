"""ONNX files, written without the package ``onnx``: nodes, float32 weights and metadata as a protocol
buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimo_rt.protobuf import bytes_field, number_field

OPSET = 17
IR_VERSION = 8
FLOAT = 1

Attribute: TypeAlias = int | str | Sequence[int]
_INT, _STRING, _INTS = 2, 3, 7


class GraphWriter:
    """Collects a graph in running order; values are named by the methods that make them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._aliases: dict[str, str] = {}
        self._count = 0

    def image(self, name: str) -> str:
        """An input, float32 (N, 3, H, W) of any size."""
        self._inputs.append(_value(name))
        return name

    def constant(self, name: str, array: NDArray[np.float32]) -> str:
        """A float32 tensor; one name, one tensor."""
        if name not in self._constants:
            dims = b"".join(number_field(1, size) for size in array.shape)
            raw = np.ascontiguousarray(array, "<f4").tobytes()
            self._constants[name] = dims + number_field(2, FLOAT) + bytes_field(8, name) + bytes_field(9, raw)
        return name

    def node(self, kind: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """An operation with one output, whose name is returned. An input that is left out is ""."""
        self._count += 1
        output = f"{kind.lower()}_{self._count}"
        body = b"".join(bytes_field(1, name) for name in inputs) + bytes_field(2, output)
        body += bytes_field(3, f"node_{output}") + bytes_field(4, kind)
        body += b"".join(bytes_field(5, _attribute(key, value)) for key, value in attributes.items())
        self._nodes.append(body)
        return output

    def result(self, name: str, value: str) -> None:
        """Names a value as the graph's output."""
        self._nodes.append(
            bytes_field(1, value)
            + bytes_field(2, name)
            + bytes_field(3, f"node_{name}")
            + bytes_field(4, "Identity")
        )
        self._outputs.append(_value(name))

    def finish(self, metadata: Mapping[str, str]) -> bytes:
        """The whole file."""
        graph = b"".join(bytes_field(1, node) for node in self._nodes) + bytes_field(2, self._name)
        graph += b"".join(bytes_field(5, tensor) for tensor in self._constants.values())
        graph += b"".join(bytes_field(11, value) for value in self._inputs)
        graph += b"".join(bytes_field(12, value) for value in self._outputs)
        model = number_field(1, IR_VERSION) + bytes_field(2, "mimo_rt") + bytes_field(7, graph)
        model += bytes_field(8, bytes_field(1, "") + number_field(2, OPSET))
        for key, value in metadata.items():
            model += bytes_field(14, bytes_field(1, key) + bytes_field(2, value))
        return model


def _attribute(name: str, value: Attribute) -> bytes:
    body = bytes_field(1, name)
    if isinstance(value, str):
        return body + bytes_field(4, value) + number_field(20, _STRING)
    if isinstance(value, int):
        return body + number_field(3, value) + number_field(20, _INT)
    return body + b"".join(number_field(8, item) for item in value) + number_field(20, _INTS)


def _value(name: str) -> bytes:
    dims = b"".join(
        bytes_field(1, number_field(1, size) if isinstance(size, int) else bytes_field(2, size))
        for size in ("batch", 3, "height", "width")
    )
    tensor = number_field(1, FLOAT) + bytes_field(2, dims)
    return bytes_field(1, name) + bytes_field(2, bytes_field(1, tensor))
