"""Models by name: those that ship inside the package, and the user's own (`folder`).

Bundled are an ONNX file each, a model card beside it, and `index.json` over all. `index.json` is a list of
objects with `name`, `version`, `sha256` (of the ONNX file), `bytes` and `summary` (one plain sentence on what
it is). A bundled model is named "mimo-unet-s" (its newest version) or "mimo-unet-s@1" (that one for ever).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from mimo_rt.errors import ModelError, make
from mimo_rt.models import folder
from mimo_rt.models.folder import UserModel
from mimo_rt.untrusted import read_limited

__all__ = ["BundledModel", "UserModel", "bundled", "damaged", "find", "find_bundled", "names", "verify"]

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

    @property
    def repair(self) -> str:
        """What to do where the file is not what was shipped."""
        return "reinstall mimo_rt"


@lru_cache(maxsize=1)
def bundled() -> tuple[BundledModel, ...]:
    """All bundled models, by name, the newest version of each first."""
    entries = json.loads((_FOLDER / "index.json").read_text(encoding="utf-8"))
    return tuple(sorted((BundledModel(**entry) for entry in entries), key=lambda m: (m.name, -m.version)))


def find_bundled(name: str) -> BundledModel | None:
    """The bundled model of that name ("mimo-unet-s": newest version; "mimo-unet-s@1": that one), or None."""
    return next((m for m in bundled() if name in (m.name, m.id)), None)


def find(name: str) -> BundledModel | UserModel | None:
    """The model of that name, None where there is none. A bundled one is never hidden by one of the user's.

    ModelError ("model.entry") where the user's folder has a damaged entry of that name.
    """
    return find_bundled(name) or folder.find(name)


def verify(model: BundledModel | UserModel) -> None:
    """ModelError ("model.damaged") unless the file is, byte for byte, what was shipped or added."""
    try:
        data = read_limited(model.path, model.bytes)
        found = sha256(data).hexdigest()
        if found == model.sha256:
            return
        why = f"its sha256 is {found}"
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise damaged(model, why)


def damaged(model: BundledModel | UserModel, why: str) -> ModelError:
    """The error for a file that is not what was shipped or added."""
    return make(
        ModelError,
        "model.damaged",
        f"the file of the model {model.id} is damaged: it is not what was "
        f"{'shipped' if isinstance(model, BundledModel) else 'added'} ({why}); {model.repair}",
    )


def names() -> str:
    """For error messages: the names of all models."""
    text = f"bundled: {', '.join(m.id for m in bundled()) or 'none in this build'}"
    own = [name for name in folder.names() if find_bundled(name) is None]
    return text + (f"; yours: {', '.join(own[:20])}{', ...' if len(own) > 20 else ''}" if own else "")
