"""Training samples: crops of photographs that are blurred, of real pairs, and of photographs as they are.

A sample is a function of the recipe's seed, the step and its place in the joint batch of all processes, and
of nothing else. So a run that goes on draws what an uninterrupted one would have drawn, the number of loader
processes changes nothing, and two training processes see together what one would see alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mimo_rt import pairs as pair_files
from mimo_rt.image_io.formats import format_of
from train.blur import synthesize
from train.frames import FramePair, Frames, Pixels
from train.recipe import Recipe
from train.untouched import untouched

KEEP_FLAT = 0.15
"""Share of the crops with too little detail that are taken all the same."""


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder by name; raises FileNotFoundError where there is none."""
    files = sorted(p for p in folder.iterdir() if format_of(p.name)) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"no images in {folder}")
    return files


def load_pairs(folder: Path, frames: Frames, first: int = 0, last: int | None = None) -> list[FramePair]:
    """A slice, in the order of `mimo_rt.pairs.find`, of the pairs below a folder."""
    return [FramePair(p.blur, p.sharp, frames) for p in pair_files.find(folder).pairs[first:last]]


def smaller(image: Pixels, factor: float) -> Pixels:
    """``image`` shrunk by ``factor`` with an antialiasing filter."""
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def to_tensor(image: Pixels) -> Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255.0


def turn(image: NDArray[np.generic] | Pixels, kind: int) -> Pixels:
    """One of the 8 turns and flips of (H, W, C), by ``kind`` 0..7; 0 leaves it, 4 mirrors it left to
    right."""
    turned = np.rot90(image, kind % 4)
    return np.asarray(turned[:, ::-1] if kind >= 4 else turned)


def detail(image: Pixels) -> float:
    """Mean absolute difference of neighbours in 8-bit steps: low on sky and out-of-focus ground."""
    grey = image[..., 1].astype(np.int16)
    return float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2.0)


def most_detailed(
    image: Pixels, height: int, width: int, rng: np.random.Generator, draws: int = 8
) -> tuple[int, int]:
    """Top and left of the part of ``height`` x ``width`` with most detail, of a few drawn at random."""
    places = [
        (int(rng.integers(image.shape[0] - height + 1)), int(rng.integers(image.shape[1] - width + 1)))
        for _ in range(draws)
    ]
    return max(places, key=lambda at: detail(image[at[0] : at[0] + height, at[1] : at[1] + width]))


