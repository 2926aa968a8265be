"""Images through a network of whole arrays, held against the CPU engine's own rows: the network is that
engine's `infer`, so that every difference is the runner's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import mimo_rt
from mimo_rt.array_runner import ArrayRunner, ImageRun
from mimo_rt.padding import Float
from mimo_rt.tile_choice import choose_tile

Image = NDArray[Any]


class OnCpu:
    """The CPU engine as a network of a range of sizes, or of one."""

    def __init__(self, engine: mimo_rt.Engine, smallest: int, largest: int) -> None:
        self.engine = engine
        self.stride, self.halo = engine.info.stride, engine.info.halo
        self.smallest, self.largest = (smallest, smallest), (largest, largest)
        self.seen: set[tuple[int, int]] = set()
        self.batch = 1
        self.device_times: dict[str, float] = {}
        self.takes_pixels = False

    def __call__(self, x: Float) -> Float:
        self.seen.add((x.shape[2], x.shape[3]))
        return self.engine.infer(x)

    def run_image(self, run: ImageRun) -> None:
        raise AssertionError("it takes no pixels")

    def profile(self, height: int, width: int, runs: int) -> dict[str, list[float]]:
        return {f"{width}x{height}": [1.0] * runs}

    def layers(self) -> str:
        return ""

    def memory_for(self, height: int, width: int) -> int:
        return height * width * 1000


def runner(network: OnCpu, **options: Any) -> ArrayRunner:
    given = {"memory": 0, "ensemble": 0, "tiles": "none", "tile": (0, 0), "halo": -1} | options
    return ArrayRunner(network, why_non_finite=lambda: "keep conv_3 in fp32", **given)


def random(height: int, width: int, channels: int, dtype: Any) -> Image:
    image = np.random.default_rng(height + 7 * width).random((height, width, channels))
    return (image * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)


def difference(a: Image, b: Image) -> float:
    """In steps of 8 or 16 bits, or of a float."""
    return float(np.abs(a.astype(np.float64) - b).max())


@pytest.fixture(scope="module")
def direct(model_file: Path) -> mimo_rt.Engine:
    return mimo_rt.build(model_file, tactics="direct")


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    channels=st.sampled_from([1, 3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    strength=st.sampled_from([0.0, 0.7, 1.0, 1.5]),
    bgr=st.booleans(),
)
def test_as_the_cpu_engine(
    direct: mimo_rt.Engine, height: int, width: int, channels: int, dtype: Any, strength: float, bgr: bool
) -> None:
    image = random(height, width, channels, dtype)
    wanted = mimo_rt.Deblurrer(direct, order="bgr" if bgr else "rgb", strength=strength).run(image)
    found = np.empty_like(image)
    runner(OnCpu(direct, 4, 96)).run(image, found, bgr=bgr, strength=strength)
    # A compiler may fuse the multiplication and the addition of the CPU engine's blend: one step.
    assert difference(found, wanted) <= (1 if dtype != np.float32 else 1e-6)
    if strength in (0.0, 1.0):
        assert (found[:, :, 3:] == image[:, :, 3:]).all()


@pytest.mark.parametrize("size", [(200, 230), (196, 60), (230, 230)])
def test_larger_images_run_in_exact_tiles(direct: mimo_rt.Engine, size: tuple[int, int]) -> None:
    network = OnCpu(direct, 60, 2 * direct.info.halo + 24)
    image = random(*size, 3, np.uint8)
    found = np.empty_like(image)
    made = runner(network)
    made.run(image, found)
    assert made.tiles_for(*size)[3] > 1
    assert max(max(seen) for seen in network.seen) <= network.largest[0]
    assert difference(found, mimo_rt.Deblurrer(direct).run(image)) == 0


def test_tiles_are_chosen_within_the_memory(direct: mimo_rt.Engine) -> None:
    network = OnCpu(direct, 4, 400)
    least = 2 * direct.info.halo + 8
    image = random(least + 60, least + 90, 3, np.uint8)
    for tiles in ("none", "chosen"):
        bound = (least + 20) * (least + 30) * 1000
        made = runner(network, tiles=tiles, memory=bound)
        network.seen.clear()
        found = np.empty_like(image)
        made.run(image, found)
        assert made.tiles_for(*image.shape[:2])[3] > 1
        assert network.seen == {made.tiles_for(*image.shape[:2])[:2]}
        assert made.memory_for(*image.shape[:2]) <= bound
        assert difference(found, mimo_rt.Deblurrer(direct).run(image)) == 0
    assert runner(network, tiles="chosen").tiles_for(*image.shape[:2])[3] == 1
    assert runner(network, tiles="chosen", memory=1 << 40).tiles_for(*image.shape[:2])[3] == 1


def test_the_choice_is_that_of_the_cpu(direct: mimo_rt.Engine) -> None:
    """Against every size of a tile: none of those that fit computes less."""
    halo, stride = 8, 4
    for padded in ((64, 96), (100, 40), (48, 48)):
        for bound in (24 * 24, 32 * 40, 60 * 60, 1 << 20):

            def fits(tile: tuple[int, int], most: int = bound) -> bool:
                return tile[0] * tile[1] <= most

            found = choose_tile(padded, halo, stride, fits)
            costs = {}
            for height in range(20, padded[0] + 1, 4):
                for width in range(20, padded[1] + 1, 4):
                    if height * width <= bound:
                        tile, rows, columns = mimo_rt._core.plan_tiles(padded, (height, width), halo, stride)
                        costs[tile] = len(rows) * len(columns) * tile[0] * tile[1]
            assert found is not None
            assert costs[found] == min(costs.values())
    assert choose_tile((64, 96), halo, stride, lambda tile: False) is None


def test_small_images_are_padded_to_the_smallest(direct: mimo_rt.Engine) -> None:
    network = OnCpu(direct, 64, 64)
    image = random(9, 70, 3, np.float32)
    found = np.empty_like(image)
    runner(network, tiles="fixed", tile=(64, 64), halo=8).run(image, found)
    assert network.seen == {(64, 64)}
    inside = np.abs(found - mimo_rt.Deblurrer(direct).run(image))
    assert inside.max() < 0.5  # not equal: padding is seen by the network, and the halo is too small
    assert np.isfinite(found).all()


def test_ensemble(direct: mimo_rt.Engine) -> None:
    image = random(31, 44, 3, np.uint16)
    for count in (4, 8):
        found = np.empty_like(image)
        runner(OnCpu(direct, 4, 96), ensemble=count).run(image, found)
        assert difference(found, mimo_rt.Deblurrer(direct, ensemble=count).run(image)) <= 1


def test_progress_and_its_end(direct: mimo_rt.Engine) -> None:
    image = random(200, 230, 3, np.uint8)
    network = OnCpu(direct, 64, 2 * direct.info.halo + 24)
    told: list[float] = []
    runner(network, ensemble=4).run(image, np.empty_like(image), progress=lambda f: told.append(f) is None)
    assert told == sorted(told)
    assert told[-1] == 1.0
    with pytest.raises(mimo_rt.ImageError) as caught:
        runner(network).run(image, np.empty_like(image), progress=lambda f: f < 0.3)
    assert caught.value.code == "image.cancelled"


def test_what_is_wrong_is_said(direct: mimo_rt.Engine) -> None:
    network = OnCpu(direct, 64, 128)
    bad = random(64, 64, 3, np.float32)
    bad[3, 4, 1] = np.inf
    with pytest.raises(mimo_rt.ImageError, match="NaN or infinite"):
        runner(network).run(bad, np.empty_like(bad))
    with pytest.raises(mimo_rt.ImageError, match="64x64 to 128x128"):
        runner(network).infer(np.zeros((3, 32, 64), np.float32), np.zeros((3, 32, 64), np.float32))
    with pytest.raises(mimo_rt.MemoryLimitError, match="smaller tiles"):
        runner(network, memory=1000).run(random(64, 64, 3, np.uint8), random(64, 64, 3, np.uint8))
    with pytest.raises(mimo_rt.ImageError, match="ensemble"):
        runner(network, ensemble=3)

    class Overflows(OnCpu):
        def __call__(self, x: Float) -> Float:
            return np.full(x.shape, np.nan, np.float32)

    image = random(64, 64, 3, np.uint8)
    out = image.copy()
    with pytest.raises(mimo_rt.BackendError, match="not finite: keep conv_3 in fp32") as caught:
        runner(Overflows(direct, 64, 128)).run(image, out)
    assert caught.value.code == "backend.non_finite"
    assert (out == image).all()
