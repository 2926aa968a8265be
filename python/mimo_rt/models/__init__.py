"""The models that ship inside the package: an ONNX file each, a model card beside it, and `index.json` over
all.

`index.json` is a list of objects with `name`, `version`, `sha256` (of the ONNX file), `bytes` and `summary`
(one plain sentence on what it is). A model is named "mimo-unet-s" (its newest version) or "mimo-unet-s@1"
(that one for ever).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class BundledModel:
    """One model that ships with mimo_rt."""

    name: str
    version: int
    sha256: str
    bytes: int
    summary: str

    @property
    def id(self) -> str:
        """Name and version, "mimo-unet-s@1"."""
        return f"{self.name}@{self.version}"

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return _FOLDER / f"{self.id}.onnx"

    @property
    def card(self) -> Path:
        """The model card: data, licences, training, figures, limits."""
        return _FOLDER / f"{self.id}.md"


@lru_cache(maxsize=1)
def bundled() -> tuple[BundledModel, ...]:
    """All bundled models, by name, the newest version of each first."""
    entries = json.loads((_FOLDER / "index.json").read_text(encoding="utf-8"))
    return tuple(sorted((BundledModel(**entry) for entry in entries), key=lambda m: (m.name, -m.version)))


def find(name: str) -> BundledModel | None:
    """The bundled model of that name ("mimo-unet-s": newest version; "mimo-unet-s@1": that one), or None."""
    return next((m for m in bundled() if name in (m.name, m.id)), None)


def names() -> str:
    """For error messages: the names of all bundled models."""
    return ", ".join(m.id for m in bundled()) or "none in this build"
