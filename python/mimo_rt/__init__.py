"""mimo_rt: remove motion blur from photos with MIMO-UNet.

The names below are the whole public surface; they are loaded on first use, so that importing the package, and
`mimo-rt --help`, cost next to nothing.

    import mimo_rt
    sharp = mimo_rt.deblur(image)                      # ndarray in, ndarray out; PIL in, PIL out
    engine = mimo_rt.build("model.onnx")               # an Engine, to save, to share, to ask about
    sharp = mimo_rt.Deblurrer(engine).run(image)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimo_rt._core import __version__ as __version__
    from mimo_rt.deblurrer import Deblurrer, deblur
    from mimo_rt.engine import Engine, build
    from mimo_rt.errors import BackendError, Error, ImageError, MemoryLimitError, ModelError, PlanError

__all__ = [
    "BackendError",
    "Deblurrer",
    "Engine",
    "Error",
    "ImageError",
    "MemoryLimitError",
    "ModelError",
    "PlanError",
    "build",
    "deblur",
]

_HOMES = {
    "Deblurrer": "mimo_rt.deblurrer",
    "deblur": "mimo_rt.deblurrer",
    "Engine": "mimo_rt.engine",
    "build": "mimo_rt.engine",
    "BackendError": "mimo_rt.errors",
    "Error": "mimo_rt.errors",
    "ImageError": "mimo_rt.errors",
    "MemoryLimitError": "mimo_rt.errors",
    "ModelError": "mimo_rt.errors",
    "PlanError": "mimo_rt.errors",
    "__version__": "mimo_rt._core",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mimo_rt' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
