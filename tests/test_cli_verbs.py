"""The verbs build, info, models and doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mimo_rt
from mimo_rt import models
from mimo_rt.cli import console, doctor, main
from mimo_rt.cli.table import table


def test_build_writes_a_plan(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "a.plan"
    assert main(["build", str(model_file), "-o", str(plan)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "fp32 on" in said.err
    assert mimo_rt.Engine.load(plan).info.origin == "plan file"
    before = plan.read_bytes()
    assert main(["build", str(model_file), "-o", str(plan)]) == 2
    assert "--force" in capsys.readouterr().err
    assert plan.read_bytes() == before
    assert main(["build", str(model_file), "-o", str(plan), "--force", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["build", str(model_file), "-o", str(tmp_path)]) == 2


def test_build_errors(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(tmp_path / "a.plan")
    for arguments in (
        [str(model_file), "-o", plan, "--precision", "int4"],
        [str(model_file), "-o", plan, "--backend", "tpu"],
        [str(model_file), "-o", plan, "--target", "PDP11"],
        [str(model_file), "-o", str(tmp_path / "no" / "folder" / "a.plan")],
        [__file__, "-o", plan],
        ["nothing", "-o", plan],
    ):
        assert main(["build", *arguments]) == 3
        said = capsys.readouterr()
        assert said.err.startswith("mimo-rt: ")
        assert said.err.count("\n") == 1
    assert not Path(plan).exists()


@pytest.mark.parametrize("kind", ["model", "plan"])
def test_info(
    kind: str, engine: mimo_rt.Engine, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_file
    if kind == "plan":
        path = tmp_path / "a.plan"
        engine.save(path)
    assert main(["info", str(path), "--layers"]) == 0
    out = capsys.readouterr().out
    assert f"{engine.info.parameters:,}" in out
    assert engine.info.target in out
    assert len(out.splitlines()) > len(engine.layers())
    assert main(["info", str(path), "--layers", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"] == engine.info.parameters
    assert len(report["layers"]) == len(engine.layers())
    assert sum(layer["share"] for layer in report["layers"]) == pytest.approx(1)
    assert main(["info", str(path), "--layers", "--size", "32x48", "--threads", "1"]) == 0
    assert "GFLOP/s" in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert "layers" not in json.loads(capsys.readouterr().out)


def test_models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = (
        models.BundledModel("one", 2, "ab", 3 << 20, "A model of the tests."),
        models.BundledModel("one", 1, "cd", 5, "An older one."),
    )
    monkeypatch.setattr(models, "bundled", lambda: fakes)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "one@2  (3.0 MB)" in out
    assert "A model of the tests." in out
    assert main(["models", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in entries] == ["one@2", "one@1"]
    assert entries[0]["sha256"] == "ab"
    found = models.find("one")
    assert found is not None
    assert found.version == 2
    assert models.find("one@1") == fakes[1]
    assert models.find("one@3") is None


def test_doctor(capsys: pytest.CaptureFixture[str], plan_cache: Path) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    report = doctor.examine()
    assert code == (3 if report["problems"] else 0)
    for word in (mimo_rt.__version__, "numpy", "Pillow", "instruction sets", str(plan_cache), "NVIDIA GPU"):
        assert word in out
    main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out).keys() == report.keys()


@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null/x"])
def test_doctor_sees_a_cache_that_cannot_be_written(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMO_RT_CACHE", folder)
    assert "memory only" in doctor.examine()["plan cache"]["state"]


def test_doctor_sees_a_damaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = models.BundledModel("gone", 1, "ab", 5, "Not there.")
    monkeypatch.setattr(models, "bundled", lambda: (fake,))
    assert "gone@1" in doctor.examine()["problems"][0]


def test_table_lines_up() -> None:
    text = table([["conv", "1,000"], ["a", "7"]], ["name", "macs"])
    assert text == "name   macs\nconv  1,000\na         7"


def test_the_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.ProgressBar, "PATIENCE", 0.0)
    monkeypatch.setattr(console.ProgressBar, "INTERVAL", 0.0)
    with console.ProgressBar("photo.jpg", quiet=False) as bar:
        assert bar(0.5)
    assert capsys.readouterr().err == ""  # not a terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with console.ProgressBar("photo.jpg", quiet=False) as bar:
        assert bar(0.0)
        assert bar(0.5)
    err = capsys.readouterr().err
    assert "50%" in err
    assert "photo.jpg" in err
    assert err.endswith("\r\x1b[K")
    with console.ProgressBar("photo.jpg", quiet=True) as bar:
        bar(0.5)
    assert capsys.readouterr().err == ""
