"""The page for those who come from the MindSpore model zoo: its tables are the published ones, its commands
exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from train import published, report

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "from-mindspore.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rows", ["TRAINING", "EVALUATION"])
def test_tables_are_the_published_ones(rows: str) -> None:
    columns = getattr(published, rows)
    for i, row in enumerate(getattr(published, f"{rows}_ROWS")):
        assert f"| {row} | {' | '.join(column[i] for column in columns.values())} |" in PAGE


def test_the_page_says_which_times_add_up() -> None:
    for name, timing in published.TIMINGS.items():
        short = name[name.index("(") + 1 : -1]
        (line,) = re.findall(rf"^\| {short} \| 3000 .*$", PAGE, re.MULTILINE)
        assert f"3000 × {timing.steps // 3000} |" in line
        assert report.span(timing.seconds) in line
        assert report.span(timing.total_seconds) in line


def test_recipes_and_modules_on_the_pages_are_there() -> None:
    for page in (PAGE, TRAINING):
        for module in re.findall(r"-m (train\.\w+)", page):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        for recipe in re.findall(r"--recipe ([a-z0-9-]+)[ `]", page):
            assert (ROOT / "train" / "recipes" / f"{recipe}.yaml").is_file()


@pytest.mark.torch
@pytest.mark.parametrize("module", ["train.preprocess", "train.reproduce"])
def test_every_option_is_on_the_page(module: str) -> None:
    pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
    said = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    options = set(re.findall(r"--[a-z][a-z_-]+", said.stdout)) - {"--help"}
    section = TRAINING[TRAINING.index("## The data set") :]
    assert options
    assert options <= set(re.findall(r"--[a-z][a-z_-]+", section))
