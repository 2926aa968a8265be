"""Reading a photo file, which may be damaged or hostile: sizes are checked before anything is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError, features

from mimo_rt.errors import Error, ImageError, make
from mimo_rt.image_io import deep, heif, jpeg, orient, png, tags
from mimo_rt.image_io.formats import SPOKEN_READ, kind_of_box
from mimo_rt.image_io.picture import Metadata, Picture
from mimo_rt.pil import from_pil
from mimo_rt.pixels import Pixels

DEFAULT_MAX_PIXELS = 500_000_000
_EXIF_PREFIX = b"Exif\0\0"


def read(source: Path | bytes, *, name: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """The photo in a file (or in the bytes of one), upright, with its metadata.

    name: what to call it in errors. Files of more than `max_pixels` pixels are refused from their header,
    before decoding. Files with 16-bit colour keep it, through the extra `formats`.

    Raises ImageError, in one sentence, for a file that is missing, empty, damaged, too large, of another
    format, or that could only be read with a loss. (Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS, stands
    where it is lower.)
    """
    name = name or (source.name if isinstance(source, Path) else "the image")
    data, kind = _bytes_of(source, name)
    try:
        return _decode(data, kind, name, max_pixels)
    except (Error, MemoryError):
        raise
    except Exception as error:  # on hostile files decoders raise nearly everything there is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise make(
            ImageError, "image.decode", f"{name} is damaged or not a sound {kind} file: {reason}"
        ) from error


def read_bytes(path: Path, name: str) -> bytes:
    """A photo file as it is; ImageError where it cannot be read or is none of ours by its first bytes."""
    return _bytes_of(path, name)[0]


def _bytes_of(source: Path | bytes, name: str) -> tuple[bytes, str]:
    """The whole file and its format; a file that is none of ours is not read to its end."""
    try:
        if isinstance(source, bytes):
            return source, _kind(source[:32], name)
        with source.open("rb") as file:
            head = file.read(32)
            kind = _kind(head, name)
            return head + file.read(), kind
    except OSError as error:
        raise make(ImageError, "image.read", f"cannot read {name}: {error.strerror or error}") from error


def _kind(head: bytes, name: str) -> str:
    if not head:
        raise make(ImageError, "image.empty_file", f"{name} is empty (0 bytes)")
    if head.startswith(png.SIGNATURE):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    known = {b"GIF8": "a GIF", b"%PDF": "a PDF", b"8BPS": "a Photoshop"}.get(head[:4])
    if head[4:8] == b"ftyp":
        if kind := kind_of_box(head):
            return kind
        known = "a video"
    what = f"is {known} file" if known else "is not an image"
    raise make(ImageError, "image.format", f"{name} {what}; mimo_rt reads {SPOKEN_READ}")


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise make(ImageError, "image.empty", f"{name} has no pixels: it says {width}x{height}")
    if width * height > max_pixels:
        raise make(
            ImageError,
            "image.too_large",
            f"{name} says it has {width}x{height} pixels, more than the limit of {max_pixels}; --max-pixels "
            "raises it",
        )


def _decode(data: bytes, kind: str, name: str, max_pixels: int) -> Picture:
    if kind == "HEIF":
        return heif.read(data, lambda width, height: _check_size(width, height, name, max_pixels), max_pixels)
    directory = tags.parse(data) if kind == "TIFF" else {}
    samples = tags.number(directory, 277) or 1
    if samples > 1 and tags.number(directory, 258) == 16:
        pixels, turn = deep.read_tiff(
            data, lambda width, height: _check_size(width, height, name, max_pixels)
        )
        picture = Picture(orient.upright(pixels, turn), "TIFF", _tiff_metadata(directory))
        orient.mark_upright(picture.metadata, turn)
    else:
        picture = _decode_with_pillow(data, kind, name, max_pixels, directory)
    if directory and tags.has_more_pages(data):
        picture.notes.append("only the first of its pages was read")
    return picture


def _decode_with_pillow(
    data: bytes, kind: str, name: str, max_pixels: int, directory: tags.Directory
) -> Picture:
    if kind == "AVIF" and not features.check("avif"):
        raise make(
            ImageError,
            "image.needs_formats",
            f"{name} is an AVIF file, which the installed Pillow {PIL.__version__} does not read; "
            "pip install 'Pillow>=11.3'",
        )
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except Image.DecompressionBombError as error:
        raise make(ImageError, "image.too_large", f"{name} is too large: {error}") from error
    except UnidentifiedImageError:
        raise make(
            ImageError,
            "image.decode",
            f"{name} begins like a {kind} file but is damaged or of an unknown kind",
        ) from None
    with image:
        _check_size(image.width, image.height, name, max_pixels)
        if kind == "TIFF":
            _refuse_cut_bits(image, name)
        notes = []
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and kind != "TIFF":
            notes.append(f"only the first of its {frames} pictures was read")
        if kind == "PNG" and deep.is_deep_png(data):
            pixels, keeps_profile = deep.read_png(data), True
        else:
            converted = from_pil(image)
            pixels, keeps_profile = converted.pixels, converted.keeps_profile
            notes += converted.notes
            if converted.mode == "I":
                notes.append("its 32-bit pixels were taken as 16-bit")
            if pixels.dtype == np.uint16 and tags.number(directory, 262) == 0:
                pixels = 65535 - pixels  # white is zero; Pillow turns only 8-bit pixels round
        metadata = _tiff_metadata(directory) if directory else _metadata(image, kind, data)
        if not keeps_profile:
            metadata.icc = None
        picture = Picture(_native(pixels), kind, metadata, notes=notes)
        if kind == "TIFF":  # Pillow has turned the pixels itself
            orient.mark_upright(metadata, tags.number(directory, tags.ORIENTATION) or 1)
        else:
            turn = orient.orientation(metadata)
            picture.pixels = orient.upright(picture.pixels, turn)
            orient.mark_upright(metadata, turn)
        if kind == "AVIF":
            picture.lossless = False
            if _has_deep_av1(data):
                picture.notes.append("its 10 or 12 bits were read as 8")
        elif kind == "JPEG":
            picture.lossless = False
            picture.quality = jpeg.quality_of(image.quantization)  # type: ignore[attr-defined]
            picture.subsampling = jpeg.subsampling_of(image)  # type: ignore[arg-type]
            picture.progressive = bool(image.info.get("progressive"))
        elif kind == "WEBP":
            picture.lossless = b"VP8L" in _riff_kinds(data)
        return picture


def _has_deep_av1(data: bytes) -> bool:
    """Whether an AVIF file's configuration tells of more than 8 bits, which Pillow reads as 8."""
    at = data.find(b"av1C")
    return 0 <= at < len(data) - 6 and bool(data[at + 6] & 0x40)


