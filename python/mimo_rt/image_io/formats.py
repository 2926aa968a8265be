"""The file formats that are read and written, and the endings of their names."""

from __future__ import annotations

from pathlib import Path

_ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
SPOKEN = "PNG, JPEG, WebP, TIFF and BMP"


def format_of(name: str | Path) -> str | None:
    """The format that a file of this name has: "PNG"... or None where the ending is not one of ours."""
    return _ENDINGS.get(Path(name).suffix.lower())


def is_image_name(name: str | Path) -> bool:
    """Whether a file of this name is taken for an image when a folder is searched."""
    return format_of(name) is not None
