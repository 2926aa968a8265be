"""One model, the same pixels and the same instruction set: the same bits for any threads and any memory
bound."""

from __future__ import annotations

import multiprocessing
import random
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import onnx_models
import pytest

import mimo_rt

SIZES = [(1, 1), (1, 40), (40, 1), (3, 5), (90, 7), (61, 130)] + [
    (random.Random(i).randrange(1, 120), random.Random(i + 99).randrange(1, 90)) for i in range(44)
]


def least_memory(engine: mimo_rt.Engine, height: int, width: int, threads: int) -> int:
    """The smallest bound under which an image of that size runs."""

    def fits(bound: int) -> bool:
        try:
            mimo_rt.Deblurrer(engine, threads=threads, memory=bound).memory_for(height, width)
        except mimo_rt.MemoryLimitError:
            return False
        return True

    low, high = 1, mimo_rt.Deblurrer(engine, threads=threads).memory_for(height, width)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_threads_and_bands_change_nothing(engine: mimo_rt.Engine, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 65536, (*size, 3)).astype(np.uint16)
    expected = mimo_rt.Deblurrer(engine, threads=1).run(image).tobytes()
    for threads in (1, 2, 3, 8):
        least = least_memory(engine, *size, threads)
        for memory in (None, least):
            deblurrer = mimo_rt.Deblurrer(engine, threads=threads, memory=memory)
            assert deblurrer.run(image).tobytes() == expected, (threads, memory)
            assert memory is None or deblurrer.memory_for(*size) <= memory


def test_a_small_bound_saves_memory(engine: mimo_rt.Engine) -> None:
    """So the bands of the test above are more than one; with 8 threads the default one is the whole image."""
    whole = mimo_rt.Deblurrer(engine, threads=8).memory_for(120, 90)
    assert least_memory(engine, 120, 90, 8) < 0.9 * whole


def test_builds_change_nothing(model_file: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    results = {
        mimo_rt.Deblurrer(mimo_rt.build(model_file, cache=cache)).run(image).tobytes()
        for cache in (False, False, True, True)
    }
    assert len(results) == 1


def test_runs_in_turn_on_other_sizes_change_nothing(engine: mimo_rt.Engine) -> None:
    deblurrer = mimo_rt.Deblurrer(engine)
    images = [np.random.default_rng(i).random((20 + 9 * i, 70 - 8 * i, 3), np.float32) for i in range(6)]
    first = [deblurrer.run(image).tobytes() for image in images]
    assert [deblurrer.run(image).tobytes() for image in reversed(images)] == first[::-1]


def _run_in_child(deblurrer: mimo_rt.Deblurrer, image: Any, answer: Connection) -> None:
    answer.send(deblurrer.run(image).tobytes())


def _check_answer(child: BaseProcess, here: Connection, expected: bytes) -> None:
    try:
        assert here.poll(60), "the child hangs"
        assert here.recv() == expected
    finally:
        child.join(5)
        child.kill()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_runs_too(engine: mimo_rt.Engine) -> None:
    """The parent's worker threads do not exist in the child, which must make its own."""
    deblurrer = mimo_rt.Deblurrer(engine, threads=2)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    expected = deblurrer.run(image).tobytes()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_run_in_child, args=(deblurrer, image, there))
    child.start()
    _check_answer(child, here, expected)
    assert deblurrer.run(image).tobytes() == expected


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_run_runs_too(engine: mimo_rt.Engine) -> None:
    """The parent's run holds a lock and half-made rows, which in the child nobody will ever finish."""
    deblurrer = mimo_rt.Deblurrer(engine, threads=2)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    expected = deblurrer.run(image).tobytes()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_run_in_child, args=(deblurrer, image, there))
    running, forked = threading.Event(), threading.Event()

    def progress(_: float) -> bool:
        running.set()
        return forked.wait(60)

    parent = threading.Thread(target=deblurrer.run, args=(image,), kwargs={"progress": progress})
    parent.start()
    assert running.wait(60)
    child.start()
    forked.set()
    parent.join(60)
    _check_answer(child, here, expected)


@pytest.mark.slow
def test_a_deep_network_in_bands() -> None:
    engine = mimo_rt.build(onnx_models.mimo_unet(16, 4))
    image = np.random.default_rng(1).integers(0, 256, (700, 333, 3)).astype(np.uint8)
    expected = mimo_rt.Deblurrer(engine, threads=1).run(image).tobytes()
    for threads in (1, 2, 3):
        least = least_memory(engine, 700, 333, threads)
        for memory in (least, 2 * least):
            deblurrer = mimo_rt.Deblurrer(engine, threads=threads, memory=memory)
            assert deblurrer.run(image).tobytes() == expected
