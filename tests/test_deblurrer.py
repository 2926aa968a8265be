"""Deblurrer on arrays: types, channels, strides, strength, order, alpha, progress, threads, wrong input."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Oracle

import mimo_rt

DTYPES = (np.uint8, np.uint16, np.float32)


def noise(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(onnx_models.mimo_unet(8, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(17, 31, 3), (8, 8), (1, 1, 3), (1, 9, 3), (5, 2)])
@pytest.mark.parametrize("strength", [0.4, 1.0, 1.5])
def test_against_the_oracle(
    deblurrer: mimo_rt.Deblurrer, oracle: Oracle, dtype: Any, shape: tuple[int, ...], strength: float
) -> None:
    image = noise(shape, dtype)
    result = deblurrer.run(image, strength=strength)
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    expected = oracle.deblur(image, strength)
    if np.dtype(dtype).kind == "f":
        assert np.abs(result - expected).max() <= 5e-5
    else:
        top = np.iinfo(dtype).max
        assert np.abs(result - np.floor(expected * top + 0.5)).max() <= max(1, np.ceil(top * 5e-5))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 37),
    width=st.integers(1, 37),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    strength=st.floats(0.0, 1.5),
    order=st.sampled_from(["rgb", "bgr"]),
    seed=st.integers(0, 99),
)
def test_any_size_and_options_against_the_oracle(
    engine: mimo_rt.Engine,
    oracle: Oracle,
    height: int,
    width: int,
    channels: int | None,
    dtype: Any,
    strength: float,
    order: str,
    seed: int,
) -> None:
    image = noise((height, width) + ((channels,) if channels else ()), dtype, seed)
    result = mimo_rt.Deblurrer(engine, order=order, strength=strength).run(image)
    grey = channels in (None, 1, 2)
    flip = slice(None, None, -1 if order == "bgr" else 1)
    colour = image.reshape(height, width, -1)[:, :, 0] if grey else image[:, :, :3][:, :, flip]
    expected = oracle.deblur(np.ascontiguousarray(colour), strength)
    got = result.reshape(height, width, -1)[:, :, 0] if grey else result[:, :, :3][:, :, flip]
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    rounding = 0.0 if top == 1.0 else 0.501
    assert np.abs(got - expected * top).max() <= 7.5e-5 * top + rounding
    if channels in (2, 4):
        assert result[:, :, -1].tobytes() == image[:, :, -1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_strength_zero_gives_the_input_back(
    deblurrer: mimo_rt.Deblurrer, dtype: Any, channels: int | None
) -> None:
    image = noise((13, 7) if channels is None else (13, 7, channels), dtype)
    if np.dtype(dtype).kind == "f":
        image[0, 0] = 7.5  # not even clipped
    assert deblurrer.run(image, strength=0).tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_untouched_and_colour_does_not_see_it(deblurrer: mimo_rt.Deblurrer, dtype: Any) -> None:
    rgba, la = noise((19, 23, 4), dtype), noise((19, 23, 2), dtype)
    result = deblurrer.run(rgba)
    assert result[:, :, 3].tobytes() == rgba[:, :, 3].tobytes()
    assert result[:, :, :3].tobytes() == deblurrer.run(rgba[:, :, :3]).tobytes()
    result = deblurrer.run(la)
    assert result[:, :, 1].tobytes() == la[:, :, 1].tobytes()
    assert result[:, :, 0].tobytes() == deblurrer.run(la[:, :, 0]).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_with_and_without_axis_agree(deblurrer: mimo_rt.Deblurrer, dtype: Any) -> None:
    image = noise((12, 18), dtype)
    assert deblurrer.run(image[:, :, None]).tobytes() == deblurrer.run(image).tobytes()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bgr_is_flipped_rgb(engine: mimo_rt.Engine, dtype: Any, channels: int) -> None:
    image = noise((14, 15, channels), dtype)
    swap = [2, 1, 0, 3][:channels]
    rgb = mimo_rt.Deblurrer(engine).run(image)
    bgr = mimo_rt.Deblurrer(engine, order="bgr").run(image[:, :, swap])
    assert bgr[:, :, swap].tobytes() == rgb.tobytes()


def test_order_is_not_mixed_up() -> None:
    model = onnx_models.box_blur_of_channels(0.5, 0.25, 0.125)
    image = np.full((8, 8, 3), 200, np.uint8)
    assert mimo_rt.Deblurrer(model).run(image)[4, 4].tolist() == [100, 50, 25]
    assert mimo_rt.Deblurrer(model, order="bgr").run(image)[4, 4].tolist() == [25, 50, 100]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    channels=st.sampled_from([None, 1, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    row_step=st.sampled_from([1, 2, -1, -3]),
    column_step=st.sampled_from([1, 2, -1]),
    layout=st.sampled_from(["rows", "columns", "planes", "flipped channels"]),
    threads=st.integers(1, 3),
)
def test_any_strides_give_the_same_bits(
    engine: mimo_rt.Engine,
    height: int,
    width: int,
    channels: int | None,
    dtype: Any,
    row_step: int,
    column_step: int,
    layout: str,
    threads: int,
) -> None:
    shape = (height * abs(row_step), width * abs(column_step)) + ((channels,) if channels else ())
    image = noise(shape, dtype)
    if layout == "columns":
        image = np.asfortranarray(image)
    elif layout == "planes" and channels:
        image = np.moveaxis(np.ascontiguousarray(np.moveaxis(image, 2, 0)), 0, 2)
    elif layout == "flipped channels" and channels:
        image = image[:, :, ::-1]
    view = image[::row_step, ::column_step]
    before = view.tobytes()
    deblurrer = mimo_rt.Deblurrer(engine, threads=threads)
    result = deblurrer.run(view)
    assert view.tobytes() == before
    assert result.tobytes() == deblurrer.run(np.ascontiguousarray(view)).tobytes()


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_foreign_byte_order_comes_back_as_it_came(deblurrer: mimo_rt.Deblurrer, dtype: str) -> None:
    image = noise((9, 10, 3), np.dtype(dtype).newbyteorder("="))
    result = deblurrer.run(image.astype(dtype))
    assert result.dtype == np.dtype(dtype)
    assert (result == deblurrer.run(image)).all()


def test_unaligned_read_only_and_repeated_pixels(deblurrer: mimo_rt.Deblurrer) -> None:
    image = noise((9, 10, 3), np.uint16)
    expected = deblurrer.run(image).tobytes()
    raw = np.zeros(image.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.uint16).reshape(image.shape)
    unaligned[...] = image
    assert not unaligned.flags.aligned
    assert deblurrer.run(unaligned).tobytes() == expected
    out = np.zeros_like(raw)[1:].view(np.uint16).reshape(image.shape)
    assert deblurrer.run(image, out=out) is out
    assert out.tobytes() == expected
    image.flags.writeable = False
    assert deblurrer.run(image).tobytes() == expected
    row = np.broadcast_to(image[:1], image.shape)
    assert deblurrer.run(row).tobytes() == deblurrer.run(row.copy()).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_and_in_place(deblurrer: mimo_rt.Deblurrer, dtype: Any) -> None:
    image = noise((21, 22, 4), dtype)
    expected = deblurrer.run(image).tobytes()
    wide = np.zeros((21, 44, 4), dtype)
    out = wide[:, ::2]
    assert deblurrer.run(image, out=out) is out
    assert out.tobytes() == expected
    assert not wide[:, 1::2].any()
    assert deblurrer.run(image, out=image) is image
    assert image.tobytes() == expected


def test_overlapping_out(deblurrer: mimo_rt.Deblurrer) -> None:
    canvas = noise((30, 20, 3), np.uint8)
    expected = deblurrer.run(canvas[:20].copy()).tobytes()
    assert deblurrer.run(canvas[:20], out=canvas[10:]).tobytes() == expected


def test_out_that_does_not_fit(deblurrer: mimo_rt.Deblurrer) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    read_only = np.zeros_like(image)
    read_only.flags.writeable = False
    for out in (np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8, 3), np.uint16), read_only, [1]):
        with pytest.raises(mimo_rt.ImageError, match="out"):
            deblurrer.run(image, out=out)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0), np.float32),
        np.zeros((5, 5, 0), np.uint8),
        np.zeros((5,), np.uint8),
        np.zeros((5, 5, 5), np.uint8),
        np.zeros((1, 5, 5, 3), np.uint8),
        np.zeros((5, 5, 3), np.float64),
        np.zeros((5, 5, 3), np.float16),
        np.zeros((5, 5, 3), np.int16),
        np.zeros((5, 5, 3), np.uint32),
        np.zeros((5, 5, 3), bool),
        np.zeros((5, 5, 3), complex),
        np.zeros((5, 5, 3), object),
        "photo.jpg",
        None,
        [[1, 2], [3, 4]],
    ],
    ids=lambda image: f"{getattr(image, 'dtype', type(image).__name__)}-{getattr(image, 'shape', '')}",
)
def test_wrong_input_is_an_image_error(deblurrer: mimo_rt.Deblurrer, image: Any) -> None:
    with pytest.raises(mimo_rt.ImageError) as caught:
        deblurrer.run(image)
    assert caught.value.code.startswith("image.")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0, 0), (16, 30, 2), (7, 11, 1)])
def test_values_that_are_no_numbers(
    deblurrer: mimo_rt.Deblurrer, value: float, where: tuple[int, ...]
) -> None:
    image = noise((17, 31, 3), np.float32)
    image[where] = value
    with pytest.raises(mimo_rt.ImageError, match=r"(?i)finite|nan|inf") as caught:
        deblurrer.run(image)
    assert caught.value.code == "image.non_finite"


def test_float_is_clipped(deblurrer: mimo_rt.Deblurrer) -> None:
    image = noise((16, 16, 3), np.float32) * 4 - 2
    result = deblurrer.run(image)
    assert result.min() == 0.0
    assert result.max() == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_identity_network_returns_every_value(identity_file: Any, dtype: Any) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    image = np.resize(values, (len(values) // 64, 64, 3))
    assert mimo_rt.Deblurrer(identity_file).run(image).tobytes() == image.tobytes()


@pytest.mark.parametrize("strength", [-0.1, 1.51, float("nan")])
def test_strength_out_of_range(engine: mimo_rt.Engine, strength: float) -> None:
    with pytest.raises(mimo_rt.ImageError, match="strength"):
        mimo_rt.Deblurrer(engine, strength=strength)
    with pytest.raises(mimo_rt.ImageError, match="strength"):
        mimo_rt.Deblurrer(engine).run(np.zeros((4, 4, 3), np.uint8), strength=strength)


def test_wrong_options(engine: mimo_rt.Engine) -> None:
    for options in ({"order": "grb"}, {"threads": -1}, {"memory": "much"}, {"memory": 0}):
        with pytest.raises(mimo_rt.ImageError, match=next(iter(options))):
            mimo_rt.Deblurrer(engine, **options)  # type: ignore[arg-type]


def test_the_constructor_sets_the_strength(engine: mimo_rt.Engine, deblurrer: mimo_rt.Deblurrer) -> None:
    image = noise((12, 12, 3), np.uint8)
    half = mimo_rt.Deblurrer(engine, strength=0.5)
    assert half.run(image).tobytes() == deblurrer.run(image, strength=0.5).tobytes()
    assert half.run(image, strength=1.0).tobytes() == deblurrer.run(image).tobytes()


def test_too_little_memory(engine: mimo_rt.Engine) -> None:
    with pytest.raises(mimo_rt.MemoryLimitError) as caught:
        mimo_rt.Deblurrer(engine, memory=4096).run(np.zeros((512, 512, 3), np.uint8))
    assert caught.value.code.startswith("memory")


def test_memory_is_known_beforehand(deblurrer: mimo_rt.Deblurrer) -> None:
    info = deblurrer.engine.info
    small, large = deblurrer.memory_for(16, 16), deblurrer.memory_for(512, 512)
    assert info.packed_bytes <= small <= large


def test_progress_rises_to_its_end(deblurrer: mimo_rt.Deblurrer) -> None:
    seen: list[float] = []
    deblurrer.run(noise((600, 400, 3), np.uint8), progress=seen.append)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert min(seen) >= 0.0
    assert max(seen) <= 1.0


def test_progress_can_end_the_run(deblurrer: mimo_rt.Deblurrer) -> None:
    image = noise((600, 400, 3), np.uint8)
    with pytest.raises(mimo_rt.ImageError) as caught:
        deblurrer.run(image, progress=lambda done: False)
    assert caught.value.code == "image.cancelled"
    small = image[:16, :16]
    assert deblurrer.run(small).tobytes() == deblurrer.run(small.copy()).tobytes()


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_what_progress_raises_arrives(deblurrer: mimo_rt.Deblurrer, raised: type[BaseException]) -> None:
    def progress(done: float) -> None:
        raise raised

    with pytest.raises(raised):
        deblurrer.run(noise((600, 400, 3), np.uint8), progress=progress)


def test_one_deblurrer_from_many_threads(engine: mimo_rt.Engine) -> None:
    shared = mimo_rt.Deblurrer(engine)
    images = [noise((20 + i, 30, 3), np.uint8, seed=i) for i in range(6)]
    expected = [shared.run(image).tobytes() for image in images]
    results: dict[int, list[bytes]] = {i: [] for i in range(6)}

    def work(i: int) -> None:
        own = mimo_rt.Deblurrer(engine, threads=1)
        for _ in range(5):
            results[i] += [shared.run(images[i]).tobytes(), own.run(images[i]).tobytes()]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        assert set(results[i]) == {expected[i]}
        assert len(results[i]) == 10


def test_other_threads_run_meanwhile(deblurrer: mimo_rt.Deblurrer) -> None:
    """The interpreter lock is released: another thread gets to work in the midst of a run."""
    done = threading.Event()
    beats = 0

    def beat() -> None:
        nonlocal beats
        while not done.wait(0.001):
            beats += 1

    other = threading.Thread(target=beat)
    other.start()
    deblurrer.run(noise((700, 700, 3), np.uint8))
    done.set()
    other.join()
    assert beats >= 5


def in_a_process(code: str, *arguments: str) -> str:
    """What a program of its own prints, which may neither hang nor fail."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def test_times_are_told_while_a_run_goes_on(model_file: Path) -> None:
    """From within its progress, and by another thread that holds the interpreter meanwhile."""
    code = """
import sys, threading
import numpy as np
import mimo_rt
deblurrer = mimo_rt.Deblurrer(sys.argv[1])
seen = []
def progress(_):
    other = threading.Thread(target=lambda: seen.append(deblurrer.last_times))
    other.start()
    other.join()
    seen.append(deblurrer.last_times)
deblurrer.run(np.zeros((200, 200, 3), np.uint8), progress=progress)
print(len(seen) >= 2)
"""
    assert in_a_process(code, str(model_file)) == "True"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_all_cores_are_those_that_this_process_may_use(model_file: Path) -> None:
    code = """
import os, sys
import mimo_rt
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(mimo_rt.Deblurrer(sys.argv[1]).threads)
"""
    assert in_a_process(code, str(model_file)) == "1"
