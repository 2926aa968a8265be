"""Bundling: the file is copied whole, the index agrees with it, and what must not ship is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from train.bundle import FOLDER, LARGEST, bundle  # noqa: E402


def model(path: Path, name: str, payload: int = 0) -> Path:
    proto = onnx.ModelProto(ir_version=8)
    proto.metadata_props.add(key="mimo_rt.name", value=name)
    proto.doc_string = "x" * payload
    path.write_bytes(proto.SerializeToString())
    return path


def test_index_follows_the_files(tmp_path: Path) -> None:
    for version in (2, 1, 2):
        bundle(model(tmp_path / "m.onnx", f"net@{version}"), f"version {version}", tmp_path)
    listed = json.loads((tmp_path / "index.json").read_text())
    assert [(e["name"], e["version"]) for e in listed] == [("net", 1), ("net", 2)]
    for entry in listed:
        data = (tmp_path / f"net@{entry['version']}.onnx").read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)


@pytest.mark.parametrize("name", ["", "net", "net@", "net@one"])
def test_models_without_a_version_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="NAME@VERSION"):
        bundle(model(tmp_path / "m.onnx", name), "", tmp_path)


def test_large_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bytes"):
        bundle(model(tmp_path / "m.onnx", "net@1", LARGEST), "", tmp_path)
    assert not (tmp_path / "index.json").exists()


def test_shipped_models_are_listed_hashed_and_carded() -> None:
    listed = json.loads((FOLDER / "index.json").read_text())
    files = {path.stem for path in FOLDER.glob("*.onnx")}
    assert files == {f"{e['name']}@{e['version']}" for e in listed}
    for entry in listed:
        path = FOLDER / f"{entry['name']}@{entry['version']}.onnx"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        assert path.with_suffix(".md").exists()
