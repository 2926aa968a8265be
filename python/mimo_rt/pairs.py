"""Pairs of a blurred and a sharp image on disk, in the layouts that deblurring data sets come in.

`find` reads names only, never pixels. What it knows:

- GOPRO_Large as published: ``{train,test}/SCENE/{blur,blur_gamma,sharp}/*.png``;
- the preprocessed tree: ``{train,test}/{blur,sharp}/N.png``, its scenes from ``origins.csv`` if there is one;
- any folder pair, ``blur`` beside ``sharp`` and the other usual names, also once a scene (RealBlur:
  ``SCENE/{blur,gt}``) or with scenes inside (REDS: ``train_blur/SCENE``, ``train_sharp/SCENE``);
- two folders given apart (HIDE: ``test`` and ``GT``).
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io.formats import is_image_name

FOLDERS = (
    ("blur", "sharp"),
    ("blur", "gt"),
    ("blurred", "sharp"),
    ("input", "target"),
    ("input", "gt"),
    ("train_blur", "train_sharp"),
    ("val_blur", "val_sharp"),
    ("test_blur", "test_sharp"),
)
"""Names of folders that hold pairs, the blurred half first; case does not matter."""

GAMMA_FOLDER = "blur_gamma"
"""GOPRO_Large's frames averaged in gamma space, beside ``blur``: another protocol."""

SPLITS = ("test", "train")
"""Folders of splits; the first that is there is taken where none is asked for."""

ORIGINS = "origins.csv"
"""What the preprocessed tree says of where its files came from: columns split, number, scene, frame."""

GOPRO_COUNTS = {"train": 2103, "test": 1111}
"""Pairs in GOPRO_Large."""


@dataclass(frozen=True)
class Pair:
    """One blurred image and the sharp one that belongs to it."""

    name: str
    """What it is called in tables, unique in its set: "GOPR0384_11_00/000001"."""
    scene: str
    """The shot that it belongs to; "" where that is not known."""
    frame: str
    """Its name in that shot; its own where the shot is not known."""
    blur: Path
    sharp: Path


@dataclass(frozen=True)
class PairSet:
    """The pairs below one folder, in a stable order."""

    root: Path
    split: str | None
    """ "train" or "test" where the folder has splits."""
    gamma: bool
    """Whether the blurred half is ``blur_gamma``, or was made from it as a table of origins says."""
    pairs: tuple[Pair, ...]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts "2.png" before "10.png"."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def find(
    root: str | os.PathLike[str],
    *,
    sharp: str | os.PathLike[str] | None = None,
    split: str | None = None,
    gamma: bool = False,
) -> PairSet:
    """The pairs below `root`.

    sharp: the folder of the sharp halves where it lies elsewhere (files are then matched by name, folders
    inside are not compared). split: "train" or "test"; where none is given, the one that is there, "test"
    before "train".
    gamma: take ``blur_gamma`` for the blurred half.

    Sharp images without a blurred one are passed over. Raises ImageError: "pairs.folder" where a folder is
    missing or cannot be read, "pairs.none" where nothing below it looks like pairs, "pairs.unmatched" where
    a blurred image has no sharp one or a name is there twice, "pairs.origins" for a damaged table.
    """
    try:
        return _find(Path(root), sharp, split, gamma)
    except OSError as error:
        reason = error.strerror or error
        raise make(ImageError, "pairs.folder", f"cannot read {error.filename or root}: {reason}") from error


def _find(top: Path, sharp: str | os.PathLike[str] | None, split: str | None, gamma: bool) -> PairSet:
    for folder in (top, *([Path(sharp)] if sharp is not None else [])):
        if not folder.is_dir():
            raise make(ImageError, "pairs.folder", f"{folder} is not a folder")
    if sharp is not None:
        matched = _matched(top, Path(sharp), "", flat=True)
        if not matched:
            raise make(ImageError, "pairs.none", f"there are no images in {top}")
        return PairSet(top, split, gamma, _sorted(matched))
    if split is None:
        split = next((name for name in SPLITS if (top / name).is_dir()), None)
    base = top / split if split is not None and (top / split).is_dir() else top
    if split is not None and base == top and top.resolve().name != split:
        raise make(ImageError, "pairs.folder", f"{top} has no folder {split}")
    found = _below(base, gamma)
    if not found:
        blurred = GAMMA_FOLDER if gamma else "blur"
        raise make(
            ImageError,
            "pairs.none",
            f"no pairs of images below {base}: two folders such as {blurred} and sharp are looked for, there "
            "and one level down; two folders with other names can be given apart",
        )
    found, from_gamma = _with_scenes(top, base.resolve().name, found)
    return PairSet(top, split, gamma or from_gamma, _sorted(found))


