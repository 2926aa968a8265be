"""GOPRO_Large becomes the tree that training reads: whole, in order, checked, and nothing else is touched."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gopro_tree import make_gopro_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimo_rt import pairs
from mimo_rt.errors import Error
from train import png_header, preprocess
from train.preprocess import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_gopro_tree(tmp_path / "GOPRO_Large")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "GOPRO_preprocessed"


def run(source: Path, target: Path, *options: str) -> int:
    return main(["--root_src", str(source), "--root_dst", str(target), "--partial", *options])


def content(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """What an untouched folder looks like: times and bytes of every file."""
    return {
        p.relative_to(root).as_posix(): (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes())
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def table(target: Path) -> list[dict[str, str]]:
    with (target / "origins.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tree_of_the_page(source: Path, target: Path) -> None:
    before = content(source)
    assert run(source, target) == 0
    assert content(source) == before
    files = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    halves = [("train", "blur", 9), ("train", "sharp", 9), ("test", "blur", 6), ("test", "sharp", 6)]
    wanted = {f"{split}/{half}/{n + 1}.png" for split, half, count in halves for n in range(count)}
    assert files == wanted | {"origins.csv"}
    rows = table(target)
    assert [row["number"] for row in rows if row["split"] == "train"] == [str(n) for n in range(1, 10)]
    assert [(r["scene"], r["frame"]) for r in rows[:4]] == [
        ("GOPR0372_07_00", "000001"),
        ("GOPR0372_07_00", "000002"),
        ("GOPR0372_07_00", "000003"),
        ("GOPR0374_11_00", "000001"),
    ]
    for row in rows:
        for half in ("blur", "sharp"):
            made = target / row["split"] / half / f"{row['number']}.png"
            assert made.read_bytes() == (source / row[half]).read_bytes()
            assert row[half] == f"{row['split']}/{row['scene']}/{half}/{row['frame']}.png"
            assert int(row[f"{half}_bytes"]) == made.stat().st_size
        assert (row["width"], row["height"]) == ("64", "48")


def test_finding_pairs_in_it_gives_the_scenes_back(source: Path, target: Path) -> None:
    run(source, target)
    found = pairs.find(target, split="train").pairs
    assert [(p.name, p.scene) for p in found[:4]] == [
        ("1", "GOPR0372_07_00"),
        ("2", "GOPR0372_07_00"),
        ("3", "GOPR0372_07_00"),
        ("4", "GOPR0374_11_00"),
    ]


def test_gamma_takes_the_other_blur(source: Path, target: Path) -> None:
    assert run(source, target, "--gamma") == 0
    first = source / "train" / "GOPR0372_07_00"
    assert (target / "train/blur/1.png").read_bytes() == (first / "blur_gamma/000001.png").read_bytes()
    assert (target / "train/sharp/1.png").read_bytes() == (first / "sharp/000001.png").read_bytes()
    assert table(target)[0]["blur"] == "train/GOPR0372_07_00/blur_gamma/000001.png"


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, target: Path) -> None:
    source = make_gopro_tree(tmp_path / "large", {"train": ["GOPR0374_11_03", "GOPR0374_11_00"]}, frames=11)
    for kind in ("blur", "blur_gamma", "sharp"):
        for path in (source / "train/GOPR0374_11_00" / kind).iterdir():
            path.rename(path.with_name(f"{int(path.stem)}.png"))
    assert run(source, target) == 0
    assert [(r["scene"], int(r["frame"])) for r in table(target)] == [
        (scene, frame) for scene in ("GOPR0374_11_00", "GOPR0374_11_03") for frame in range(1, 12)
    ]


def test_files_are_links_unless_copies_are_asked_for(source: Path, target: Path, tmp_path: Path) -> None:
    original = source / "test/GOPR0396_11_00/sharp/000003.png"
    run(source, target)
    assert (target / "test/sharp/6.png").samefile(original)
    assert run(source, tmp_path / "copies", "--copy") == 0
    copy = tmp_path / "copies/test/sharp/6.png"
    assert not copy.samefile(original)
    assert copy.read_bytes() == original.read_bytes()
    assert run(source, target, "--copy") == 0  # links become copies of their own
    assert not (target / "test/sharp/6.png").samefile(original)


def test_without_hard_links_files_are_copied(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert run(source, target, "--link") == 1
    assert "--copy" in capsys.readouterr().err
    assert run(source, target) == 0
    assert "30 copied" in capsys.readouterr().err
    assert (target / "train/blur/1.png").read_bytes() == (
        source / "train/GOPR0372_07_00/blur/000001.png"
    ).read_bytes()
    assert not list(target.rglob("*.partial"))


def test_a_file_with_too_many_links_is_copied(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.link

    def full(old: Path, new: Path) -> None:
        if "GOPR0374" in str(old):
            raise OSError(errno.EMLINK, "Too many links")
        real(old, new)

    monkeypatch.setattr(os, "link", full)
    assert run(source, target) == 0
    assert "24 files linked, 6 copied" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, placed = preprocess.place, []

    def interrupted(old: Path, new: Path, *, link: bool) -> None:
        if len(placed) == 11:
            raise KeyboardInterrupt
        placed.append(new)
        real(old, new, link=link)

    monkeypatch.setattr(preprocess, "place", interrupted)
    assert run(source, target, "--jobs", "1", "--copy") == 130
    assert "goes on" in capsys.readouterr().err
    assert not (target / "origins.csv").exists()
    half_done = content(target)
    assert len(half_done) == 11
    monkeypatch.setattr(preprocess, "place", real)
    assert run(source, target, "--copy") == 0
    assert "0 files linked, 19 copied, 11 there already" in capsys.readouterr().err
    after = content(target)
    assert half_done.items() <= after.items()
    assert run(source, target, "--copy") == 0
    assert "0 copied, 30 there already" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_whole_files_only(tmp_path: Path) -> None:
    source = make_gopro_tree(tmp_path / "large", frames=40)
    target = tmp_path / "made"
    slow = (
        "import sys, time; from train import preprocess as p; real = p.place\n"
        "def place(*a, **k): time.sleep(0.02); real(*a, **k)\n"
        "p.place = place; sys.exit(p.main(sys.argv[1:]))"
    )
    options = ["--root_src", str(source), "--root_dst", str(target), "--partial", "--copy", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 30
    while not list(target.glob("train/blur/[0-9]*.png")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "goes on" in said
    assert "Traceback" not in said
    made = [p for p in target.rglob("*") if p.is_file()]
    assert 0 < len(made) < 400
    for path in made:
        assert path.suffix == ".png"
        png_header.read(path, checksums=True)


@pytest.mark.parametrize("options", [[], ["--gamma"]])
def test_another_number_of_pairs_is_told_of(
    source: Path, target: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root_src", str(source), "--root_dst", str(target), *options]) == 1
    said = capsys.readouterr().err
    assert "9 pairs" in said
    assert "2103" in said
    assert "--partial" in said
    assert not target.exists()
    assert run(source, target, *options) == 0
    assert "warning: test has 6 pairs, GOPRO_Large has 1111" in capsys.readouterr().err


def test_the_whole_number_needs_no_option(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pairs, "GOPRO_COUNTS", {"train": 9, "test": 6})
    assert main(["--root-src", str(source), "--root-dst", str(target)]) == 0  # kebab-case too
    assert "warning" not in capsys.readouterr().err


def test_one_split_alone(source: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(source / "train")
    assert main(["--root_src", str(source), "--root_dst", str(target)]) == 1
    assert "0 pairs" in capsys.readouterr().err
    assert run(source, target) == 0
    assert sorted(p.name for p in target.iterdir()) == ["origins.csv", "test"]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case "text":
            data[:] = b"404 not found"
        case "header":
            data[17] ^= 1
        case "flipped":
            data[len(data) // 2] ^= 4
        case "no end":
            del data[-12:]
        case "size":
            from PIL import Image

            Image.new("RGB", (32, 48)).save(path)
            return
        case "grey":
            from PIL import Image

            Image.new("L", (64, 48)).save(path)
            return
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty", "text", "header", "no end", "size", "grey"])
def test_bad_files_are_named_and_nothing_is_written(
    source: Path, target: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(source / "train/GOPR0374_11_00/sharp/000002.png", how)
    damage(source / "test/GOPR0384_11_00/blur/000001.png", how)
    assert run(source, target) == 1
    said = capsys.readouterr().err
    assert "2 pairs are not fit" in said
    assert "GOPR0374_11_00/sharp/000002.png" in said
    assert "GOPR0384_11_00/blur/000001.png" in said
    assert not target.exists()


def test_checksums_find_a_flipped_bit(source: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(source / "train/GOPR0374_11_00/sharp/000002.png", "flipped")
    assert run(source, target, "--checksums") == 1
    assert "checksum" in capsys.readouterr().err
    assert not target.exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_a_file_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    """A file is read as whole and right only if it is the one that was written, by --checksums."""
    whole = tmp_path / "large/train/GOPR0372_07_00/sharp/000001.png"
    if not whole.exists():
        make_gopro_tree(tmp_path / "large", {"train": ["GOPR0372_07_00"]}, frames=1)
    pixels = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        pixels[data.draw(st.integers(0, len(pixels) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del pixels[data.draw(st.integers(0, len(pixels) - 1)) :]
    changed = tmp_path / "changed.png"
    changed.write_bytes(pixels)
    with pytest.raises(Error):
        png_header.read(changed, checksums=True)


def test_a_missing_half_is_told_of(source: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "train/GOPR0374_11_00/sharp/000002.png").unlink()
    assert run(source, target) == 1
    assert "000002" in capsys.readouterr().err
    assert not target.exists()


def test_a_folder_inside_the_other_is_refused(source: Path, tmp_path: Path) -> None:
    before = content(source)
    link = tmp_path / "link"
    link.symlink_to(source)
    for old, new in (
        (source, source),
        (source, source / "made"),
        (source, tmp_path),
        (source, link / "a" / "b"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(old, new)
        assert stopped.value.code == 2
    assert content(source) == before
    assert {p.name for p in tmp_path.iterdir()} == {"GOPRO_Large", "link"}


def test_a_folder_above_is_pointed_out(
    source: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "train").rename(source.parent / "kept")
    shutil.rmtree(source / "test")
    inner = make_gopro_tree(source / "GOPRO_Large")
    assert run(source, target) == 1
    assert str(inner) in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["nowhere", "file"])
def test_no_such_source(
    tmp_path: Path, target: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / missing, target) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_files_of_others_stay(source: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = target / "train/blur/holiday.png"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"mine")
    assert run(source, target) == 1
    assert "holiday.png" in capsys.readouterr().err
    assert content(target).keys() == {"train/blur/holiday.png"}
    stranger.rename(stranger.with_name("3.png"))
    assert run(source, target) == 1
    assert "--force" in capsys.readouterr().err
    assert content(target)["train/blur/3.png"][2] == b"mine"
    assert run(source, target, "--force") == 0
    assert (target / "train/blur/3.png").stat().st_size > 4


def test_the_other_blur_does_not_slip_in(
    source: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, target) == 0
    before = content(target)
    assert run(source, target, "--gamma") == 1
    assert "15 files that differ" in capsys.readouterr().err
    assert content(target) == before
    assert run(source, target, "--gamma", "--force") == 0
    first = source / "train" / "GOPR0372_07_00"
    assert (target / "train/blur/1.png").samefile(first / "blur_gamma/000001.png")
    assert (first / "blur/000001.png").read_bytes() == before["train/blur/1.png"][
        2
    ]  # the link went, not the file


def test_a_folder_that_leads_elsewhere_is_refused(
    source: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (target / "train").mkdir(parents=True)
    (target / "train/blur").symlink_to(tmp_path / "elsewhere")
    assert run(source, target) == 1
    assert "leads out" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_full_disk_is_noticed_before_copying(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(source)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert run(source, target, "--copy") == 1
    assert "1000 bytes free" in capsys.readouterr().err
    assert not [p for p in target.rglob("*") if p.is_file()]
    assert run(source, target) == 0  # links take no space


def test_a_failing_disk_is_one_sentence(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert run(source, target, "--copy") == 1
    assert "No space left" in capsys.readouterr().err
    assert not [p for p in target.rglob("*") if p.is_file()]


@pytest.mark.parametrize("bad", [["--jobs", "0"], ["--jobs", "many"], ["--copy", "--link"]])
def test_usage(source: Path, target: Path, bad: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(source, target, *bad)
    assert stopped.value.code == 2
    assert not target.exists()
