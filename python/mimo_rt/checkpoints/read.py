"""From a checkpoint file to named weights: the format, the wrapping, the prefixes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt.checkpoints.mindspore import is_mindspore, read_mindspore
from mimo_rt.checkpoints.safetensors import is_safetensors, read_safetensors
from mimo_rt.checkpoints.storage import Storage, arrays
from mimo_rt.checkpoints.torch_files import PICKLE_HEADS, ZIP_HEAD, read_legacy, read_zip
from mimo_rt.checkpoints.unpickler import Tensor
from mimo_rt.errors import ModelError, make
from mimo_rt.untrusted import read_limited

PYTORCH_ZIP = "PyTorch"
PYTORCH_LEGACY = "PyTorch before 1.6"
SAFETENSORS = "safetensors"
MINDSPORE = "MindSpore"

HEAD = 64
MOST_BYTES = 1 << 32
"""Bytes that tell the format."""

WRAPPERS = ("ema", "params_ema", "model", "model_state_dict", "state_dict", "params", "net", "network")
"""Under what programs put the weights in their checkpoints, the averaged ones first."""

FIRST = "feat_extract.0.main.0.weight"
"""A weight that every MIMO-UNet has: what comes before it in its name is the prefix of all."""

MOMENTS = ("moment", "accum", "exp_avg", "velocity", "moving")
"""Prefixes of what optimizers keep a weight."""

_READERS: dict[str, Callable[[bytes], tuple[Any, dict[str, Storage]]]] = {
    PYTORCH_ZIP: read_zip,
    PYTORCH_LEGACY: read_legacy,
    SAFETENSORS: read_safetensors,
    MINDSPORE: read_mindspore,
}


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a checkpoint under the names that MIMO-UNet's authors gave them."""

    tensors: dict[str, NDArray[np.float32]]
    format: str
    wrapper: str
    """The entry that the weights lay under; "" where they were the whole."""
    prefix: str
    """What stood before each name, "module."."""
    ignored: int
    """Other tensors in the file: moments of an optimizer, counters."""


def format_of(head: bytes, size: int) -> str | None:
    """The format of a file that begins so, of so many bytes; None where it is no checkpoint."""
    if head.startswith(ZIP_HEAD):
        return PYTORCH_ZIP
    if head.startswith(PICKLE_HEADS):
        return PYTORCH_LEGACY
    if is_safetensors(head, size):
        return SAFETENSORS
    return MINDSPORE if is_mindspore(head, size) else None


def is_checkpoint(source: bytes | str | os.PathLike[str]) -> bool:
    """Whether a file, or its bytes, looks like a checkpoint of any known format, by its first bytes."""
    if isinstance(source, bytes):
        return format_of(source[:HEAD], len(source)) is not None
    try:
        path = Path(source)
        size = path.stat().st_size
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return format_of(file.read(HEAD), size) is not None
    except (OSError, ValueError):
        return False


def read(source: bytes | str | os.PathLike[str]) -> Checkpoint:
    """The weights in a checkpoint file, or in its bytes, as float32.

    Raises ModelError: "checkpoint.read" where the file cannot be read, "checkpoint.format" where it is no
    checkpoint that is known, "checkpoint.damaged", "checkpoint.unsafe" where reading it would take executing
    it, and "checkpoint.weights" where it holds no MIMO-UNet.
    """
    if isinstance(source, bytes):
        data, name = source, "the checkpoint"
    else:
        name = Path(source).name
        try:
            data = read_limited(Path(source), MOST_BYTES)
        except OSError as error:
            text = f"cannot read {name}: {error.strerror or error}"
            raise make(ModelError, "checkpoint.read", text) from error
        except ValueError as error:
            raise make(ModelError, "checkpoint.read", f"cannot read {name}: {error}") from error
    kind = format_of(data[:HEAD], len(data))
    if kind is None:
        raise make(
            ModelError,
            "checkpoint.format",
            f"{name} is no checkpoint of PyTorch or MindSpore and no safetensors file",
        )
    try:
        saved, storages = _READERS[kind](data)
        wrapper, prefix, chosen, others = _weights(saved, name)
        tensors = arrays(chosen, storages, 4 * len(data) + 1024)
    except ModelError as error:
        if name in str(error):
            raise
        code: str = error.code
        raise make(ModelError, code, f"{name}: {error}") from error
    return Checkpoint(tensors, kind, wrapper, prefix, others)


def _tensors(tree: object) -> dict[str, Tensor]:
    """The tensors of a table, by name; what else is in it is left out."""
    if not isinstance(tree, Mapping):
        return {}
    return {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _weights(saved: object, name: str) -> tuple[str, str, dict[str, Tensor], int]:
    tables = {"": saved}
    if isinstance(saved, Mapping):
        tables |= {w: saved[w] for w in WRAPPERS if w in saved}
    for wrapper in (*(w for w in WRAPPERS if w in tables), ""):
        found = _tensors(tables[wrapper])
        prefix = _prefix(found)
        if prefix is None:
            continue
        chosen = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
        if prefix == "":
            chosen = {k: v for k, v in chosen.items() if not _is_other(k, found)}
        return wrapper, prefix, chosen, len(found) - len(chosen)
    held = sorted(_tensors(saved)) or (sorted(map(str, saved)) if isinstance(saved, Mapping) else [])
    shown = ", ".join(held[:5]) + (" ..." if len(held) > 5 else "")
    raise make(
        ModelError,
        "checkpoint.weights",
        f"{name} holds no weights of a MIMO-UNet (looked for {FIRST}; it holds {shown or 'nothing named'})",
    )


def _prefix(tensors: Mapping[str, Tensor]) -> str | None:
    found = [k.removesuffix(FIRST) for k in tensors if k.endswith(FIRST)]
    own = [p for p in found if not p.startswith(MOMENTS) and (not p or p.endswith("."))]
    return min(own, key=len) if own else None


def _is_other(key: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a tensor is an optimizer's or a counter: one beside weights that have no prefix of their
    own."""
    head, dot, rest = key.partition(".")
    return not dot or (head.startswith(MOMENTS) and rest in tensors)
