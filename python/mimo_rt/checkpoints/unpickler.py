"""The part of pickle that PyTorch writes checkpoints in, as data: no class is looked up, nothing is called.

Pickle is a program for a small stack machine. This machine knows plain containers, numbers and texts, and for
globals keeps their names. Where a program applies one to arguments, the few names that checkpoints need have
a meaning here (ordered dictionaries, tensors, parameters); any other ends the reading with its name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mimo_rt.errors import ModelError, make

MOST_AXES = 8
LARGEST_KEY = 1 << 60
"""Of larger numbers as many as one likes have the same hash."""
MOST_INSTRUCTIONS = 2_000_000
"""Of a pickle, of which the largest training checkpoints of MIMO-UNet have some 80,000: one byte may make an
object of many."""
LARGEST_NUMBER = 32
"""Bytes of an integer; PyTorch's magic number has 10."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, in elements. That it fits is not checked yet."""

    storage: str
    """The name of the run of elements that it is a view of."""
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where a run of stack items begins."""


_MARK = _Mark()

PersistentLoad: TypeAlias = Callable[[Any], Any]

_DICTIONARIES = frozenset(
    Global(*name.rsplit(".", 1))
    for name in (
        "collections.OrderedDict",
        "collections.Counter",
        "collections.defaultdict",
    )
)
_REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter")
_SIZE = Global("torch", "Size")

_STORAGES = frozenset(
    Global("torch", f"{kind}Storage")
    for kind in (
        "Float",
        "Half",
        "Double",
        "BFloat16",
        "Long",
        "Int",
        "Short",
        "Char",
        "Byte",
        "Bool",
    )
)


def unsafe(what: str) -> ModelError:
    """The error for something that checkpoints have no need of."""
    return make(
        ModelError,
        "checkpoint.unsafe",
        f"this checkpoint holds {what}, which only running code from the file could make sense of; it was "
        "not loaded. Save the weights alone (a state dict of tensors) and import that",
    )


def damaged(why: str) -> ModelError:
    """The error for a file that breaks off or contradicts itself."""
    return make(ModelError, "checkpoint.damaged", f"this checkpoint is damaged: {why}")


class Unpickler:
    """Reads the pickles of a file, one after the other, from ``data`` at ``position``.

    persistent: what a persistent id stands for.
    """

    def __init__(self, data: bytes | memoryview, persistent: PersistentLoad, position: int = 0) -> None:
        self._data = memoryview(data)
        self._persistent = persistent
        self.position = position
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The next pickle's value; raises ModelError."""
        self._stack, self._memo = [], {}
        try:
            for _ in range(MOST_INSTRUCTIONS):
                opcode = self._take(1)[0]
                if opcode == 0x2E:  # STOP
                    return self._pop()
                handler = _HANDLERS.get(opcode)
                if handler is None:
                    raise unsafe(f"the pickle instruction 0x{opcode:02x}")
                handler(self)
            raise damaged("its pickle goes on and on")
        except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
            raise damaged(f"its pickle makes no sense at byte {self.position}") from error

    # --- reading

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self._data):
            raise damaged("it ends too early")
        taken = self._data[self.position : end].tobytes()
        self.position = end
        return taken

    def _number(self, form: str) -> int:
        value: int = struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]
        return value

    def _line(self) -> str:
        rest = self._data[self.position : self.position + 1000].tobytes()
        end = rest.find(b"\n")
        if end < 0:
            raise damaged("a line of its pickle does not end")
        self.position += end + 1
        return rest[:end].decode("utf-8", "replace")

    # --- the stack

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark is no value")
        return value

    def _items(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        raise ValueError("no mark")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    # --- what instructions do

    def _proto(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise damaged(f"its pickle is of protocol {version}")

    def _tuple(self, count: int) -> None:
        items = tuple(self._pop() for _ in range(count))[::-1]
        self._push(items)

    def _long(self, count: int) -> None:
        if not 0 <= count <= LARGEST_NUMBER:
            raise unsafe(f"an integer of {count} bytes")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _text(self, count: int) -> None:
        self._push(self._take(count).decode("utf-8", "surrogatepass"))

    def _old_text(self, count: int) -> None:
        self._push(self._take(count).decode("latin-1"))

    def _get(self, key: int) -> None:
        self._push(self._memo[key])

    def _put(self, key: int) -> None:
        if self._stack[-1] is _MARK:
            raise ValueError("a mark is no value")
        self._memo[key] = self._stack[-1]

    def _memoize(self) -> None:
        self._put(len(self._memo))

    def _append(self, items: list[Any]) -> None:
        into = self._stack[-1]
        if not isinstance(into, list):
            raise TypeError("no list to append to")
        into.extend(items)

    def _set(self, items: list[Any]) -> None:
        into = self._stack[-1]
        if not isinstance(into, dict) or len(items) % 2:
            raise TypeError("no dictionary to set items of")
        into.update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _dictionary(self) -> None:
        items = self._items()
        self._push({})
        self._set(items)

    def _global(self, module: str, name: str) -> None:
        found = Global(module, name)
        known = {_REBUILD_TENSOR, _REBUILD_PARAMETER, _SIZE} | _DICTIONARIES | _STORAGES
        if found not in known:
            raise unsafe(f"{found}")
        self._push(found)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a global without a name")
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(arguments, tuple) or not isinstance(function, Global):
            raise TypeError("nothing to apply")
        self._push(_apply(function, arguments))

    def _build(self) -> None:
        """A state dict carries `_metadata` this way; nothing in it is needed."""
        self._pop()
        if not isinstance(self._stack[-1], dict):
            raise unsafe("an object with a state of its own")

    def _persistent_id(self) -> None:
        self._push(self._persistent(self._pop()))


def _key(value: Any) -> Any:
    """Keys are plain: the hash of a tuple in a tuple in a tuple... would overflow the stack."""
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError("no key of a dictionary")
    if isinstance(value, int) and abs(value) > LARGEST_KEY:
        raise TypeError("a number too large for a key")
    return value


def _apply(function: Global, arguments: tuple[Any, ...]) -> Any:
    """What a call of one of the known names stands for. Nothing is copied: one list that is named a thousand
    times would become a thousand lists."""
    if function in _DICTIONARIES:
        given = [
            a for a in arguments if not isinstance(a, Global)
        ]  # what a defaultdict makes of missing keys
        if not given:
            return {}
        if len(given) > 1 or not isinstance(given[0], dict):
            raise TypeError("no content of a dictionary")
        return given[0]
    if function == _SIZE:
        return _numbers(arguments[0])
    if function == _REBUILD_PARAMETER:
        if not isinstance(arguments[0], Tensor):
            raise TypeError("a parameter that is no tensor")
        return arguments[0]
    if function == _REBUILD_TENSOR:
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, str) or type(offset) is not int or offset < 0:
            raise TypeError("a tensor without numbers")
        tensor = Tensor(storage, offset, _numbers(shape), _numbers(strides))
        if len(tensor.shape) != len(tensor.strides):
            raise TypeError("a tensor with an odd shape")
        return tensor
    raise unsafe(f"a call of {function}")


def _numbers(value: Any) -> tuple[int, ...]:
    """A shape or strides."""
    if not isinstance(value, tuple) or len(value) > MOST_AXES:
        raise TypeError("a tensor with an odd shape")
    if any(type(number) is not int or number < 0 for number in value):
        raise TypeError("a tensor with an odd shape")
    return value


_HANDLERS: dict[int, Callable[[Unpickler], None]] = {
    0x80: Unpickler._proto,
    0x95: lambda u: (u._take(8), None)[1],  # FRAME
    ord("("): lambda u: u._push(_MARK),
    ord("0"): lambda u: (u._pop(), None)[1],
    ord("N"): lambda u: u._push(None),
    0x88: lambda u: u._push(True),
    0x89: lambda u: u._push(False),
    ord("K"): lambda u: u._push(u._number("B")),
    ord("M"): lambda u: u._push(u._number("H")),
    ord("J"): lambda u: u._push(u._number("i")),
    ord("G"): lambda u: u._push(struct.unpack(">d", u._take(8))[0]),
    0x8A: lambda u: u._long(u._number("B")),
    0x8B: lambda u: u._long(u._number("i")),
    ord("X"): lambda u: u._text(u._number("I")),
    0x8C: lambda u: u._text(u._number("B")),
    0x8D: lambda u: u._text(u._number("Q")),
    ord("U"): lambda u: u._old_text(u._number("B")),
    ord("T"): lambda u: u._old_text(u._number("i")),
    ord("B"): lambda u: u._push(u._take(u._number("I"))),
    ord("C"): lambda u: u._push(u._take(u._number("B"))),
    ord("}"): lambda u: u._push({}),
    ord("]"): lambda u: u._push([]),
    ord(")"): lambda u: u._push(()),
    ord("t"): lambda u: u._push(tuple(u._items())),
    0x85: lambda u: u._tuple(1),
    0x86: lambda u: u._tuple(2),
    0x87: lambda u: u._tuple(3),
    ord("d"): Unpickler._dictionary,
    ord("l"): lambda u: u._push(u._items()),
    ord("a"): lambda u: u._append([u._pop()]),
    ord("e"): lambda u: u._append(u._items()),
    ord("s"): lambda u: (lambda value, key: u._set([key, value]))(u._pop(), u._pop()),
    ord("u"): lambda u: u._set(u._items()),
    ord("q"): lambda u: u._put(u._number("B")),
    ord("r"): lambda u: u._put(u._number("I")),
    0x94: Unpickler._memoize,
    ord("h"): lambda u: u._get(u._number("B")),
    ord("j"): lambda u: u._get(u._number("I")),
    ord("c"): lambda u: u._global(u._line(), u._line()),
    0x93: Unpickler._stack_global,
    ord("R"): Unpickler._reduce,
    ord("b"): Unpickler._build,
    ord("Q"): Unpickler._persistent_id,
}
"""By the instruction's byte, all that PyTorch writes with pickle's protocols 2 to 5."""
