"""Weights from files: checkpoints of any kind that mimo_rt reads, and exported models. Nothing in them is
executed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mimo_rt import checkpoints, models
from mimo_rt.errors import ModelError, make


def load_exported(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file that `train.export` or mimo_rt wrote. Those of the outputs at 1/2 and 1/4,
    which an export does not hold, are absent. Raises mimo_rt.ModelError for one of less than fp32
    precision."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    precision = {entry.key: entry.value for entry in model.metadata_props}.get("mimo_rt.precision", "fp32")
    if precision != "fp32":
        raise make(
            ModelError,
            "weights.precision",
            f"{path} is an {precision} export, which has lost digits of its weights; give the checkpoint or "
            "the fp32 export that it was made from",
        )
    graph = model.graph
    return {
        t.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(t).copy())
        for t in graph.initializer
        if t.name.startswith("net.")
    }


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, ours or a published one, or of an ONNX file, float32 by name.

    Raises mimo_rt.ModelError where the file is neither, or damaged, or would have to be executed.
    """
    if checkpoints.is_checkpoint(path) or path.suffix != ".onnx":
        return {name: torch.from_numpy(array) for name, array in checkpoints.read(path).tensors.items()}
    return load_exported(path)


def weights_named(name: str) -> Path:
    """The file that a model's name, or a path, stands for; raises FileNotFoundError."""
    found = models.find(name)
    path = found.path if found is not None else Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{name} is neither a file nor the name of a model ({models.names()})")
    return path
