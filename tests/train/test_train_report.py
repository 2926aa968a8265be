"""A run's report has the page's rows, the published columns as they stand, and says what was not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from train import published
from train.report import NOT_MEASURED, Files, main, render, span, timing_notes

RUN: dict[str, Any] = {
    "recipe": "gopro-8gpu",
    "preset": "mimo-unet",
    "epochs": 3000,
    "steps": 189000,
    "finished": True,
    "batch": 4,
    "world_size": 8,
    "crop": 256,
    "optimizer": "adam",
    "rate": 0.0005,
    "schedule": "halve",
    "halve_every": 500,
    "precision": "fp32",
    "device": "NVIDIA Something",
    "torch": "2.9.1",
    "ended": "2026-05-04T10:00:00+00:00",
    "active_seconds": 27000.0,
    "ms_per_step": 140.0,
    "wait_ms_per_step": 7.0,
    "peak_memory_bytes": 5 << 30,
    "train_pairs": 1998,
    "validation_pairs": 105,
    "validation_scenes": ["GOPR0372_07_00"],
    "gamma": False,
    "final_psnr": 31.2,
    "best_psnr": 31.3,
    "best_step": 180000,
}

SUMMARY: dict[str, Any] = {
    "finished": True,
    "results": {
        "images": 1111,
        "psnr_before": 25.64,
        "psnr_after": 31.4712,
        "ssim_before": 0.8,
        "ssim_after": 0.95,
    },
    "timing": {"model_mean": 4.7},
    "standing": {"kind": "complete", "sentence": "This is GOPRO_Large's test split, complete."},
    "verdict": {"sentence": "31.471 dB beside the 31.73 dB published"},
    "model": {"preset": "mimo-unet"},
    "data": {"gamma": False},
    "machine": {"cpu": "Some CPU", "cores": 16},
    "versions": {"mimo_rt": "0.2.0"},
    "backend": {"name": "cpu"},
    "failures": [],
}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path / "run", tmp_path / "eval", tmp_path / "model.onnx")
    assert found.evaluation is not None
    assert found.model is not None
    found.run.mkdir()
    found.evaluation.mkdir()
    (found.run / "run.json").write_text(json.dumps(RUN))
    (found.run / "final.pt").write_bytes(bytes(27 << 20))
    (found.evaluation / "summary.json").write_text(json.dumps(SUMMARY))
    found.model.write_bytes(bytes(26 << 20))
    return found


def cells(text: str, table: int) -> dict[str, list[str]]:
    """Rows of one of the tables, by title."""
    tables = [part for part in text.split("\n\n") if part.startswith("| Parameters")]
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in tables[table].splitlines()]
    return {row[0]: row[1:] for row in rows if not row[0].startswith("---")}


def test_training_stands_beside_the_published_ones(files: Files) -> None:
    rows = cells(render(files), 0)
    assert tuple(rows) == ("Parameters", *published.TRAINING_ROWS)
    assert rows["Parameters"] == ["this run", *published.TRAINING]
    assert {title: row[0] for title, row in rows.items() if title != "Parameters"} == {
        "Model Version": "MIMO-UNet",
        "Resources": "8x NVIDIA Something",
        "Uploaded Date": "2026-05-04",
        "Framework Version": "PyTorch 2.9.1",
        "Dataset": "GOPRO_Large: 1998 pairs trained on, 105 held out",
        "Training Parameters": "batch_size=4 (32 jointly), lr=0.0005 and bisected every 500 epochs, "
        "3000 epochs, crops of 256x256",
        "Optimizer": "Adam",
        "Outputs": "images",
        "Speed": "140 ms/step",
        "Total time": "7h 30m",
        "Checkpoint for Fine tuning": "27.0 MB (.pt file)",
    }
    assert rows["Speed"][1:] == ["132 ms/step", "167 ms/step", "63 ms/step"]
    assert rows["Total time"][1:] == ["5d 6h 4m", "9h 15m", "1d 4h 54m"]


def test_evaluation_stands_beside_the_published_ones(files: Files) -> None:
    text = render(files, ["first command", "second command"])
    rows = cells(text, 1)
    assert tuple(rows) == ("Parameters", *published.EVALUATION_ROWS)
    assert rows["Resources"][0] == "Some CPU (16 cores)"
    assert rows["Framework Version"][0] == "mimo_rt 0.2.0, cpu backend"
    assert rows["Datasets"][0] == "GOPRO_Large"
    assert rows["Speed"] == ["4700 ms/step", "195 ms/step", "61 ms/step", "63 ms/step"]
    assert rows["PSNR metric"] == ["31.471", "1p: 31.47", "1p: 31.511", "1p: 31.7"]
    assert "25.640 dB blurred" in text
    assert "31.73 dB published" in text
    assert "26.0 MB" in text
    assert "5% went by waiting" in text
    assert text.endswith("```sh\nfirst command\nsecond command\n```\n")


@pytest.mark.parametrize("left", ["no folder", "unfinished", "no summary"])
def test_what_was_not_measured_says_so(files: Files, left: str) -> None:
    assert files.evaluation is not None
    summary = files.evaluation / "summary.json"
    if left == "unfinished":
        summary.write_text(json.dumps({"finished": False, "identity": {}}))
    else:
        summary.unlink()
    text = render(Files(files.run) if left == "no folder" else files)
    assert {row[0] for title, row in cells(text, 1).items() if title != "Parameters"} == {NOT_MEASURED}
    (files.run / "run.json").write_text(json.dumps({"preset": "mimo-unet", "ms_per_step": None}))
    (files.run / "final.pt").unlink()
    rows = cells(render(files), 0)
    for title in ("Framework Version", "Dataset", "Speed", "Total time", "Checkpoint for Fine tuning"):
        assert rows[title][0] == NOT_MEASURED


def test_no_part_passes_for_the_benchmark(files: Files) -> None:
    assert files.evaluation is not None
    run = RUN | {"train_pairs": 90, "finished": False, "gamma": True}
    (files.run / "run.json").write_text(json.dumps(run))
    part = SUMMARY | {
        "standing": {"kind": "part", "sentence": "no"},
        "verdict": None,
        "data": {"gamma": True},
    }
    (files.evaluation / "summary.json").write_text(json.dumps(part))
    text = render(files)
    assert cells(text, 0)["Dataset"][0].startswith("another set than GOPRO_Large, blur_gamma: 90 pairs")
    assert cells(text, 0)["Total time"][0] == "7h 30m (unfinished: 189000 steps)"
    assert cells(text, 1)["Datasets"][0] == "not the GoPro benchmark: 1111 pairs, blur_gamma"


def test_the_published_times_are_checked() -> None:
    one, eight, npu = timing_notes({})
    assert "1578000 steps of 132 ms are 2d 9h 52m, not the 5d 6h 4m" in one
    assert "does not add up" in one
    assert "198000 steps of 167 ms are 9h 11m; the page gives 9h 15m." in eight
    assert "1578000 steps of 63 ms are 1d 3h 37m; the page gives 1d 4h 54m." in npu


def test_our_own_time_is_checked_in_the_same_way() -> None:
    assert "are 7h 21m, as it took (7h 30m)" in timing_notes(RUN)[0]
    assert "and it took 20h 0m" in timing_notes(RUN | {"active_seconds": 72000.0})[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (60, "1m"), (33300, "9h 15m"), (104040, "1d 4h 54m"), (86400, "1d 0h 0m")],
)
def test_times_are_written_as_on_the_page(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_columns_are_whole() -> None:
    assert all(len(column) == len(published.TRAINING_ROWS) for column in published.TRAINING.values())
    assert all(len(column) == len(published.EVALUATION_ROWS) for column in published.EVALUATION.values())
    assert set(published.TIMINGS) == set(published.TRAINING)


@pytest.mark.parametrize("record", ["[1]", "{", '"text"', "[" * 100000])
def test_damaged_records_are_one_sentence(
    files: Files, record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files.run / "run.json").write_text(record)
    output = files.run / "report.md"
    assert main(["--run", str(files.run), "-o", str(output)]) == 1
    assert "is no record" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("value", [None, "text", [1], {"a": 1}, float("nan"), True])
def test_odd_entries_do_not_stop_it(files: Files, value: object) -> None:
    for key in RUN:
        (files.run / "run.json").write_text(json.dumps(RUN | {key: value}))
        assert tuple(cells(render(files), 0)) == ("Parameters", *published.TRAINING_ROWS)


def test_the_command(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--run", str(files.run), "--evaluation", str(files.evaluation), "--model", str(files.model)]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert main([*options, "-o", str(files.run / "report.md")]) == 0
    assert (files.run / "report.md").read_text() == printed
    assert main(["--run", str(files.run / "nowhere")]) == 1
    assert "no run of train.fit" in capsys.readouterr().err
