"""Decoded images for training: in memory while they fit, else mapped from a folder of decoded files, else
decoded anew.

A PNG of 1280x720 takes some 30 ms to decode, and a training step wants 8 of them: without many cores the
decoder starves a GPU. A decoded file is mapped, so that a crop reads its own rows and nothing else, and all
loader processes share one copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]

IN_MEMORY = 2 * 10**9
"""Bytes of decoded pixels that are held in memory at most; a set of more is not held at all."""


def read_image(path: Path) -> Pixels:
    """An image file as RGB, uint8 (H, W, 3); raises ValueError, which names it, where it cannot be read."""
    with _named(path), Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of decoders seldom say which file they mean."""
    try:
        yield
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


class Frames:
    """Gives the pixels of image files. ``cache``: the folder of decoded files, made where it is missing."""

    def __init__(self, cache: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        self.cache = cache
        self.in_memory = in_memory
        self._held: dict[Path, Pixels] = {}
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)

    def hold(self, paths: Iterable[Path]) -> bool:
        """Decode all of these into memory, if they fit there beside what is held already."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._held]
        total = sum(pixels.nbytes for pixels in self._held.values())
        for path in wanted:
            with _named(path), Image.open(path) as image:
                total += 3 * image.width * image.height
            if total > self.in_memory:
                return False
        self._held |= {path: read_image(path) for path in wanted}
        return True

    def __getitem__(self, path: Path) -> Pixels:
        held = self._held.get(path)
        if held is not None:
            return held
        return read_image(path) if self.cache is None else self._mapped(path, self.cache)

    def size(self, path: Path) -> tuple[int, int]:
        """Height and width, without decoding."""
        held = self._held.get(path)
        if held is not None:
            return held.shape[0], held.shape[1]
        with _named(path), Image.open(path) as image:
            return image.height, image.width

    def crop(self, path: Path, y: int, x: int, side: int) -> Pixels:
        """The square of that side with its corner at (y, x)."""
        if path in self._held or self.cache is not None:
            return self[path][y : y + side, x : x + side]
        with _named(path), Image.open(path) as image:  # only the crop becomes an array: a quarter less work
            return np.asarray(image.crop((x, y, x + side, y + side)).convert("RGB"))

    def _mapped(self, path: Path, cache: Path) -> Pixels:
        about = path.stat()
        key = f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}"
        decoded = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        try:
            return np.asarray(np.load(decoded, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            pass
        pixels = read_image(path)
        temporary = decoded.with_name(f".{decoded.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with temporary.open("wb") as file:
                np.save(file, pixels, allow_pickle=False)
            temporary.replace(decoded)
        finally:
            temporary.unlink(missing_ok=True)
        return pixels


@dataclass(frozen=True)
class FramePair:
    """A blurred and a sharp image file that belong together, and where their pixels come from."""

    blur: Path
    sharp: Path
    frames: Frames

    def size(self) -> tuple[int, int]:
        """Height and width of both; raises ValueError where they differ."""
        size = self.frames.size(self.sharp)
        if self.frames.size(self.blur) != size:
            raise ValueError(f"{self.blur} and {self.sharp} differ in size")
        return size

    def load(self) -> tuple[Pixels, Pixels]:
        """Both, uint8 (H, W, 3) of one size; raises ValueError where their sizes differ."""
        self.size()
        return self.frames[self.blur], self.frames[self.sharp]


def hold_all(pairs: Sequence[FramePair], frames: Frames) -> bool:
    """Decode the pairs into memory, if all of them fit."""
    return frames.hold(path for pair in pairs for path in (pair.blur, pair.sharp))
