"""precision="fp16": what layers pass on is rounded to half precision, weights too where that does no harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_same_bits import least_memory

import mimo_rt
from mimo_rt import _core

MODEL = onnx_models.mimo_unet(16, 2)
EXAMPLE = Path(__file__).parents[1] / "examples" / "blurred.jpg"


@pytest.fixture(scope="module")
def half() -> mimo_rt.Engine:
    return mimo_rt.build(MODEL, precision="fp16")


@pytest.fixture(scope="module")
def single() -> mimo_rt.Engine:
    return mimo_rt.build(MODEL)


def noise(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(height * width).random((height, width, 3), np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 1), (97, 61), (150, 40)])
def test_threads_and_bands_change_nothing(half: mimo_rt.Engine, size: tuple[int, int]) -> None:
    image = (noise(*size) * 65535).astype(np.uint16)
    expected = mimo_rt.Deblurrer(half, threads=1).run(image).tobytes()
    for threads in (1, 2, 3):
        for memory in (None, least_memory(half, *size, threads)):
            deblurrer = mimo_rt.Deblurrer(half, threads=threads, memory=memory)
            assert deblurrer.run(image).tobytes() == expected, (threads, memory)


def test_it_differs_by_about_what_half_precision_is_worth(
    half: mimo_rt.Engine, single: mimo_rt.Engine
) -> None:
    x = np.ascontiguousarray(noise(64, 96).transpose(2, 0, 1)[None])
    error = np.abs(half.infer(x) - single.infer(x))
    assert 1e-6 < error.max() < 1e-2, "11 bits, and what Winograd makes of rounded weights"
    assert np.sqrt((error**2).mean()) < 1e-3

    # Direct convolution keeps its weights whole: rounded results alone.
    whole, rounded = (mimo_rt.build(MODEL, precision=p, tactics="direct").infer(x) for p in ("fp32", "fp16"))
    error = np.abs(rounded - whole)
    change = float(np.abs(whole - x).max())
    assert 1e-6 < error.max() < 4e-3 * change, "half precision has 11 bits"
    assert np.sqrt((error**2).mean()) < 5e-4 * change


def test_weights_take_half_where_a_picture_shows_no_difference() -> None:
    """The bundled model's do: its result on a photo moves by much less than would cost 0.01 dB at 40 dB."""
    single, half = (mimo_rt.build("mimo-unet-s", precision=p) for p in ("fp32", "fp16"))
    assert half.info.packed_bytes < 0.6 * single.info.packed_bytes
    assert any(str(layer["kernel"]) == "winograd-f6-half" for layer in half.layers())
    with Image.open(EXAMPLE) as file:
        photo = np.asarray(file.convert("RGB"), np.float32)[200:456, 300:620] / np.float32(255)
    results = [mimo_rt.Deblurrer(engine).run(photo) for engine in (single, half)]
    assert 0 < np.sqrt(((results[0] - results[1]) ** 2).mean()) < 4.8e-4


def test_it_takes_less_memory_under_a_bound(half: mimo_rt.Engine, single: mimo_rt.Engine) -> None:
    # Wide enough that what tiles take, which the timing of tactics decides, does not matter.
    sizes = [least_memory(engine, 400, 4000, 1) - engine.info.packed_bytes for engine in (half, single)]
    assert sizes[0] < 0.85 * sizes[1]


@pytest.mark.parametrize("target", _core.targets())
def test_every_instruction_set(target: str, single: mimo_rt.Engine) -> None:
    image = noise(21, 34)
    expected = mimo_rt.Deblurrer(single).run(image)
    result = mimo_rt.Deblurrer(mimo_rt.build(MODEL, precision="fp16", target=target)).run(image)
    assert np.abs(result - expected).max() < 2e-2


def test_values_beyond_half_precision_stay_finite() -> None:
    """A network whose layers make numbers above 65504 is clamped there, not turned into infinities."""
    image = np.full((8, 8, 3), 1.0, np.float32)
    model = onnx_models.mimo_unet(8, 1)
    engine = mimo_rt.build(model, precision="fp16")
    huge = np.full((1, 3, 8, 8), 1e7, np.float32)
    assert np.isfinite(engine.infer(huge)).all()
    assert np.isfinite(mimo_rt.Deblurrer(engine).run(image)).all()


def test_the_plan_says_so(half: mimo_rt.Engine, tmp_path: Path) -> None:
    assert half.info.precision == "fp16"
    half.save(tmp_path / "half.plan")
    again = mimo_rt.Engine.load(tmp_path / "half.plan")
    assert again.info.precision == "fp16"
    image = noise(20, 20)
    assert np.array_equal(mimo_rt.Deblurrer(again).run(image), mimo_rt.Deblurrer(half).run(image))
