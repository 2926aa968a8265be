"""MindSpore's checkpoints: a protocol buffer of named tensors.

``Checkpoint { repeated Value value = 1 }``, ``Value { string tag = 1; TensorProto tensor = 2 }``,
``TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }``. A large
parameter comes as several values with one tag, one after the other, whose contents belong together.
"""

from __future__ import annotations

import math
from typing import Any

from mimo_rt.checkpoints.storage import BFLOAT16, Storage
from mimo_rt.checkpoints.unpickler import Tensor, damaged
from mimo_rt.protobuf import WireError, fields, read_varint

CHECKSUM = 17
"""Bytes that may follow the message: "crc_num", and ten that are the checksum."""
MOST_VALUES = 100_000
MOST_DIMS = 8

_DTYPES = {
    "Float64": "f8",
    "Float32": "f4",
    "Float16": "f2",
    "BFloat16": BFLOAT16,
    "Int64": "i8",
    "Int32": "i4",
    "Int16": "i2",
    "Int8": "i1",
    "UInt8": "u1",
    "Bool": "u1",
}


def is_mindspore(head: bytes, size: int) -> bool:
    """Whether a file that begins so, of so many bytes, may be one: a value, and in it a tag that is a
    text."""
    if len(head) < 16 or head[0] != 0x0A:
        return False
    at = 1
    while at < 6 and head[at] >= 0x80:
        at += 1
    return head[at + 1] == 0x0A and 0 < head[at + 2] < 0x80 and head[at + 3 : at + 5].isascii()


def read_mindspore(data: bytes) -> tuple[Any, dict[str, Storage]]:
    """The tensors by name, each of a storage of its own, and the storages."""
    if data[-CHECKSUM:].startswith(b"crc_num"):
        data = data[:-CHECKSUM]
    try:
        return _read(data)
    except WireError as error:
        raise damaged(str(error)) from error


def _read(data: bytes) -> tuple[Any, dict[str, Storage]]:
    parts: dict[str, list[memoryview]] = {}
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    for count, (field, value) in enumerate(fields(memoryview(data))):
        if count >= MOST_VALUES:
            raise damaged(f"it has more than {MOST_VALUES} values")
        if field != 1 or isinstance(value, int):
            continue  # what newer versions add (a checksum, notes)
        tag, shape, kind, content = _value(value)
        shapes.setdefault(tag, (shape, kind))
        parts.setdefault(tag, []).append(content)
    tensors: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    for tag, (shape, kind) in shapes.items():
        if kind not in _DTYPES:
            continue  # texts and other notes
        pieces = parts[tag]
        whole = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        storage = Storage(whole, _DTYPES[kind])
        if shape == (0,) and storage.count == 1:
            shape = ()  # how a single number is written
        if math.prod(shape) != storage.count or storage.count * storage.width != len(whole):
            raise damaged(f"{tag!r} has another size than its shape says")
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        storages[tag] = storage
        tensors[tag] = Tensor(tag, 0, shape, strides)
    return tensors, storages


def _value(data: memoryview) -> tuple[str, tuple[int, ...], str, memoryview]:
    tag, kind = "", ""
    dims: list[int] = []
    content = memoryview(b"")
    for field, value in fields(data):
        if isinstance(value, int):
            continue
        if field == 1:
            tag = value.tobytes().decode("utf-8", "replace")
        elif field == 2:
            for inner, given in fields(value):
                if len(dims) > MOST_DIMS:
                    break
                if inner == 1 and isinstance(given, int):
                    dims.append(given)
                elif inner == 1 and not isinstance(given, int):  # packed
                    at = 0
                    while at < len(given) and len(dims) <= MOST_DIMS:
                        number, at = read_varint(given, at)
                        dims.append(number)
                elif inner == 2 and not isinstance(given, int):
                    kind = given.tobytes().decode("utf-8", "replace")
                elif inner == 3 and not isinstance(given, int):
                    content = given
    if not tag or len(dims) > MOST_DIMS or any(d >= 1 << 40 for d in dims):
        raise damaged("a value in it has no name or no sound shape")
    return tag, tuple(dims), kind, content
