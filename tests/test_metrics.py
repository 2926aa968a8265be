"""PSNR and SSIM are scikit-image's, to the last digits that matter; padding for other runtimes is the
engine's."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import mimo_rt
from mimo_rt.evaluation import metrics
from mimo_rt.padding import pad, run_padded


def pair(height: int, width: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two images that resemble each other, in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = 0.5 + 0.4 * np.sin(np.stack([x / 7, y / 5, (x + y) / 9], axis=2))
    return np.clip(smooth + rng.normal(0, 0.08, smooth.shape), 0, 1), smooth


@settings(max_examples=25, deadline=None)
@given(st.integers(11, 90), st.integers(11, 150), st.integers(0, 99), st.sampled_from(["f8", "f4", "u1"]))
def test_both_agree_with_scikit_image(height: int, width: int, seed: int, dtype: str) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    one, other = pair(height, width, seed)
    top = 1.0
    if dtype == "u1":
        one, other, top = np.round(255 * one), np.round(255 * other), 255.0
    one, other = one.astype(dtype), other.astype(dtype)
    exact = one.astype(np.float64), other.astype(np.float64)
    psnr = skimage.peak_signal_noise_ratio(*exact, data_range=top)
    ssim = skimage.structural_similarity(
        *exact,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=top,
        channel_axis=-1,
    )
    assert metrics.psnr(one, other, top) == pytest.approx(psnr, abs=1e-9)
    assert metrics.ssim(one, other, top) == pytest.approx(ssim, abs=1e-9)


def test_ssim_is_its_definition_in_plain_loops() -> None:
    one, other = pair(14, 17)
    taps = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    found = []
    for channel in range(3):
        for top in range(14 - 10):
            for left in range(17 - 10):
                x, y = (image[top : top + 11, left : left + 11, channel] for image in (one, other))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                covariance = (window * (x - mx) * (y - my)).sum()
                above = (2 * mx * my + 0.01**2) * (2 * covariance + 0.03**2)
                found.append(above / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2)))
    assert metrics.ssim(one, other, 1.0) == pytest.approx(float(np.mean(found)), abs=1e-12)


def test_the_chunk_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = pair(60, 40)
    whole = metrics.psnr(one, other, 1.0), metrics.ssim(one, other, 1.0)
    for chunk in (1, 500, 1000):
        monkeypatch.setattr(metrics, "_CHUNK", chunk)
        assert metrics.psnr(one, other, 1.0) == pytest.approx(whole[0], abs=1e-12)
        assert metrics.ssim(one, other, 1.0) == pytest.approx(whole[1], abs=1e-12)


def test_known_values() -> None:
    black = np.zeros((12, 13, 3), np.float32)
    assert metrics.psnr(black + np.float32(0.1), black, 1.0) == pytest.approx(20.0, abs=1e-5)
    assert metrics.psnr(black, black, 1.0) == math.inf
    assert metrics.ssim(black, black, 1.0) == pytest.approx(1.0, abs=1e-12)
    pixels = np.full((12, 12, 1), 5, np.uint8)
    assert metrics.psnr(pixels, pixels + np.uint8(245), 255.0) == pytest.approx(
        10 * math.log10(255**2 / 245**2)
    )  # differences of unsigned pixels do not wrap round
    noisy = [metrics.ssim(black + k * pair(12, 13)[0], black, 1.0) for k in (0.0, 0.1, 0.5)]
    assert all(a > b for a, b in pairwise(noisy))


def test_8bit_pixels_round_halves_up_and_clip() -> None:
    values = np.array([-1.0, 0.0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 2.5 / 255, 254.6 / 255, 1.0, 7.0])
    assert metrics.to_8bit(values.reshape(1, -1, 1)).ravel().tolist() == [0, 0, 0, 1, 2, 3, 255, 255, 255]


@pytest.mark.parametrize("shape", [(10, 20, 3), (20, 10, 3)])
def test_too_small_for_ssim(shape: tuple[int, int, int]) -> None:
    image = np.zeros(shape)
    assert metrics.psnr(image, image, 1.0) == math.inf
    with pytest.raises(mimo_rt.ImageError, match="at least 11"):
        metrics.ssim(image, image, 1.0)


@pytest.mark.parametrize("function", [metrics.psnr, metrics.ssim])
def test_shapes_must_be_one(function: object) -> None:
    assert callable(function)
    for one, other in (((20, 20, 3), (20, 21, 3)), ((20, 20), (20, 20)), ((20, 20, 1), (20, 20, 3))):
        with pytest.raises(mimo_rt.ImageError) as caught:
            function(np.zeros(one), np.zeros(other), 1.0)
        assert caught.value.code == "metrics.shape"


@pytest.mark.parametrize("size", [(16, 20), (13, 18), (5, 3), (2, 9), (1, 1), (1, 7)])
@pytest.mark.parametrize("ensemble", [0, 4, 8])
def test_padding_is_the_deblurrers(engine: mimo_rt.Engine, size: tuple[int, int], ensemble: int) -> None:
    """The network on arrays padded here gives what a Deblurrer gives, which pads by itself."""
    image = np.random.default_rng(1).random((*size, 3), np.float32)
    assert all(side % 4 == 0 for side in pad(image, 4).shape[:2])
    ours = np.clip(run_padded(engine.infer, image, 4, ensemble), 0.0, 1.0)
    wanted = mimo_rt.Deblurrer(engine, ensemble=ensemble).run(image)
    if ensemble:
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(ours, wanted)
