"""The user's folder of models: what goes in, what comes out under its name, what nobody can do with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import mimo_rt
from mimo_rt import ModelError, models
from mimo_rt.cli import doctor, main
from mimo_rt.models import folder
from mimo_rt.models.add import Facts, add, add_data
from mimo_rt.untrusted import plain


def test_a_model_that_was_added_works_by_its_name(
    model_file: Path, models_folder: Path, photo: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--licence", "CC0-1.0", "--psnr", "30.1 dB on nothing", "--summary", "A model of the tests."]
    assert main(["models", "add", str(model_file), "--name", "mine", *said]) == 0
    assert "-m mine" in capsys.readouterr().err
    expected = mimo_rt.Deblurrer(model_file).run(photo)
    for sharp in (
        mimo_rt.Deblurrer("mine").run(photo),
        mimo_rt.Deblurrer(mimo_rt.build("mine")).run(photo),
        mimo_rt.deblur(photo, "mine"),
    ):
        np.testing.assert_array_equal(sharp, expected)
    assert main(["info", "mine"]) == 0
    assert main(["models", "show", "mine"]) == 0
    out = capsys.readouterr().out
    digest = sha256(model_file.read_bytes()).hexdigest()
    for word in ("CC0-1.0", "30.1 dB on nothing", "A model of the tests.", digest, str(model_file)):
        assert word in out
    assert main(["models", "show", "mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Path(shown["path"]).read_bytes() == model_file.read_bytes()
    assert shown["sha256"] == shown["source_sha256"] == digest
    assert (shown["bundled"], shown["card"], shown["bytes"]) == (False, None, model_file.stat().st_size)
    assert main(["models", "remove", "mine"]) == 0
    assert [path.name for path in models_folder.iterdir()] == [".lock"]
    with pytest.raises(ModelError, match="neither a file nor"):
        mimo_rt.build("mine")


def test_list_and_show(model_file: Path, models_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(model_file)
    for arguments in (["models"], ["models", "list"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "lively  (" in out
        assert all(model.id in out for model in models.bundled())
    for arguments in (["models", "--json"], ["models", "list", "--json"], ["models", "--json", "list"]):
        assert main(arguments) == 0
        entries = {entry["id"]: entry for entry in json.loads(capsys.readouterr().out)}
        assert entries["lively"]["bundled"] is False
        assert {entry["bundled"] for name, entry in entries.items() if name != "lively"} <= {True}
    assert "yours: lively" in models.names()
    for model in models.bundled()[:1]:
        assert main(["models", "show", model.name]) == 0
        out = capsys.readouterr().out
        assert model.sha256 in out
        assert str(model.card) in out
        assert "Apache-2.0" in out
    assert main(["models", "show", "nothing"]) == 3
    assert "lively" in capsys.readouterr().err
    assert doctor.examine()["models"]["lively"] == "yours"


def test_what_the_engine_cannot_build_is_not_added(
    model_file: Path, models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = model_file.read_bytes()
    checkpoint = b"PK\x03\x04" + bytes(100)
    for number, data in enumerate((b"", b"not a model", whole[: len(whole) // 2], checkpoint)):
        path = tmp_path / f"bad{number}.onnx"
        path.write_bytes(data)
        assert main(["models", "add", str(path)]) == 3
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(path) in err
    for missing in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(ModelError):
            add(missing, name="fine")
    network = onnx.load_from_string(whole)
    onnx.helper.set_model_props(network, {"mimo_rt.preset": "mimo-unet-s"})
    with pytest.raises(ModelError) as caught:
        add_data(network.SerializeToString(), "fine", "here", facts=Facts(preset="mimo-unet"), replace=False)
    assert caught.value.code == "model.preset"
    assert folder.names() == []
    assert not models_folder.exists()


def test_pipes_and_giants_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="regular"):
        add(tmp_path / "pipe")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(folder.MAX_MODEL_BYTES + 1)
    with pytest.raises(ModelError, match="more than"):
        add(tmp_path / "giant")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "../a",
        "A",
        "a.b",
        "-a",
        "a" * 65,
        "nul",
        "com1",
        "a b",
        "a\n",
        "é",
        "a\0b",
    ],
)
def test_hostile_names(name: str, model_file: Path, models_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        add(model_file, name=name)
    assert caught.value.code == "model.name"
    assert folder.find(name) is None
    assert not folder.remove(name)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=100))
def test_a_name_from_a_file_is_valid_or_refused(stem: str) -> None:
    with contextlib.suppress(ModelError):
        assert folder.valid(folder.name_from(Path(stem.replace("\0", "") + ".onnx")))


def test_names_from_files() -> None:
    assert folder.name_from(Path("x/MIMO-UNet (1).onnx")) == "mimo-unet-1"
    assert folder.name_from(Path("MIMO-UNetPlus.pkl")) == "mimo-unetplus"


def test_bundled_models_are_never_hidden(
    model_file: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(model_file, name="soon")
    fake = models.BundledModel("soon", 1, "ab", 5, "A later version ships it.")
    monkeypatch.setattr(models, "bundled", lambda: (fake,))
    assert models.find("soon") is fake
    with pytest.raises(ModelError, match="bundled"):
        add(model_file, name="soon", replace=True)
    assert main(["models", "list"]) == 0
    assert "hidden" in capsys.readouterr().out
    assert main(["models", "remove", "soon"]) == 0
    assert main(["models", "remove", "soon"]) == 3
    assert "bundled" in capsys.readouterr().err


def test_a_name_that_is_taken(model_file: Path, identity_file: Path, models_folder: Path) -> None:
    first = add(model_file, name="mine")
    add(model_file, name="mine-0123456789abcdef")
    with pytest.raises(ModelError) as caught:
        add(identity_file, name="mine")
    assert caught.value.code == "model.exists"
    assert folder.find("mine") == first
    second = add(identity_file, name="mine", replace=True)
    assert folder.find("mine") == second
    assert second.path.is_file()
    assert not first.path.exists()
    assert folder.remove("mine")
    assert mimo_rt.build("mine-0123456789abcdef")


def test_deblur_notices_that_a_name_means_another_model(
    model_file: Path, identity_file: Path, models_folder: Path, photo: NDArray[np.uint8]
) -> None:
    add(model_file, name="mine")
    assert not np.array_equal(mimo_rt.deblur(photo, "mine"), photo)
    add(identity_file, name="mine", replace=True)
    np.testing.assert_array_equal(mimo_rt.deblur(photo, "mine"), photo)


@pytest.mark.parametrize("harm", ["another model", "bytes", "nothing", "giant"])
def test_a_damaged_file_is_noticed(
    harm: str, model_file: Path, identity_file: Path, models_folder: Path
) -> None:
    path = add(model_file, name="mine").path
    if harm == "another model":
        shutil.copy(identity_file, path)
    elif harm == "bytes":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "giant":
        with path.open("r+b") as file:
            file.truncate(1 << 33)
    else:
        path.unlink()
    for use in (mimo_rt.build, mimo_rt.Deblurrer):
        with pytest.raises(ModelError, match="models remove mine") as caught:
            use("mine")
        assert caught.value.code == "model.damaged"
    assert main(["models", "show", "mine"]) == 3
    assert main(["models", "remove", "mine"]) == 0


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"[" * 60000,
        b"[]",
        b"\xff",
        b"{}",
        b'{"format": 2}',
        {"name": "other"},
        {"bytes": -1},
        {"bytes": True},
        {"bytes": 1 << 60},
        {"sha256": "../../../etc/passwd"},
        {"sha256": "A" * 64},
        {"source": 5},
        {"licence": "x" * 2000},
        {"summary": ["x"]},
        b" " * ((1 << 16) + 1),
    ],
    ids=lambda entry: repr(entry)[:24],
)
def test_a_damaged_entry(
    entry: bytes | dict[str, object],
    model_file: Path,
    models_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(model_file, name="good")
    file = add(model_file, name="bad").path
    path = models_folder / "bad.json"
    whole = json.loads(path.read_text())
    path.write_bytes(entry if isinstance(entry, bytes) else json.dumps(whole | entry).encode())
    with pytest.raises(ModelError, match="models remove bad") as caught:
        mimo_rt.build("bad")
    assert caught.value.code == "model.entry"
    assert mimo_rt.build("good")
    assert main(["models"]) == 1
    said = capsys.readouterr()
    assert "good" in said.out
    assert "models remove bad" in said.err
    assert any("models remove bad" in problem for problem in doctor.examine()["problems"])
    assert main(["models", "remove", "bad"]) == 0
    assert main(["models"]) == 0
    assert not file.exists()


def test_texts_of_entries_and_models_cannot_play_tricks(
    model_file: Path, models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(model_file, name="mine")
    path = models_folder / "mine.json"
    trick = "a\x1b[2Jb\r\nc\u202ed\ud800"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": trick, "licence": trick}))
    assert main(["models"]) == 0
    assert main(["models", "show", "mine"]) == 0
    assert main(["models", "list", "--json"]) == 0
    network = onnx.load(model_file)
    onnx.helper.set_model_props(network, {"mimo_rt.preset": "\x1b[2J", "\x1b[2J": "\x1b[2J"})
    network.graph.node[0].name = "\x1b[2J"
    onnx.save(network, tmp_path / "trick.onnx")
    assert main(["models", "add", str(tmp_path / "trick.onnx")]) == 0
    assert main(["models", "show", "trick"]) == 0
    assert main(["info", "trick", "--layers", "--size", "8x8"]) == 0
    out = capsys.readouterr().out
    assert "a [2Jb c d" in out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert plain(trick) == "a [2Jb c d"


def test_many_add_at_once(model_file: Path, identity_file: Path, models_folder: Path) -> None:
    """One of them wins where the name must be free; with `replace` the last; never a mixture."""
    files = [model_file, identity_file] * 4

    def attempt(file: Path, replace: bool) -> str:
        try:
            return add(file, name="mine", replace=replace).name
        except ModelError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        done = sorted(pool.map(lambda file: attempt(file, False), files))
        assert done == ["mine"] + ["model.exists"] * 7
        mimo_rt.build("mine")
        assert set(pool.map(lambda file: attempt(file, True), files)) == {"mine"}
    mimo_rt.build("mine")
    assert len(list(models_folder.glob("*.onnx"))) == 1
    assert sorted(p.suffix for p in models_folder.iterdir()) == ["", ".json", ".onnx"]


def test_two_processes_add_at_once(model_file: Path, models_folder: Path) -> None:
    command = [sys.executable, "-m", "mimo_rt", "models", "add", str(model_file), "--name", "mine", "-q"]
    codes = sorted(
        p.wait(60) for p in [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    )
    assert codes == [0, 3, 3]
    mimo_rt.build("mine")


def test_a_full_disk_leaves_nothing(
    model_file: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="No space left") as caught:
        add(model_file, name="mine")
    assert caught.value.code == "model.folder"
    assert [path.name for path in models_folder.iterdir()] == [".lock"]


def test_what_a_killed_program_left_is_swept(model_file: Path, models_folder: Path) -> None:
    models_folder.mkdir()
    old, new = models_folder / ".a.onnx.12.tmp", models_folder / ".b.onnx.12.tmp"
    for path in (old, new):
        path.write_bytes(b"left")
    os.utime(old, (time.time() - 1e6,) * 2)
    add(model_file)
    assert not old.exists()
    assert new.exists()
    beginning = models_folder / f"{'0' * 32}.partial"
    beginning.write_bytes(b"begun")
    os.utime(beginning, (time.time() - 1e6,) * 2)
    add(model_file, replace=True)
    assert beginning.exists()
    os.utime(beginning, (time.time() - 1e7,) * 2)
    add(model_file, replace=True)
    assert not beginning.exists()


def test_a_relative_folder(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMO_RT_MODELS", "mine")
    add(model_file, name="a")
    add(model_file, name="a", replace=True)
    found = models.find("a")
    assert found is not None
    assert found.path.read_bytes() == model_file.read_bytes()


def test_a_folder_that_cannot_be_written(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/proc/nothing", "/dev/null/x"):
        monkeypatch.setenv("MIMO_RT_MODELS", path)
        with pytest.raises(ModelError) as caught:
            add(model_file)
        assert caught.value.code == "model.folder"
        assert models.find("lively") is None
        assert folder.names() == []
        assert not folder.remove("lively")


def test_the_systems_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIMO_RT_MODELS")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", "linux")
    for data, expected in (
        ("/data", "/data"),
        ("relative", "/home/me/.local/share"),
        ("", "/home/me/.local/share"),
    ):
        monkeypatch.setenv("XDG_DATA_HOME", data)
        assert folder.location() == Path(expected) / "mimo_rt" / "models"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folder.location() == Path("/home/me/Library/Application Support/mimo_rt/models")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert folder.location() == Path("/local/mimo_rt/models")
    monkeypatch.delenv("LOCALAPPDATA")
    assert folder.location() is None
    with pytest.raises(ModelError, match="MIMO_RT_MODELS"):
        folder.needed()
    assert models.find("mine") is None