def _below(base: Path, gamma: bool) -> list[Pair]:
    here = _halves(base, gamma)
    if here is not None:
        return _matched(*here, "", flat=False)
    found: list[Pair] = []
    for scene in sorted(base.iterdir()):
        halves = _halves(scene, gamma) if scene.is_dir() else None
        if halves is not None:
            found += _matched(*halves, scene.name, flat=False)
    return found


def _halves(folder: Path, gamma: bool) -> tuple[Path, Path] | None:
    names = {child.name.lower(): child for child in folder.iterdir() if child.is_dir()}
    for blurred, sharp in FOLDERS:
        if gamma:
            blurred = GAMMA_FOLDER
        if blurred in names and sharp in names:
            return names[blurred], names[sharp]
    return None


def _stem(path: Path) -> str:
    """The name that both halves share: RealBlur calls them blur_1.png and gt_1.png."""
    return re.sub(r"^(blur|gt|sharp)_", "", path.stem)


def _images(folder: Path) -> list[Path]:
    return [
        Path(at) / name
        for at, _, names in os.walk(folder)
        for name in names
        if is_image_name(name) and not name.startswith(".")
    ]


def _matched(blurred: Path, sharp: Path, scene: str, *, flat: bool) -> list[Pair]:
    def key(path: Path, top: Path) -> str:
        inside = path.parent.relative_to(top).as_posix()
        return _stem(path) if flat or inside == "." else f"{inside}/{_stem(path)}"

    targets: dict[str, Path] = {}
    for path in _images(sharp):
        other = targets.setdefault(key(path, sharp), path)
        if other != path:
            raise make(
                ImageError, "pairs.unmatched", f"{other} and {path} are both the sharp half of one name"
            )
    pairs = []
    for path in _images(blurred):
        name = key(path, blurred)
        if name not in targets:
            raise make(ImageError, "pairs.unmatched", f"{path} has no sharp image {name} in {sharp}")
        inside, _, frame = name.rpartition("/")
        full = f"{scene}/{name}" if scene else name
        pairs.append(Pair(full, scene or inside, frame, path, targets[name]))
    return pairs


def _with_scenes(top: Path, split: str, pairs: list[Pair]) -> tuple[list[Pair], bool]:
    """Scenes and frames of a preprocessed tree, as its table of origins has them, and whether it was made
    from ``blur_gamma``."""
    table = next((p for p in (top / ORIGINS, top.resolve().parent / ORIGINS) if p.is_file()), None)
    if table is None or any(pair.scene for pair in pairs):
        return pairs, False
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = {(row["split"], row["number"]): row for row in csv.DictReader(file)}
        origins = {key: (row["scene"] or "", Path(row["frame"] or "").stem) for key, row in rows.items()}
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        raise make(ImageError, "pairs.origins", f"{table} is no table of origins ({error})") from error
    gamma = any(
        f"/{GAMMA_FOLDER}/" in (row.get("blur") or "") for key, row in rows.items() if key[0] == split
    )
    return [
        Pair(p.name, *origins.get((split, p.name), ("", p.frame)), blur=p.blur, sharp=p.sharp) for p in pairs
    ], gamma


def _sorted(pairs: list[Pair]) -> tuple[Pair, ...]:
    names = sorted(pairs, key=lambda pair: (natural_key(pair.name), pair.name))
    for first, second in itertools.pairwise(names):
        if first.name == second.name:
            raise make(
                ImageError, "pairs.unmatched", f"{first.blur} and {second.blur} have one name, {first.name}"
            )
    return tuple(names)
