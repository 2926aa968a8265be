"""Weights from files: checkpoints of ours or of others, and exported models. Nothing in them is executed."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from train.model import MIMOUNet


def load_exported(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file that `train.export` wrote. Those of the outputs at 1/2 and 1/4, which an
    export does not hold, are absent."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    return {
        t.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(t).copy())
        for t in graph.initializer
        if t.name.startswith("net.")
    }


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, ours or a published one, or of an export. Nothing in it is executed."""
    if path.suffix == ".onnx":
        return load_exported(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("ema", "model", "params", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} holds no state dict of tensors")
    return {k.removeprefix("module."): v for k, v in state.items()}


def weights_named(name: str) -> Path:
    """The file that a bundled model's name, or a path, stands for; raises FileNotFoundError."""
    from mimo_rt import models

    found = models.find(name)
    path = found.path if found is not None else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} is neither a file nor the name of a model (bundled: {models.names()})"
        )
    return path


def network_of(weights: dict[str, Tensor]) -> MIMOUNet:
    """A network of the shape that these weights have; its own weights are arbitrary. Raises ValueError."""
    blocks = [0, 0, 0]
    for key in weights:
        found = re.match(r"Encoder\.([012])\.layers\.(\d+)\.", key)
        if found:
            level = int(found[1])
            blocks[level] = max(blocks[level], int(found[2]) + 1)
    first = weights.get("feat_extract.0.main.0.weight")
    if first is None or 0 in blocks:
        raise ValueError("these are not the weights of a MIMO-UNet")
    return MIMOUNet(int(first.shape[0]), blocks)
