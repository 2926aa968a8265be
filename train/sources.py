"""What a run learns from and is measured on: the images behind a recipe, ``--data`` and ``--photos``.

Nothing that is measured on is trained on. Pairs are split by whole scenes, since frames of one scene are
nearly the same picture; and only the training split of a data set is looked at, never its test split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimo_rt import pairs as pair_files
from mimo_rt.errors import ImageError
from mimo_rt.network import STRIDES
from train import holdout
from train.blur import LEAST_MARGIN
from train.data import list_images, load_pairs, smaller
from train.frames import FramePair, Frames, Pixels, hold_all, read_image
from train.recipe import Recipe

SMALLER = (1.7, 2.6)
"""Photographs are used at these sizes as well where enough of them is left: finer detail, more variety."""

SMALLEST_CROP = 32
"""Pixels that a photograph must leave between the margins to be measured on."""

WORTH_SHRINKING = 410
"""Pixels that the shorter side of a shrunken photograph must have."""


@dataclass
class Material:
    """Photographs to blur, folders of pairs; pairs and photographs that are only measured on."""

    photographs: list[Pixels] = field(default_factory=list)
    folders: list[list[FramePair]] = field(default_factory=list)
    validation: list[FramePair] = field(default_factory=list)
    holdout: list[Pixels] = field(default_factory=list)
    scenes: tuple[str, ...] = ()
    """Scenes that the validation pairs are all of; empty where scenes are not known."""
    data: Path | None = None
    """A folder that holds the GoPro subset and REDS under the names of `train.holdout`, measured on as
    well."""

    gamma: bool = False
    """Whether the pairs' blur is GOPRO_Large's ``blur_gamma``."""

    @property
    def pairs(self) -> int:
        """How many pairs are trained on."""
        return sum(len(folder) for folder in self.folders)


def split_by_scene(
    pairs: Sequence[pair_files.Pair], share: float
) -> tuple[list[pair_files.Pair], list[pair_files.Pair], tuple[str, ...]]:
    """(trained on, held out, scenes held out): whole scenes, in an order that depends on their names alone,
    until ``share`` of the pairs is reached. Where there is but one scene, the last pairs in order are held
    out."""
    if share <= 0.0 or len(pairs) < 2:
        return list(pairs), [], ()
    wanted = max(1, round(share * len(pairs)))
    scenes = sorted({p.scene for p in pairs}, key=lambda s: hashlib.sha256(s.encode()).digest())
    if len(scenes) < 2:
        cut = len(pairs) - min(wanted, len(pairs) // 2)
        return list(pairs[:cut]), list(pairs[cut:]), ()
    held: list[str] = []
    count = 0
    for scene in scenes[:-1]:
        if count >= wanted:
            break
        held.append(scene)
        count += sum(p.scene == scene for p in pairs)
    chosen = set(held)
    return (
        [p for p in pairs if p.scene not in chosen],
        [p for p in pairs if p.scene in chosen],
        tuple(sorted(held)),
    )


def gather(
    recipe: Recipe, photos: Path | None, data: Path | None, frames: Frames, *, gamma: bool = False
) -> Material:
    """All that the recipe and the options name. Raises FileNotFoundError, ValueError or mimo_rt.ImageError
    where something is missing.

    data: where the recipe has ``pairs``, the folder that they lie in; else a set of pairs of any layout (of a
    set with splits, its train split), or a folder of sharp photographs alone. photos: a folder that
    `train.photos` wrote, or one of photographs.
    """
    material = Material(gamma=gamma)
    if data is not None and recipe.pairs:
        material.data = data
        for entry in recipe.pairs:
            folder = load_pairs(data / entry["folder"], frames, entry.get("first", 0), entry.get("last"))
            material.folders.append(folder)
    elif data is not None:
        found = _pairs_below(data, gamma)
        if found is None:
            photos = photos or data
        else:
            trained, held, scenes = split_by_scene(found.pairs, recipe.validation)
            material.folders = [[FramePair(p.blur, p.sharp, frames) for p in trained]]
            material.validation = [FramePair(p.blur, p.sharp, frames) for p in held]
            material.scenes = scenes
            material.gamma = found.gamma
    for folder in material.folders:
        hold_all(folder, frames)
    if photos is not None:
        _add_photographs(material, photos, recipe.validation)
    return material


def _pairs_below(data: Path, gamma: bool) -> pair_files.PairSet | None:
    """The training pairs of a data set; None where the folder holds single images instead."""
    split = "train" if (data / "train").is_dir() else None
    try:
        return pair_files.find(data, split=split, gamma=gamma)
    except ImageError as error:
        if error.code == "pairs.none" and (_has_images(data) or _has_images(data / "train")):
            return None
        raise


def _has_images(folder: Path) -> bool:
    try:
        return bool(list_images(folder))
    except FileNotFoundError:
        return False


def _add_photographs(material: Material, photos: Path, share: float) -> None:
    if (photos / "train").is_dir():
        trained = list_images(photos / "train")
        held = list_images(photos / "holdout") if (photos / "holdout").is_dir() else []
    else:
        files = list_images(photos)
        count = min(max(1, round(share * len(files))), len(files) // 2) if share > 0.0 else 0
        trained, held = files[: len(files) - count], files[len(files) - count :]
    for path in trained:
        image = read_image(path)
        material.photographs.append(image)
        material.photographs += [
            smaller(image, f) for f in SMALLER if min(image.shape[:2]) >= WORTH_SHRINKING * f
        ]
    material.holdout = [read_image(path) for path in held]


def holdout_sets(material: Material, count: int, size: int) -> dict[str, holdout.Images]:
    """Small fixed sets to measure a network on while it trains; those whose images are absent are left out.

    count: synthetic pairs, mild and heavy each. size: of a synthetic pair, in pixels; real pairs are cut to
    twice that around their middle.
    """
    sets: dict[str, holdout.Images] = {}
    least = max((min(photo.shape[:2]) for photo in material.holdout), default=0) - 2 * LEAST_MARGIN
    if least >= SMALLEST_CROP:
        stride = max(STRIDES.values())
        blurred = min(size, least // stride * stride)
        sets.update(holdout.mild_and_heavy(material.holdout, count, count, blurred))
        if long := holdout.long_blur(material.holdout, count, blurred):
            sets["long"] = long
        sets["sharp"] = holdout.sharp(material.holdout, 2 * size)
    if material.data is not None:
        sets.update(holdout.real_sets(material.data, 2 * size, reds_each=4))
    return sets
