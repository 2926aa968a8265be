"""Checkpoints on disk: there is always a whole one, whenever the process or the machine dies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from mimo_rt.temporary import replace_whole


def save(state: dict[str, Any], path: Path) -> None:
    """Write with `torch.save` beside ``path``, bring it to the disk, and only then rename it."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """A checkpoint that `save` wrote. Nothing in it is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file makes PyTorch raise nearly anything
        raise ValueError(f"{path} is damaged or no checkpoint of train.fit: {error}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is no checkpoint of train.fit")
    return state


def write_json(record: dict[str, Any], path: Path) -> None:
    """As `save`, for a small record that people read."""
    replace_whole(path, (json.dumps(record, indent=2) + "\n").encode())
