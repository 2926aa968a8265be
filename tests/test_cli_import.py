"""`mimo-rt import`: an ONNX file beside the checkpoint, never over another file, and nothing where it cannot
be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mimo_rt
from mimo_rt.cli import main

DATA = Path(__file__).parent / "data"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copy(DATA / "torch.pkl", tmp_path / "weights.pkl"))


def test_it_lies_beside_the_checkpoint_and_runs(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(checkpoint)]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    for part in ("weights.onnx", "width 4", "1/1/1 blocks", "nearest", "PyTorch"):
        assert part in told.err
    x = np.random.default_rng(0).random((1, 3, 8, 12)).astype(np.float32)
    made = mimo_rt.build(checkpoint.with_suffix(".onnx"), cache=False)
    assert np.array_equal(made.infer(x), mimo_rt.build(checkpoint, cache=False).infer(x))


def test_what_was_found_as_json(checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "import",
        str(checkpoint),
        "-o",
        str(tmp_path / "x.onnx"),
        "--resample",
        "bilinear",
        "--json",
        "-q",
    ]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = json.loads(told.out)
    assert (found["width"], found["blocks"], found["resample"]) == (4, [1, 1, 1], "bilinear")
    assert (found["format"], found["entry"], found["prefix"]) == ("PyTorch", "model", "module.")
    assert mimo_rt.build(tmp_path / "x.onnx").info.metadata["mimo_rt.resample"] == "bilinear"


def test_nothing_is_overwritten(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = checkpoint.with_suffix(".onnx")
    target.write_bytes(b"mine")
    assert main(["import", str(checkpoint)]) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert main(["import", str(checkpoint), "--force"]) == 0
    assert target.read_bytes() != b"mine"
    assert main(["import", str(checkpoint), "-o", str(checkpoint.parent)]) == 2


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x02cos\nsystem\n."])
def test_what_is_no_checkpoint_leaves_nothing(
    content: bytes, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.write_bytes(content)
    assert main(["import", str(checkpoint)]) == 3
    err = capsys.readouterr().err
    assert err.startswith("mimo-rt: weights.pkl")
    assert err.count("\n") == 1
    assert [p.name for p in checkpoint.parent.iterdir()] == ["weights.pkl"]
    assert main(["import", str(checkpoint.parent / "missing.pkl")]) == 3


def test_the_checkpoint_itself_is_not_the_target(checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    assert main(["import", str(checkpoint), "-o", str(checkpoint), "--force"]) == 2
    assert checkpoint.read_bytes() == before
