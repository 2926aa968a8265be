"""The errors of mimo_rt, shared with the C++ side: one hierarchy, and a `code` that programs can compare."""

from __future__ import annotations

from typing import TypeVar

from mimo_rt._core import BackendError, Error, ImageError, MemoryLimitError, ModelError, PlanError

__all__ = [
    "BackendError",
    "Error",
    "ImageError",
    "ImageNote",
    "MemoryLimitError",
    "ModelError",
    "PlanError",
    "make",
]

E = TypeVar("E", bound=Error)


class ImageNote(UserWarning):
    """What a user should know about an image though it is no error: a palette image comes back as RGB."""


def make(kind: type[E], code: str, message: str) -> E:
    """An error of `kind` that carries `code`, such as "image.non_finite", as those of the C++ side do."""
    error = kind(message)
    error.code = code
    return error
