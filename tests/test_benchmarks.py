"""The benchmark scripts run and say what they should, on a tiny network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx_models
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "tiny.onnx"
    path.write_bytes(onnx_models.mimo_unet(4))
    return path


def report(script: str, tiny: Path, folder: Path, *options: str) -> dict[str, list[dict[str, float]]]:
    path = folder / "report.json"
    command = [sys.executable, str(SCRIPTS / script), "--model", str(tiny), "--json", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, list[dict[str, float]]] = json.loads(path.read_text())
    return result


def test_memory_stays_within_what_was_said(tiny: Path, tmp_path: Path) -> None:
    usages = report("memory.py", tiny, tmp_path, "--quick", "-t", "2")["cases"]
    assert len(usages) == 2
    for usage in usages:
        assert 0 < usage["engine"] <= usage["planned"] + (16 << 20)
        assert usage["peak"] > usage["engine"]


def test_scaling_reports_every_size_and_every_number_of_threads(tiny: Path, tmp_path: Path) -> None:
    result = report("scaling.py", tiny, tmp_path, "-t", "2", "--rounds", "1", "--frames", "1")
    assert {point["threads"] for point in result["points"]} == {1, 2}
    assert all(point["minimum"] > 0 for point in result["points"])
    assert all(0 < share <= 1 for count in result["counted"] for share in dict(count["busy"]).values())  # type: ignore[call-overload]
