"""From a checkpoint of another program to an ONNX file, in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mimo_rt import checkpoints, network


@dataclass(frozen=True)
class Converted:
    """An ONNX file, and what it was made from."""

    onnx: bytes
    checkpoint: checkpoints.Checkpoint
    resample: str

    @property
    def shape(self) -> network.Shape:
        """Width and blocks of the network."""
        return network.shape_of(self.checkpoint.tensors)


def convert(source: bytes | str | os.PathLike[str], *, resample: str | None = None) -> Converted:
    """The network in a checkpoint file, or in its bytes, as an ONNX file.

    resample: "nearest" or "bilinear" (see `mimo_rt.network.RESAMPLINGS`); None takes what the program that
    wrote the file does: MindSpore's port interpolates, all others repeat the nearest. Raises ModelError as
    `mimo_rt.checkpoints.read` does.
    """
    read = checkpoints.read(source)
    how = resample or ("bilinear" if read.format == checkpoints.MINDSPORE else "nearest")
    onnx = network.to_onnx(read.tensors, resample=how, metadata={"mimo_rt.source": read.format})
    return Converted(onnx, read, how)
