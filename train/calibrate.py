"""Scales of activations for 8 bits, from what the fp32 network computes on a few images.

Two ways: ``minmax`` takes the largest magnitude that was seen; ``mse`` takes the range whose mean squared
error of quantisation is least over the values that were seen, which gives up rare outliers for finer steps.
There is no percentile: it cuts a share of the values off whether that is worth it or not, which darkens
images.

Images are run one after another and values are folded into their statistics at once: memory does not grow
with the number of images or layers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimo_rt.errors import ModelError, make
from train.interpret import Program
from train.quantize import LARGEST, scale_of

METHODS = ("mse", "minmax")
BINS = 2048
"""Of a histogram of magnitudes."""
SAMPLE = 1 << 17
"""Magnitudes of one value in one image that are counted at most, evenly spread."""
SMALLEST_CLIP = 64
"""The narrowest range that ``mse`` tries, in bins; it tries every 8th."""


def largest_magnitudes(
    program: Program, names: Collection[str], images: Sequence[Tensor]
) -> dict[str, float]:
    """The largest magnitude of each value over all images, float32 (3, H, W). Raises ModelError where one is
    not finite."""
    largest = dict.fromkeys(names, 0.0)

    def observe(name: str, value: Tensor) -> None:
        if name in largest:
            top = float(value.abs().max())
            if not np.isfinite(top):
                raise make(ModelError, "calibrate.finite", f"the network computes {top} in {name}")
            largest[name] = max(largest[name], top)

    for image in images:
        program.run(image[None], observe)
    return largest


def histograms(
    program: Program, largest: dict[str, float], images: Sequence[Tensor]
) -> dict[str, NDArray[np.float64]]:
    """How many magnitudes of each value (of `SAMPLE` an image) lie in each of `BINS` equal bins from 0 to its
    largest. Exact zeros are left out: any scale gives them back."""
    counts = {name: np.zeros(BINS) for name, top in largest.items() if top > 0.0}

    def observe(name: str, value: Tensor) -> None:
        if name in counts:
            magnitudes = value.flatten()
            magnitudes = magnitudes[:: -(-len(magnitudes) // SAMPLE)].abs()
            magnitudes = magnitudes[magnitudes > 0.0]
            counts[name] += torch.histc(magnitudes, BINS, 0.0, largest[name]).double().numpy()

    for image in images:
        program.run(image[None], observe)
    return counts


def least_error_range(counts: NDArray[np.float64], largest: float) -> float:
    """The end of the range, at most ``largest``, whose quantisation to 8 bits errs least in the mean square
    over a histogram of magnitudes."""
    width = largest / len(counts)
    centres = (np.arange(len(counts)) + 0.5) * width
    best, least = largest, np.inf
    for bins in range(len(counts), SMALLEST_CLIP - 1, -8):
        step = bins * width / LARGEST
        given_back = np.minimum(np.rint(centres / step), LARGEST) * step
        error = float(np.dot(counts, (given_back - centres) ** 2))
        if error < least:
            best, least = bins * width, error
    return best


def activation_scales(
    model: onnx.ModelProto, names: Collection[str], images: Sequence[Tensor], method: str = "mse"
) -> dict[str, float]:
    """The scale of each of these values of an fp32 graph, by the method; 1 where all that was seen is zero.

    images: float32 (3, H, W) in [0, 1], sides divisible by 4. Raises ModelError where a value is not finite.
    """
    if method not in METHODS:
        raise ValueError(f"the calibration is one of {', '.join(METHODS)}, not {method!r}")
    program = Program(model)
    largest = largest_magnitudes(program, names, images)
    if method == "mse":
        counts = histograms(program, largest, images)
        largest |= {name: least_error_range(found, largest[name]) for name, found in counts.items()}
    return {name: scale_of(top) for name, top in largest.items()}
