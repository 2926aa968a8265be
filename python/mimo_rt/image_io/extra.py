"""The extra `formats`: what it holds is asked for only where a file needs it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from mimo_rt.errors import ImageError, make


def extra(module: str, what: str, otherwise: str) -> ModuleType:
    """A module of the extra. ImageError where it is not installed: `what` needs it, else `otherwise`."""
    try:
        return import_module(module)
    except ImportError:
        raise _missing(what, otherwise) from None


def needs(module: str, what: str, otherwise: str) -> None:
    """As `extra`, without loading it."""
    if find_spec(module) is None:
        raise _missing(what, otherwise)


def _missing(what: str, otherwise: str) -> ImageError:
    return make(
        ImageError,
        "image.needs_formats",
        f"{what} needs the extra \"formats\", else {otherwise}: pip install 'mimo-rt[formats]'",
    )
