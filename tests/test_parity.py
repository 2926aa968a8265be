"""Whole networks against ONNX Runtime: lively weights, odd widths and depths, odd sizes.

The largest absolute error on [0, 1] is 5e-5 on weights of trained size; these here are of that size.
"""

from __future__ import annotations

import re

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray
from oracle import Oracle

import mimo_rt
from mimo_rt import network

LARGEST_ERROR = 5e-5
SIZES = [(1, 1), (1, 9), (9, 1), (3, 5), (4, 4), (17, 31), (64, 40), (97, 131)]


def picture(height: int, width: int) -> NDArray[np.float32]:
    """Smooth shapes with edges and grain, float32 (H, W, 3) in [0, 1]."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[0:height, 0:width] / max(height, width, 8)
    waves = [np.sin(rng.uniform(3, 25) * x + rng.uniform(3, 25) * y + i) for i in range(3)]
    image = (
        0.5
        + 0.3 * np.stack(waves, axis=2)
        + 0.15 * (((x * 7).astype(int) + (y * 5).astype(int)) % 2)[..., None]
    )
    return np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1).astype(np.float32)


def check(model: bytes, sizes: list[tuple[int, int]], threads: int = 0, stride: int = 4) -> float:
    deblurrer = mimo_rt.Deblurrer(model, threads=threads)
    oracle = Oracle(model, stride)
    worst = 0.0
    for height, width in sizes:
        image = picture(height, width)
        expected = oracle.deblur(image)
        error = float(np.abs(deblurrer.run(image) - expected).max())
        assert error <= LARGEST_ERROR, (height, width)
        bytes_in = np.floor(image * 255 + 0.5).astype(np.uint8)
        steps = np.floor(oracle.deblur(bytes_in) * 255 + 0.5) - deblurrer.run(bytes_in)
        assert np.abs(steps).max() <= 1, (height, width)
        assert np.abs(expected - image).max() > 1e-3, "the network must do something, else this shows nothing"
        worst = max(worst, error)
    return worst


@pytest.mark.parametrize(("width", "num_res"), [(8, 1), (8, 3), (13, 1), (16, 2), (20, 1), (4, 1)])
def test_networks_of_many_widths(width: int, num_res: int) -> None:
    check(onnx_models.mimo_unet(width, num_res, seed=width), SIZES)


def lively(shape: network.Shape, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of trained size by the published names."""
    rng, weights = np.random.default_rng(seed), {}
    for name, size in network.parameters(shape).items():
        if name.endswith("bias"):
            weights[name] = rng.uniform(-0.05, 0.05, size).astype(np.float32)
            continue
        second = re.search(r"layers\.\d+\.main\.1", name) is not None
        last = name.startswith(("feat_extract.5", "ConvsOut"))
        spread = (2 / np.prod(size[1:])) ** 0.5 * (0.3 if second else 0.02 if last else 1.0)
        weights[name] = rng.normal(0, spread, size).astype(np.float32)
    return weights


@pytest.mark.parametrize(
    ("width", "blocks", "scales"),
    [(8, (1, 1, 1), 2), (16, (1, 2, 2), 2), (10, (2, 1, 1), 2), (8, (1, 1, 1), 3), (16, (1, 2, 2), 3)],
)
def test_networks_of_several_scales(width: int, blocks: tuple[int, int, int], scales: int) -> None:
    model = network.to_onnx(lively(network.Shape(width, blocks, scales), width))
    assert mimo_rt.build(model).info.stride == network.STRIDES[scales]
    check(model, SIZES, stride=network.STRIDES[scales])


def test_each_scale_sees_twice_as_far() -> None:
    one, two, three = (
        mimo_rt.build(network.to_onnx(lively(network.Shape(8, (1, 1, 1), scales), 1)), tactics="direct")
        for scales in network.STRIDES
    )
    assert two.info.halo >= 2 * one.info.halo
    assert three.info.halo >= 2 * two.info.halo
    assert three.info.packed_bytes < 1.1 * one.info.packed_bytes, "weights are packed once"
    image = picture(800, 90)
    for engine in (two, three):
        whole = mimo_rt.Deblurrer(engine).run(image)
        bounded = mimo_rt.Deblurrer(engine, tile=(2 * engine.info.halo + 16, 96)).run(image)
        assert (whole == bounded).all()


@pytest.mark.parametrize("seed", range(3))
def test_other_weights(seed: int) -> None:
    check(onnx_models.mimo_unet(8, 1, seed=100 + seed), [(33, 47), (32, 32)])


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_other_opsets(opset: int) -> None:
    check(onnx_models.mimo_unet(8, 1, opset=opset), [(18, 22)])


def test_a_photo_of_odd_size() -> None:
    check(onnx_models.mimo_unet(16, 1), [(335, 273)])


def test_every_small_size() -> None:
    """Every combination of padding along both axes, and sizes where reflection gives way to the edge."""
    check(onnx_models.mimo_unet(4, 1), [(h, w) for h in range(1, 10) for w in range(1, 10)])


def test_the_raw_network(engine: mimo_rt.Engine) -> None:
    """Values far outside [0, 1] come out as they are: nothing is clipped."""
    x = np.random.default_rng(0).normal(0.5, 3.0, (2, 3, 24, 36)).astype(np.float32)
    y = engine.infer(x)
    expected = Oracle(onnx_models.mimo_unet(8, 1)).infer(x)
    assert np.abs(y - expected).max() <= 5e-5 * np.abs(expected).max()
    assert y.max() > 1.5


def test_zeros_surround_the_image() -> None:
    """A network that averages 3x3 sees zeros beyond the border, and padding only where the size is no
    multiple."""
    image = np.full((6, 5, 3), 1.0, np.float32)
    result = mimo_rt.Deblurrer(onnx_models.box_blur_of_channels(1, 1, 1)).run(image)
    expected = np.ones((6, 5))
    expected[[0, -1]] *= 2 / 3
    expected[:, [0, -1]] *= 2 / 3
    assert np.abs(result - expected[:, :, None]).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("width", "num_res"), [(32, 8), (32, 20)])
def test_the_published_shapes(width: int, num_res: int) -> None:
    check(onnx_models.mimo_unet(width, num_res), [(256, 256), (335, 273), (17, 31), (1, 1)])
