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
_READ_ENDINGS = (".heic", ".heif", ".hif", ".avif")

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
SPOKEN = "PNG, JPEG, WebP, TIFF and BMP"
SPOKEN_READ = "PNG, JPEG, WebP, TIFF, BMP, HEIC and AVIF"

SUCCESSOR = ".jpg"
"""What a photo of a format that is only read becomes unless another is asked for."""

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))


def format_of(name: str | Path) -> str | None:
    """The format that is written to a file of this name: "PNG"... or None where the ending is not one of
    ours."""
    return _ENDINGS.get(Path(name).suffix.lower())


def written_as(format: str) -> str:
    """The format that a photo of this one is written in unless another is asked for."""
    return format if format in FORMATS else _ENDINGS[SUCCESSOR]


def is_only_read(name: str | Path) -> bool:
    """Whether the name is that of a format that is read and not written."""
    return Path(name).suffix.lower() in _READ_ENDINGS


def is_image_name(name: str | Path) -> bool:
    """Whether a file of this name is taken for an image when a folder is searched."""
    return format_of(name) is not None or is_only_read(name)


def kind_of_box(head: bytes) -> str | None:
    """ "HEIF" or "AVIF" where the first box of a file says so, None where it is another, such as a video."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None
