"""Pairs are found in every layout that data sets come in, and nothing is paired by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mimo_rt
from mimo_rt import pairs


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def names(found: pairs.PairSet) -> list[str]:
    return [pair.name for pair in found.pairs]


def code(root: Path, **options: object) -> str:
    with pytest.raises(mimo_rt.ImageError) as caught:
        pairs.find(root, **options)  # type: ignore[arg-type]
    return caught.value.code


def gopro(root: Path, split: str = "test") -> Path:
    for scene, frame in (
        ("GOPR0384_11_00", "000001"),
        ("GOPR0384_11_00", "000002"),
        ("GOPR0999_11_00", "000001"),
    ):
        for half in ("blur", "blur_gamma", "sharp"):
            touch(root, f"{split}/{scene}/{half}/{frame}.png")
    return root


def test_gopro_as_published(tmp_path: Path) -> None:
    gopro(gopro(tmp_path), "train")
    found = pairs.find(tmp_path)
    assert names(found) == ["GOPR0384_11_00/000001", "GOPR0384_11_00/000002", "GOPR0999_11_00/000001"]
    assert (found.split, found.gamma) == ("test", False)
    first = found.pairs[0]
    assert (first.scene, first.frame) == ("GOPR0384_11_00", "000001")
    assert first.blur == tmp_path / "test" / "GOPR0384_11_00" / "blur" / "000001.png"
    assert first.sharp == tmp_path / "test" / "GOPR0384_11_00" / "sharp" / "000001.png"
    assert pairs.find(tmp_path, split="train").pairs[0].blur.parts[-4] == "train"
    gamma = pairs.find(tmp_path, gamma=True)
    assert gamma.gamma
    assert gamma.pairs[0].blur.parent.name == "blur_gamma"
    assert names(gamma) == names(found)
    assert names(pairs.find(tmp_path / "test")) == names(found)


@pytest.mark.parametrize("split", ["test", "train"])
def test_one_split_alone_is_taken(tmp_path: Path, split: str) -> None:
    found = pairs.find(gopro(tmp_path, split))
    assert found.split == split
    assert len(found.pairs) == 3


def preprocessed(root: Path, half: str) -> Path:
    touch(root, *(f"test/{h}/{n}.png" for h in ("blur", "sharp") for n in (1, 2, 10)))
    lines = ["split,number,scene,frame,blur", f"train,1,X,000009,train/X/{half}/000009.png"]
    lines += [f"test,{n},A,00000{n % 9},test/A/{half}/x.png" for n in (1, 2)]
    (root / "origins.csv").write_text("\n".join([*lines, ""]))
    return root


def test_preprocessed_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pairs.find(preprocessed(tmp_path, "blur"))
    assert names(found) == ["1", "2", "10"]  # as numbers
    assert [(p.scene, p.frame) for p in found.pairs] == [("A", "000001"), ("A", "000002"), ("", "10")]
    assert (found.split, found.gamma) == ("test", False)
    monkeypatch.chdir(tmp_path / "test")
    assert [p.scene for p in pairs.find(".").pairs] == ["A", "A", ""]
    assert len(pairs.find(".", split="test").pairs) == 3


def test_a_tree_made_from_gamma_frames_says_so(tmp_path: Path) -> None:
    assert pairs.find(preprocessed(tmp_path, "blur_gamma")).gamma


def test_a_damaged_table_of_origins(tmp_path: Path) -> None:
    preprocessed(tmp_path, "blur")
    for data in (b"one,two\n1,2\n", b"split,number,scene,frame\n\xff\xfe\n"):
        (tmp_path / "origins.csv").write_bytes(data)
        assert code(tmp_path) == "pairs.origins"


def test_other_layouts(tmp_path: Path) -> None:
    plain = touch(tmp_path / "plain", "Blur/a.png", "Blur/b.jpg", "Sharp/a.png", "Sharp/b.png", "Sharp/c.png")
    assert [(p.name, p.scene, p.frame) for p in pairs.find(plain).pairs] == [("a", "", "a"), ("b", "", "b")]
    reds = touch(tmp_path / "reds", "train_blur/000/00000000.png", "train_sharp/000/00000000.png")
    assert [(p.name, p.scene, p.frame) for p in pairs.find(reds).pairs] == [
        ("000/00000000", "000", "00000000")
    ]
    real = touch(
        tmp_path / "real", "s1/blur/blur_1.png", "s1/gt/gt_1.png", "s1/blur/blur_2.png", "s1/gt/gt_2.png"
    )
    assert names(pairs.find(real)) == ["s1/1", "s1/2"]
    hide = touch(tmp_path / "hide", "test/x/1.png", "test/2.png", "GT/1.png", "GT/2.png")
    apart = pairs.find(hide / "test", sharp=hide / "GT")
    assert names(apart) == ["1", "2"]
    assert apart.pairs[0].blur == hide / "test" / "x" / "1.png"


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "blur/a.png", "sharp/a.png", "blur/.b.png", "blur/Thumbs.db", "blur/notes.txt")
    assert names(pairs.find(tmp_path)) == ["a"]


def test_errors(tmp_path: Path) -> None:
    assert code(tmp_path / "gone") == "pairs.folder"
    assert code(tmp_path) == "pairs.none"
    touch(tmp_path, "one/blur/a.png", "one/sharp/b.png")
    assert code(tmp_path / "one") == "pairs.unmatched"
    touch(tmp_path, "two/blur/a.png", "two/sharp/a.png", "two/sharp/a.jpg")
    assert code(tmp_path / "two") == "pairs.unmatched"
    touch(tmp_path, "three/blur/a.png", "three/blur/a.jpg", "three/sharp/a.png")
    assert code(tmp_path / "three") == "pairs.unmatched"
    touch(tmp_path, "four/blur/a.png", "four/sharp/a.png")
    assert code(tmp_path / "four", split="test") == "pairs.folder"
    assert code(tmp_path / "four", gamma=True) == "pairs.none"
    (tmp_path / "empty").mkdir()
    assert code(tmp_path / "empty", sharp=tmp_path / "four" / "sharp") == "pairs.none"
    assert code(tmp_path / "four" / "blur", sharp=tmp_path / "gone") == "pairs.folder"
    assert code(touch(tmp_path, "file") / "file") == "pairs.folder"


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "blur/a.png", "sharp/a.png")

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", os.fspath(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert code(tmp_path) == "pairs.folder"


def test_natural_order() -> None:
    assert sorted(["10", "9", "a2", "a10", "1b", "b"], key=pairs.natural_key) == [
        "1b", "9", "10", "a2", "a10", "b",
    ]  # fmt: skip
