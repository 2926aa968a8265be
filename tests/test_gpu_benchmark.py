"""What the GPU benchmarks compute themselves: trtexec's report, what is skipped and why, roofs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gpu, gpu_acceptance, roofline

REPORT = """\
[11/23/2026-10:00:00] [I] Throughput: 100 qps
[11/23/2026-10:00:00] [I] Latency: min = 9.5 ms, max = 12 ms, median = 9.9 ms
[11/23/2026-10:00:00] [I] GPU Compute Time: min = 9.1 ms, max = 11 ms, mean = 9.6 ms, median = 9.5 ms
"""


def test_trtexec_is_read_by_its_compute_time() -> None:
    assert gpu.trtexec_times(REPORT) == pytest.approx((0.0095, 0.0091))
    with pytest.raises(LookupError):
        gpu.trtexec_times("&&&& FAILED TensorRT.trtexec")


def test_a_peer_that_is_missing_is_listed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    runs, skipped = gpu.candidates(tmp_path / "none.onnx", ["cpu"], 8, 8, "cpu")
    assert not runs
    assert "none.onnx" in skipped["mimo_rt cpu"]


def test_steps_are_of_eight_bits() -> None:
    a = np.array([[[0, 255, 7]]], np.uint8)
    b = np.array([[[255, 254, 7]]], np.uint8)
    assert gpu_acceptance.steps(a, b) == (255, pytest.approx(2 / 3))


def test_a_layer_takes_no_less_than_either_roof() -> None:
    card = roofline.Gpu("card", {"fp16": 100.0}, 10.0)
    by_arithmetic, by_traffic = roofline.Work(200.0, 1.0), roofline.Work(1.0, 50.0)
    assert roofline.seconds([by_arithmetic], card, "fp16", ideal=True) == pytest.approx(2.0)
    assert roofline.seconds([by_traffic], card, "fp16", ideal=True) == pytest.approx(10.0)
    both = [by_arithmetic, by_traffic]
    assert roofline.seconds(both, card, "fp16", ideal=True) == pytest.approx(12.0)
    assert roofline.seconds(both, card, "fp16", ideal=False) > 12.0
