"""Files appear whole or not at all, and never over another one unasked."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from mimo_rt import ImageError
from mimo_rt.image_io import write_file


def test_a_new_file_has_the_mode_of_new_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_file(tmp_path / "new", b"data", overwrite=False)
    assert (tmp_path / "new").read_bytes() == b"data"
    assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "plain"]


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'長' * 83}.jpg"
    write_file(path, b"new", overwrite=False)
    assert path.read_bytes() == b"new"


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(ImageError, match="--force") as caught:
        write_file(path, b"new", overwrite=False)
    assert caught.value.code == "image.exists"
    assert path.read_bytes() == b"old"
    write_file(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_links_are_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    link.symlink_to(path)
    write_file(link, b"new", overwrite=True)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_devices_and_pipes_are_written_to_not_replaced(tmp_path: Path) -> None:
    write_file(Path(os.devnull), b"data", overwrite=True)
    write_file(Path(os.devnull), b"data", overwrite=False)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"data", overwrite=False)
    reader.join(10)
    assert received == [b"data"]


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "no" / "folder", Path("/proc/nothing/here")):
        with pytest.raises(ImageError, match="cannot write"):
            write_file(path, b"data", overwrite=True)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", b"data", overwrite=True)
    assert list(tmp_path.iterdir()) == []
