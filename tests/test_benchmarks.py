"""The benchmark scripts run and say what they should, on a tiny network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx_models
import pytest
from PIL import Image

from benchmarks import pages
from benchmarks import report as reports

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "tiny.onnx"
    path.write_bytes(onnx_models.mimo_unet(4))
    return path


def report(script: str, tiny: Path, folder: Path, *options: str) -> dict[str, Any]:
    path = folder / "report.json"
    command = [sys.executable, str(SCRIPTS / script), "--model", str(tiny), "--json", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(path.read_text())
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
    assert all(0 < share <= 1 for count in result["counted"] for share in count["busy"])


def test_models_are_compared_at_every_size_and_scale(tiny: Path, tmp_path: Path) -> None:
    sizes = ["--sizes", "64x96", "1250x1602"]  # the second is large enough for scales
    rows = report("models.py", tiny, tmp_path, "--beside", "mimo-unet-s@1", *sizes, "--rounds", "2")["rows"]
    assert [(Path(row["case"]["model"]).name, row["case"]["scale"]) for row in rows] == [
        (tiny.name, 1),
        ("mimo-unet-s@1", 1),
        (tiny.name, 1),
        ("mimo-unet-s@1", 1),
        (tiny.name, 0.5),
        (tiny.name, 0.25),
        (tiny.name, "auto"),
    ]
    assert all(0 < row["minimum"] <= row["median"] and row["peak"] > 0 for row in rows)
    assert [row["chosen"][:6] for row in rows] == [""] * 6 + ["scale "]


def test_evaluation_tells_the_network_from_the_rest(tiny: Path, tmp_path: Path) -> None:
    result = report("evaluation.py", tiny, tmp_path, "-t", "2", "--size", "48x64", "--images", "3")
    assert result["images"] == 3
    assert 0 < result["beside"] < result["total"] < result["with_report"]
    assert result["alone"] > 0
    assert result["decoding"] > 0
    assert result["metrics"] > 0
    assert 0 < result["alone_processor"] < result["processor"]
    assert result["model"] == tiny.name


def test_loader_compares_the_stores(tmp_path: Path) -> None:
    for half in ("blur", "sharp"):
        (tmp_path / half).mkdir()
        Image.new("RGB", (48, 40)).save(tmp_path / half / "1.png")
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path.parent / "loader.json"
    command = [sys.executable, str(SCRIPTS / "loader.py"), "--data", str(tmp_path), "--json", str(path)]
    options = ["--side", "16", "--seconds", "0.05", "--workers", "1", "--ms-per-step", "50", "--batch", "2"]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(path.read_text())
    assert result["steps"] == [{"name": "this step", "pairs_per_second": 40.0}]
    rates = {rate["store"]: rate["pairs_per_second"] for rate in result["rates"]}
    assert {"PNG, Pillow", "decoded (--cache)"} <= set(rates)
    assert all(rate > 0 for rate in rates.values())
    assert "consumes: this step: 40" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("page", list(reports.PAGES))
def test_pages_show_what_was_measured(page: str) -> None:
    """What stands between the marks is made from the kept reports, not written by hand."""
    text = (reports.ROOT / page).read_text(encoding="utf-8")
    for part in reports.PAGES[page]:  # every part has its place, measured yet or not
        pages.replace_between_marks(text, f"{part} table", "")
    assert reports.rendered(page) == text


def test_a_page_is_changed_between_its_marks_only() -> None:
    text = "before\n<!-- x -->\nold\n<!-- /x -->\nafter\n"
    assert pages.replace_between_marks(text, "x", "new\n") == text.replace("old", "new")
    for broken in ("none", "<!-- /x --><!-- x -->", "<!-- x --><!-- x --><!-- /x -->"):
        with pytest.raises(ValueError, match="expected one"):
            pages.replace_between_marks(broken, "x", "new")


def test_tables_put_numbers_to_the_right() -> None:
    lines = pages.table(["image", "s", "note"], [["4x4", "1.5", "a"], ["8x8", "20 MB", "3"]]).splitlines()
    assert lines == ["| image | s | note |", "|---|---:|---|", "| 4x4 | 1.5 | a |", "| 8x8 | 20 MB | 3 |"]
