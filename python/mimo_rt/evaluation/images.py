"""A pair of image files, read and measured against each other before any network runs."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt import image_io
from mimo_rt.errors import ImageError, make
from mimo_rt.evaluation import metrics
from mimo_rt.padding import Float
from mimo_rt.pairs import Pair


@dataclass(frozen=True)
class Figures:
    """PSNR (dB) and SSIM of one image against the sharp one: on values as they are, and on 8-bit pixels."""

    psnr: float
    ssim: float
    psnr_8bit: float
    ssim_8bit: float


@dataclass(frozen=True)
class Loaded:
    """A pair in memory. Images are H x W x 3, floats in [0, 1]."""

    pair: Pair
    blurred: Float
    sharp: Float
    sharp_8bit: NDArray[np.uint8]
    before: Figures
    blur_sha256: str
    sharp_sha256: str
    decode_seconds: float
    metrics_seconds: float


def load(pair: Pair) -> Loaded:
    """Reads a pair. ImageError where a file is damaged, the two differ in size, or one has transparency."""
    start = time.perf_counter()
    blurred, blur_hash = _read(pair.blur)
    sharp, sharp_hash = _read(pair.sharp)
    if blurred.shape != sharp.shape:
        sizes = [f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (blurred, sharp)]
        raise make(
            ImageError, "evaluation.size", f"the blurred image is {sizes[0]} and the sharp one {sizes[1]}"
        )
    given, wanted = _floats(blurred), _floats(sharp)
    sharp_8bit = _8bit(sharp)
    decoded = time.perf_counter()
    psnr, ssim = metrics.psnr(given, wanted, 1.0), metrics.ssim(given, wanted, 1.0)
    before = Figures(psnr, ssim, psnr, ssim)
    if blurred.dtype != np.uint8 or sharp.dtype != np.uint8:  # 8-bit pixels already: the very same figures
        pixels = _8bit(blurred)
        in_8bit = metrics.psnr(pixels, sharp_8bit, 255.0), metrics.ssim(pixels, sharp_8bit, 255.0)
        before = Figures(psnr, ssim, *in_8bit)
    return Loaded(
        pair,
        given,
        wanted,
        sharp_8bit,
        before,
        blur_hash,
        sharp_hash,
        decode_seconds=decoded - start,
        metrics_seconds=time.perf_counter() - decoded,
    )


def compare(image: Float, loaded: Loaded) -> Figures:
    """The figures of a result in [0, 1]."""
    pixels = metrics.to_8bit(image)
    return Figures(
        metrics.psnr(image, loaded.sharp, 1.0),
        metrics.ssim(image, loaded.sharp, 1.0),
        metrics.psnr(pixels, loaded.sharp_8bit, 255.0),
        metrics.ssim(pixels, loaded.sharp_8bit, 255.0),
    )


def file_sha256(path: Path) -> str:
    """Of a file's bytes. ImageError where it cannot be read."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise make(ImageError, "image.read", f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> tuple[NDArray[Any], str]:
    """Pixels H x W x 3 of 8 or 16 bits, and the file's hash."""
    data = _bytes(path)
    pixels = image_io.read(data, name=str(path)).pixels
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape[2] in (2, 4):
        if int(pixels[:, :, -1].min()) != np.iinfo(pixels.dtype).max:
            raise make(ImageError, "evaluation.alpha", f"{path} has transparency, which PSNR does not know")
        pixels = pixels[:, :, :-1]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels, hashlib.sha256(data).hexdigest()


def _floats(pixels: NDArray[Any]) -> Float:
    scaled: Float = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return scaled


def _8bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
