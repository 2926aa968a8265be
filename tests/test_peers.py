"""benchmarks/peers.py: order of rounds, tables, marks; then two runtimes measured on a tiny network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx_models import mimo_unet

from benchmarks import peers
from benchmarks.peers import Row, Table


def table() -> Table:
    rows = [
        Row("onnxruntime", "ONNX Runtime", "1.2", "", [2.0, 4.0, 3.0], 2_500_000_000, 0.0),
        Row("mimo_rt", "mimo_rt", "0.1.0", "AVX2", [1.0, 2.0, 1.5], 123_000_000, 4.2e-6),
        Row("slow", "Other", "7", "one way", [9.0], None, 1e-3),
        Row("fast", "Other", "7", "another way", [8.0], None, 0.5),
    ]
    return Table(720, 1280, "onnxruntime", rows, {"mnn": "MNN is not installed"})


def test_table_for_people() -> None:
    lines = peers.markdown([table()], "On a machine.").splitlines()
    assert lines == [
        "On a machine.",
        "",
        "**1280×720**",
        "",
        "| runtime | median | minimum | times ours | peak memory | largest error |",
        "|---|---:|---:|---:|---:|---:|",
        "| mimo_rt 0.1.0 (AVX2) | 1.500 s | 1.000 s | 1.00 | 123 MB | 4.2e-06 |",
        "| ONNX Runtime 1.2 | 3.000 s | 2.000 s | 2.00 | 2.50 GB | reference |",
        "| Other 7 (another way) | 8.000 s | 8.000 s | 5.33 | - | 5.0e-01 **wrong** |",
        "| mnn | skipped: MNN is not installed | | | | |",
    ]


def test_rounds_rotate() -> None:
    assert [peers.rotated([1, 2, 3], turn) for turn in range(4)] == [
        [1, 2, 3],
        [2, 3, 1],
        [3, 1, 2],
        [1, 2, 3],
    ]


def test_picture_is_made_of_8_bit_steps() -> None:
    image = peers.picture(24, 40)
    assert image.shape == (1, 3, 24, 40)
    assert image.dtype == np.float32
    assert np.abs(image * 255 - np.round(image * 255)).max() < 1e-4
    assert 0 <= image.min() < 0.5 < image.max() <= 1
    assert np.array_equal(image, peers.picture(24, 40))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_paused_processes_go_on_afterwards_even_after_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        seen = ""
        with contextlib.suppress(RuntimeError), peers.paused([process.pid]):
            deadline = time.monotonic() + 5
            while seen != "T" and time.monotonic() < deadline:
                time.sleep(0.01)
                seen = state(process.pid)
            raise RuntimeError
        assert seen == "T"
        assert state(process.pid) != "T"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_ours_and_onnx_runtime_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, report = tmp_path / "tiny.onnx", tmp_path / "report.json"
    model.write_bytes(mimo_unet())
    arguments = [
        "--model",
        str(model),
        "--sizes",
        "48x32",
        "--rounds",
        "3",
        "--rest",
        "0",
        "--json",
        str(report),
    ]
    assert peers.main([*arguments, "--runtimes", "mimo_rt", "onnxruntime"]) == 0
    assert "| ONNX Runtime " in capsys.readouterr().out
    (measured,) = json.loads(report.read_text())["tables"]
    assert measured["skipped"] == {}
    rows = {row["name"]: row for row in measured["rows"]}
    assert set(rows) == {"mimo_rt", "onnxruntime"}
    assert all(len(row["seconds"]) == 3 and min(row["seconds"]) > 0 for row in rows.values())
    assert all(row["peak_memory"] > 10_000_000 for row in rows.values())
    assert rows["onnxruntime"]["error"] == 0
    assert 0 < rows["mimo_rt"]["error"] < 5e-5


def test_a_runtime_that_cannot_load_the_model_is_skipped_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"\x08\x07broken")
    arguments = ["--model", str(model), "--sizes", "32x32", "--rounds", "1", "--rest", "0"]
    assert peers.main([*arguments, "--runtimes", "mimo_rt", "onnxruntime"]) == 0
    text = capsys.readouterr().out
    assert "| mimo_rt | skipped: conversion failed: " in text
    assert "| onnxruntime | skipped: " in text
