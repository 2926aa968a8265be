"""Self-ensemble: the mean over the turns and mirror images of one image."""

from __future__ import annotations

import numpy as np
import onnx_models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle

import mimo_rt

MODEL = onnx_models.mimo_unet(8, 1)


@pytest.fixture(scope="module")
def engine() -> mimo_rt.Engine:
    return mimo_rt.build(MODEL)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(MODEL)


def noise(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


@pytest.mark.parametrize("ensemble", [4, 8])
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 3), (18, 33, 3), (40, 24, 3), (21, 30)])
def test_it_is_the_mean_over_all_turns(
    engine: mimo_rt.Engine, oracle: Oracle, ensemble: int, shape: tuple[int, ...]
) -> None:
    image = noise(*shape)
    result = mimo_rt.Deblurrer(engine, ensemble=ensemble).run(image)
    assert np.abs(result - oracle.deblur(image, ensemble=ensemble)).max() <= 5e-5


def test_one_pass_is_something_else(engine: mimo_rt.Engine) -> None:
    image = noise(24, 31, 3)
    one, four, eight = (mimo_rt.Deblurrer(engine, ensemble=n).run(image) for n in (0, 4, 8))
    assert np.abs(one - four).max() > 1e-4
    assert np.abs(four - eight).max() > 1e-4


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), kind=st.integers(0, 7))
def test_turning_the_image_turns_the_result(
    engine: mimo_rt.Engine, height: int, width: int, kind: int
) -> None:
    """Holds where no side is padded, since padding is always right and at the bottom."""
    image = noise(4 * height, 4 * width, 3)
    deblurrer = mimo_rt.Deblurrer(engine, ensemble=8)

    def turn(
        a: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.rot90(a[:, ::-1] if kind >= 4 else a, kind % 4)

    assert np.abs(deblurrer.run(turn(image)) - turn(deblurrer.run(image))).max() <= 1e-5


def test_same_bits_for_any_threads_and_bound(engine: mimo_rt.Engine) -> None:
    image = (noise(150, 37, 3) * 255).astype(np.uint8)
    plain = mimo_rt.Deblurrer(engine, ensemble=8, threads=1)
    least = mimo_rt.Deblurrer(engine, memory=1 << 30).engine.info.packed_bytes + (3 << 20)
    tight = mimo_rt.Deblurrer(engine, ensemble=8, threads=3, memory=least)
    assert np.array_equal(plain.run(image), tight.run(image))
    # The bound holds for a pass; the frame is said on top.
    assert tight.memory_for(150, 37) <= least + 12 * 150 * 37


def test_strength_grey_alpha_and_order(engine: mimo_rt.Engine, oracle: Oracle) -> None:
    image = (noise(20, 28, 4) * 255).astype(np.uint8)
    result = mimo_rt.Deblurrer(engine, ensemble=4, order="bgr").run(image, strength=0.5)
    expected = oracle.deblur(image[:, :, 2::-1], strength=0.5, ensemble=4)[:, :, ::-1]
    assert np.abs(result[:, :, :3] - np.floor(expected * 255 + 0.5)).max() <= 1
    assert np.array_equal(result[:, :, 3], image[:, :, 3])
    assert np.array_equal(mimo_rt.Deblurrer(engine, ensemble=4).run(image, strength=0), image)


def test_progress_goes_once_from_start_to_end(engine: mimo_rt.Engine) -> None:
    told: list[float] = []
    mimo_rt.Deblurrer(engine, ensemble=4).run(noise(64, 64, 3), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_bad_pixels_and_bad_numbers_are_refused(engine: mimo_rt.Engine) -> None:
    image = noise(8, 8, 3)
    image[3, 4, 1] = np.nan
    with pytest.raises(mimo_rt.ImageError, match="NaN"):
        mimo_rt.Deblurrer(engine, ensemble=4).run(image)
    with pytest.raises(mimo_rt.ImageError, match="0, 4 or 8") as caught:
        mimo_rt.Deblurrer(engine, ensemble=2)
    assert caught.value.code == "image.ensemble"