def _native(pixels: Pixels) -> Pixels:
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def _riff_kinds(data: bytes) -> list[bytes]:
    """The types of the chunks of a WebP file."""
    kinds, at = [], 12
    while at + 8 <= len(data):
        kinds.append(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return kinds


def _refuse_cut_bits(image: Image.Image, name: str) -> None:
    """ImageError where Pillow would decode a TIFF of more than 8 bits a sample into 8-bit pixels."""
    bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
    if max(bits) > 8 and image.mode not in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        raise make(
            ImageError,
            "image.mode",
            f"{name} has {max(bits)}-bit {image.mode} pixels in a kind of TIFF that could only be read as 8 "
            "bits; "
            "save it as a plain 16-bit RGB TIFF or PNG",
        )


def _metadata(image: Image.Image, kind: str, data: bytes) -> Metadata:
    info = image.info
    metadata = Metadata(icc=info.get("icc_profile") or None)
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    metadata.xmp = xmp.encode() if isinstance(xmp, str) else xmp
    dpi = info.get("dpi")
    if isinstance(dpi, tuple) and len(dpi) == 2 and min(dpi) > 0:
        metadata.dpi = float(dpi[0]), float(dpi[1])
    exif = info.get("exif")
    if kind == "PNG":
        metadata.dpi = png.resolution(data)
        metadata.png_chunks = png.kept_chunks(data)
        exif = next((body for name, body in png.chunks(data) if name == b"eXIf"), exif)
        if exif is None and "Raw profile type exif" in info:
            exif = image.getexif().tobytes()
    metadata.exif = exif.removeprefix(_EXIF_PREFIX) if isinstance(exif, bytes) and exif else None
    if kind == "JPEG":
        metadata.comment = info.get("comment") or None
        segments: list[tuple[str, bytes]] = image.applist  # type: ignore[attr-defined]
        metadata.iptc = [segment for marker, segment in segments if marker == "APP13"]
    return metadata


def _tiff_metadata(directory: tags.Directory) -> Metadata:
    kept = {tag: entry for tag, entry in directory.items() if tag not in tags.PICTURE_TAGS}
    icc, xmp = directory.get(tags.ICC), directory.get(tags.XMP)
    return Metadata(
        exif=tags.block(kept) if kept else None,
        icc=icc.data if icc else None,
        xmp=xmp.data if xmp else None,
        dpi=tags.resolution(directory),
    )
