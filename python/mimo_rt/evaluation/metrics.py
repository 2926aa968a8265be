"""PSNR and SSIM of one image, with numpy alone, in float64, a few rows at a time.

Both take two images H x W x C of one shape and any real dtype, and the range of their values: 1 for floats
in [0, 1], 255 for 8-bit pixels. They are the definitions of scikit-image: `psnr` is its
``peak_signal_noise_ratio`` on float64 copies, `ssim` its ``structural_similarity`` with
``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt.errors import ImageError, make

Image = NDArray[Any]
"""H x W x C, real."""

SIGMA, RADIUS = 1.5, 5
"""SSIM's Gaussian: cut off after 3.5 sigma, which leaves 11 taps."""
K1, K2 = 0.01, 0.03
"""SSIM's constants."""
MIN_SIDE = 2 * RADIUS + 1
"""An image with a shorter side has no SSIM."""

_CHUNK = 1 << 16
"""Values of one field that are worked on at a time: a few of them fit into a core's own cache."""


def psnr(image: Image, wanted: Image, data_range: float) -> float:
    """10 log10(range² / mean squared difference) over all pixels and channels, in dB; infinite where the
    two are equal. ImageError where their shapes differ."""
    _check(image, wanted)
    total = 0.0
    rows = max(1, _CHUNK // wanted[0].size)
    for top in range(0, len(wanted), rows):
        difference = image[top : top + rows].astype(np.float64) - wanted[top : top + rows]
        difference *= difference
        total += float(difference.sum())
    if total == 0.0:
        return math.inf
    return 10.0 * math.log10(data_range**2 * wanted.size / total)


def ssim(image: Image, wanted: Image, data_range: float) -> float:
    """Structural similarity, at most 1: the mean over all windows that lie wholly inside the image, then
    over the channels. ImageError where shapes differ, or a side is shorter than the window of 11 pixels."""
    _check(image, wanted)
    height, width, channels = wanted.shape
    if min(height, width) < MIN_SIDE:
        raise make(
            ImageError,
            "metrics.size",
            f"SSIM needs sides of at least {MIN_SIDE} pixels, and the image is {width}x{height}",
        )
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    inside = height - 2 * RADIUS
    rows = max(4, _CHUNK // (width * channels))
    total = np.zeros(channels)
    for top in range(0, inside, rows):
        part = slice(top, min(top + rows, inside) + 2 * RADIUS)
        x = image[part].astype(np.float64).reshape(-1, width * channels)
        y = wanted[part].astype(np.float64).reshape(-1, width * channels)
        product = _smooth(x * y, channels)
        x_mean, y_mean = _smooth(x, channels), _smooth(y, channels)
        np.square(x, out=x)
        np.square(y, out=y)
        x += y
        squares = _smooth(x, channels)  # of both: only the sum of the two variances is needed
        means = x_mean * y_mean
        x_mean *= x_mean
        y_mean *= y_mean
        x_mean += y_mean
        squares -= x_mean  # the sum of the variances
        product -= means  # the covariance
        means *= 2.0
        means += c1
        product *= 2.0
        product += c2
        means *= product
        x_mean += c1
        squares += c2
        x_mean *= squares
        means /= x_mean
        total += means.reshape(-1, channels).sum(0)
    return float((total / (inside * (width - 2 * RADIUS))).mean())


def to_8bit(image: Image) -> NDArray[np.uint8]:
    """Floats in [0, 1] (others are clipped) as 8-bit pixels, halves rounded up."""
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _taps() -> list[float]:
    """The Gaussian's weights at distance 0, 1, ... `RADIUS`, scaled so that all 11 add up to 1."""
    weights = np.exp(-0.5 / SIGMA**2 * np.arange(-RADIUS, RADIUS + 1) ** 2)
    return [float(w) for w in (weights / weights.sum())[RADIUS:]]


_TAPS = _taps()


def _smooth(field: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """A field of rows of interleaved channels under the Gaussian, where it lies wholly inside."""
    for size, step, rows in ((len(field), 1, True), (field.shape[1], channels, False)):
        kept = size - 2 * RADIUS * step

        def shifted(by: int, at: NDArray[np.float64] = field, rows: bool = rows, kept: int = kept) -> Any:
            return at[by : by + kept] if rows else at[:, by : by + kept]

        result = shifted(RADIUS * step) * _TAPS[0]
        pair = np.empty_like(result)
        for distance, weight in enumerate(_TAPS[1:], 1):
            np.add(shifted((RADIUS - distance) * step), shifted((RADIUS + distance) * step), out=pair)
            pair *= weight
            result += pair
        field = result
    return field


def _check(image: Image, wanted: Image) -> None:
    if image.shape != wanted.shape or wanted.ndim != 3 or 0 in wanted.shape:
        raise make(
            ImageError,
            "metrics.shape",
            f"two images of one shape (H, W, C) are compared, not {image.shape} and {wanted.shape}",
        )
