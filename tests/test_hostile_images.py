"""Files that are empty, cut, altered, huge by their header or no images: one sentence, in time, in bounds."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from mimo_rt import ImageError, image_io
from mimo_rt.image_io import tags

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
"""What Pillow thinks of odd tags is of no interest here."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PNG16", "TIFF16", "AVIF", "HEIF")


def encoded(pixels: NDArray[np.uint8], format: str) -> bytes:
    if format.endswith("16"):
        pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
        pytest.importorskip("tifffile", reason="16-bit colour needs the extra formats")
        deep = pixels.astype(np.uint16) * 257
        picture = image_io.Picture(deep, format[:-2], image_io.Metadata(dpi=(72, 72)))
        return image_io.encode(picture, deep, format[:-2])
    if format == "HEIF":
        pytest.importorskip("pi_heif", reason="HEIC needs the extra formats")
        return (Path(__file__).parent / "data" / "turned.heic").read_bytes()
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(pixels).save(buffer, format, **({} if format == "BMP" else {"exif": exif}))
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def test_a_huge_header_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(65535, 65535))
    image_io.read(_tiny())  # plug-ins of Pillow load on first use
    start = time.perf_counter()
    with pytest.raises(ImageError, match=r"65535x65535|too large") as caught:
        image_io.read(path)
    assert time.perf_counter() - start < 0.05
    assert caught.value.code == "image.too_large"


def attempt(data: bytes) -> tuple[image_io.Picture | None, str]:
    """The picture and "", or None and what the ImageError said; any other error passes."""
    try:
        return image_io.read(data, max_pixels=10_000_000), ""
    except ImageError as error:
        return None, str(error)


def _tiny() -> bytes:
    return encoded(np.zeros((2, 2, 3), np.uint8), "PNG")


def test_a_huge_header_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(65535, 65535))
    code = f"""
import resource
from PIL import Image, features
Image.MAX_IMAGE_PIXELS = None
from pathlib import Path
from typing import Any
from mimo_rt import ImageError, image_io
image_io.read(Path({str(path)!r}).parent / "small.png")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    image_io.read(Path({str(path)!r}))
except ImageError as error:
    assert "--max-pixels" in str(error), error
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    (tmp_path / "small.png").write_bytes(_tiny())
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 32 * 1024


@pytest.mark.parametrize("format", FORMATS)
def test_the_pixel_limit(photo: NDArray[np.uint8], format: str) -> None:
    data = encoded(photo, format)
    width, height = (48, 64) if format == "HEIF" else (66, 41)
    assert image_io.read(data, max_pixels=width * height).width == width
    with pytest.raises(ImageError, match=f"{width}x{height}") as caught:
        image_io.read(data, max_pixels=width * height - 1)
    assert caught.value.code == "image.too_large"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\0", "not an image"),
        (b"hello, this is a text", "not an image"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"%PDF-1.7" + bytes(20), "PDF"),
        (b"\0\0\0\x1cftypheic" + bytes(20), "HEI"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "AVIF"),
        (b"\0\0\0\x1cftypisom" + bytes(20), "video"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"II*\0", "TIFF"),
        (b"RIFF\0\0\0\0WEBP", "WEBP"),
        (b"BM", "BMP"),
        (huge_png(0, 5), "PNG"),
    ],
)
def test_what_is_no_image(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=says) as caught:
        image_io.read(path)
    assert "photo.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(ImageError, match="cannot read"):
            image_io.read(path)
    if os.geteuid() != 0:
        locked = tmp_path / "locked.png"
        locked.write_bytes(_tiny())
        locked.chmod(0)
        with pytest.raises(ImageError, match="cannot read"):
            image_io.read(locked)


def test_a_large_file_that_is_no_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "video.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="not an image"):
        image_io.read(path)


@pytest.mark.parametrize("format", FORMATS)
def test_every_truncation_is_an_error_or_whole(photo: NDArray[np.uint8], format: str) -> None:
    whole = encoded(photo, format)
    expected = image_io.read(whole).pixels
    lengths = {*range(0, 200), *range(200, len(whole), max(1, len(whole) // 60)), len(whole) - 1}
    if format == "HEIF":  # each is a process
        lengths = {*range(0, 36, 9), *range(36, len(whole), max(1, len(whole) // 20)), len(whole) - 1}
    for length in sorted(lengths):
        picture, said = attempt(whole[:length])
        assert "\n" not in said
        if picture is not None:  # only what comes after the pixels was cut
            assert (picture.pixels == expected).all(), length


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 4}, {"tile": (16, 16)}, {"planarconfig": "separate"}])
def test_16_bit_tiffs_of_others_are_whole_or_an_error(
    compression: str | None, layout: dict[str, Any]
) -> None:
    """No part of the pixels goes missing in silence."""
    tifffile = pytest.importorskip("tifffile", reason="writes the test's files")
    pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
    pixels = np.random.default_rng(0).integers(1, 65536, (33, 35, 3)).astype(np.uint16)
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in layout else pixels
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stored, photometric="rgb", compression=compression, **layout)
    whole = buffer.getvalue()
    assert (image_io.read(whole).pixels == pixels).all()
    for length in range(0, len(whole), 97):
        picture, _ = attempt(whole[:length])
        assert picture is None or (picture.pixels == pixels).all(), length


@pytest.mark.parametrize("format", FORMATS)
def test_altered_bytes_never_escape_as_other_errors(photo: NDArray[np.uint8], format: str) -> None:
    whole = encoded(photo, format)
    rng = random.Random(1)
    for _ in range(40 if format == "HEIF" else 300):
        altered = bytearray(whole)
        for _ in range(rng.choice([1, 1, 1, 4, 30])):
            altered[rng.randrange(min(len(altered), rng.choice([64, len(altered)])))] = rng.randrange(256)
        picture, said = attempt(bytes(altered))
        assert "\n" not in said
        if picture is not None:
            image_io.encode(picture, picture.pixels, "TIFF")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""]))
def test_tags_never_raise_and_never_swell(body: bytes, head: bytes) -> None:
    block = head + body
    directory = tags.parse(block)
    assert sum(len(entry.data) for entry in directory.values()) <= len(block)
    assert tags.parse(tags.block(directory)).keys() == directory.keys()
    patched = tags.with_upright(block)
    assert len(patched) == len(block)
    assert tags.orientation(patched) == 1 or tags.orientation(block) == tags.orientation(patched)
    tags.has_more_pages(block)
    tags.resolution(directory)


def test_tags_that_name_the_same_bytes_again_and_again() -> None:
    """A directory of 5000 entries, each of which claims the whole file."""
    count = 5000
    size = 2 + 12 * count
    entries = b"".join(struct.pack("<HHII", i + 1, 7, size, 8) for i in range(count))
    block = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", count) + entries
    start = time.perf_counter()
    assert sum(len(entry.data) for entry in tags.parse(block).values()) <= len(block)
    assert time.perf_counter() - start < 1.0


def test_directories_that_name_themselves() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (tags.EXIF, tags.GPS, tags.INTEROP))
    block = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 3) + entries + bytes(4)
    assert tags.parse(tags.block(tags.parse(block)))