@dataclass(frozen=True)
class Key:
    """Names a sample: the step, its place in the joint batch, and the share of the run that is over."""

    step: int
    slot: int
    progress: float


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Gives (input, target), float32 (3, crop, crop), for a `Key`.

    photographs: uint8 images of any size; too small ones are left out. folders: real pairs; a random sample
    comes from each folder equally often, a pass by epochs takes each pair once.
    """

    def __init__(
        self,
        recipe: Recipe,
        photographs: Sequence[Pixels],
        folders: Sequence[Sequence[FramePair]],
        joint: int,
    ) -> None:
        self.recipe = recipe
        self.joint = joint
        least = recipe.crop + 2 * recipe.margin
        self.photographs = [p for p in photographs if min(p.shape[:2]) >= least]
        self.folders = [list(folder) for folder in folders if folder]
        self._all = [pair for folder in self.folders for pair in folder]
        if recipe.by_epochs and not self._all:
            raise ValueError("a recipe of epochs needs pairs to pass over")
        if not self._all and not self.photographs:
            given = f"none of {len(photographs)} photographs is" if photographs else "no photograph is"
            raise ValueError(
                f"nothing to train on: no pairs, and {given} at least {least} pixels high and wide"
            )
        areas = np.array([p.shape[0] * p.shape[1] for p in self.photographs], dtype=np.float64)
        self._odds = np.sqrt(areas) / np.sqrt(areas).sum() if self.photographs else areas
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps that a pass over all pairs takes; the last one may be short."""
        return -(-len(self._all) // self.joint)

    def size(self, step: int) -> int:
        """Samples in the joint batch of a step."""
        if not self.recipe.by_epochs:
            return self.joint
        return min(self.joint, len(self._all) - step % self.steps_per_epoch * self.joint)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.recipe.seed, key.step, key.slot))
        if self.recipe.by_epochs:
            epoch, place = divmod(key.step, self.steps_per_epoch)
            return self._crop_pair(rng, [self._all[self._shuffled(epoch)[place * self.joint + key.slot]]])
        shake, real, identity = self.recipe.at(key.progress)
        draw = rng.random()
        if self.folders and (draw < real or not self.photographs):
            return self._crop_pair(rng, self.folders[int(rng.integers(len(self.folders)))])
        if draw >= 1.0 - identity:
            same = untouched(to_tensor(self._crop_photo(rng, self.recipe.crop)), rng)
            return same, same
        outer = self.recipe.crop + 2 * shake.margin
        other = to_tensor(self._crop_photo(rng, outer)) if rng.random() < shake.layer else None
        photo = to_tensor(self._crop_photo(rng, outer))
        order = rng.permutation(3)
        blurred, sharp = synthesize(photo, rng, shake, other)
        return blurred[order], sharp[order]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self._all))
        return self._order[1]

    def _turn(self, rng: np.random.Generator) -> int:
        return int(rng.integers(8)) if self.recipe.flips == "all" else 4 * int(rng.integers(2))

    def _wanted(self, rng: np.random.Generator, crop: Pixels) -> bool:
        return not self.recipe.flat or detail(crop) >= self.recipe.flat or rng.random() < KEEP_FLAT

    def _crop_photo(self, rng: np.random.Generator, size: int) -> Pixels:
        """A square crop of a random photograph, turned at random, seldom a flat one."""
        while True:
            photo = self.photographs[int(rng.choice(len(self.photographs), p=self._odds))]
            y, x = _corner(rng, photo.shape[0], photo.shape[1], size)
            crop = photo[y : y + size, x : x + size]
            if self._wanted(rng, crop):
                return turn(crop, self._turn(rng))

    def _crop_pair(self, rng: np.random.Generator, pairs: Sequence[FramePair]) -> tuple[Tensor, Tensor]:
        """The same square crop of both halves of a random pair, turned at random."""
        size = self.recipe.crop
        while True:
            pair = pairs[int(rng.integers(len(pairs)))]
            height, width = pair.size()
            if min(height, width) < size:
                raise ValueError(
                    f"{pair.sharp} is smaller than the crop of {size} pixels that the recipe asks for"
                )
            y, x = _corner(rng, height, width, size)
            sharp = pair.frames.crop(pair.sharp, y, x, size)
            if self._wanted(rng, sharp):
                blurred = pair.frames.crop(pair.blur, y, x, size)
                kind = self._turn(rng)
                return to_tensor(turn(blurred, kind)), to_tensor(turn(sharp, kind))


def _corner(rng: np.random.Generator, height: int, width: int, size: int) -> tuple[int, int]:
    return int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))


@dataclass(frozen=True)
class Batch:
    """One process's part of a joint batch. ``weight``: what its mean loss counts for, so that the mean over
    all processes is the mean over the joint batch; 1 where all have equally many samples."""

    given: Tensor
    wanted: Tensor
    weight: float


class _Steps(Sampler[list[Key]]):
    def __init__(
        self, samples: Samples, first: int, rank: int, world: int, progress: Callable[[int], float]
    ) -> None:
        self.samples, self.first, self.rank, self.world, self.progress = samples, first, rank, world, progress

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first
        while True:
            begin, end = part(self.samples.size(step), self.rank, self.world)
            slots = range(begin, end) if end > begin else range(1)
            progress = self.progress(step)
            yield [Key(step, slot, progress) for slot in slots]
            step += 1


def part(size: int, rank: int, world: int) -> tuple[int, int]:
    """The slots, from and up to, of a joint batch that belong to a process."""
    return rank * size // world, (rank + 1) * size // world


def batches(
    samples: Samples,
    first: int,
    progress: Callable[[int], float],
    *,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pinned: bool = False,
) -> Iterator[Batch]:
    """Batches without end, from step ``first`` on. progress: the share of the run that is over at a step.
    workers: processes that prepare samples ahead; 0 prepares them when they are asked for."""
    loader = DataLoader(
        samples,
        batch_sampler=_Steps(samples, first, rank, world, progress),
        num_workers=workers,
        pin_memory=pinned,
        collate_fn=_stacked,
    )
    for step, (given, wanted) in enumerate(loader, first):
        size = samples.size(step)
        begin, end = part(size, rank, world)
        yield Batch(given, wanted, (end - begin) * world / size)


def _stacked(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([s[0] for s in samples]), torch.stack([s[1] for s in samples])
