"""The work of an evaluation: pairs are read ahead in threads, the network runs in the caller's thread, and
results are measured and saved in threads behind it."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mimo_rt import machine
from mimo_rt.errors import BackendError, Error, ImageError, ModelError, make
from mimo_rt.evaluation import images, metrics
from mimo_rt.evaluation.ahead import ahead
from mimo_rt.evaluation.backends import Backend, largest_difference
from mimo_rt.evaluation.images import Loaded
from mimo_rt.evaluation.table import Row
from mimo_rt.image_io import write_file
from mimo_rt.padding import Float
from mimo_rt.pairs import Pair


@dataclass(frozen=True)
class Failure:
    """An image without figures."""

    name: str
    error: str
    """One sentence."""
    code: str


def run(
    pairs: Sequence[Pair],
    backend: Backend,
    other: Backend | None,
    *,
    save: Path | None,
    record: Callable[[Row], object],
    fail: Callable[[Failure], object],
) -> None:
    """Evaluates `pairs` in order: `record` or `fail` is called once for each, in that order but for failures,
    which are told as soon as they are known.

    other: a second backend that runs on the same images. save: the folder for results as PNG, or None. What
    was finished before an interruption is recorded before it goes on its way. Raises BackendError and
    ModelError; what else goes wrong with an image is a failure.
    """
    workers = _workers()
    waiting: deque[tuple[str, Future[Row]]] = deque()
    last = time.perf_counter()

    def take() -> None:
        nonlocal last
        name, future = waiting.popleft()
        try:
            row = future.result()
        except (Error, MemoryError) as error:
            fail(_failure(name, error))
            return
        now = time.perf_counter()
        record(Row(**{**vars(row), "total_seconds": now - last}))
        last = now

    loads = ahead(images.load, pairs, threads=workers, depth=workers + 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="metrics") as pool:
        try:
            for pair, future in zip(pairs, loads, strict=True):
                while len(waiting) > workers:
                    take()
                try:
                    loaded = future.result()
                    result, seconds = timed(backend, loaded.blurred)
                    beside, beside_seconds = timed(other, loaded.blurred) if other else (None, None)
                except (BackendError, ModelError):
                    raise
                except (Error, MemoryError) as error:
                    fail(_failure(pair.name, error))
                    continue
                job = _Job(loaded, result, seconds, beside, beside_seconds, save)
                waiting.append((pair.name, pool.submit(job.measure)))
        finally:
            loads.close()
            while waiting:
                take()


def timed(backend: Backend, image: Float) -> tuple[Float, float]:
    """A result clipped to [0, 1], and the seconds that the network took."""
    start = time.perf_counter()
    result = backend.run(image)
    seconds = time.perf_counter() - start
    if not np.isfinite(result).all():
        raise make(
            ImageError,
            "image.non_finite",
            f"the {backend.name} backend's result in {backend.precision} is not finite",
        )
    return np.clip(result, 0.0, 1.0, out=result), seconds


@dataclass(frozen=True)
class _Job:
    """A result to be measured and saved."""

    loaded: Loaded
    result: Float
    seconds: float
    beside: Float | None
    beside_seconds: float | None
    save: Path | None

    def measure(self) -> Row:
        start = time.perf_counter()
        loaded = self.loaded
        pair, before, after = loaded.pair, loaded.before, images.compare(self.result, loaded)
        psnr = difference = None
        if self.beside is not None:
            psnr = metrics.psnr(self.beside, loaded.sharp, 1.0)
            difference = largest_difference(self.result, self.beside)
        measured = time.perf_counter()
        if self.save is not None:
            save_png(self.save / image_name(pair), self.result)
        height, width = self.result.shape[:2]
        return Row(
            pair.name,
            pair.scene,
            pair.frame,
            width,
            height,
            psnr_before=before.psnr,
            psnr_after=after.psnr,
            ssim_before=before.ssim,
            ssim_after=after.ssim,
            psnr_before_8bit=before.psnr_8bit,
            psnr_after_8bit=after.psnr_8bit,
            ssim_before_8bit=before.ssim_8bit,
            ssim_after_8bit=after.ssim_8bit,
            against_psnr=psnr,
            against_difference=difference,
            blur_sha256=loaded.blur_sha256,
            sharp_sha256=loaded.sharp_sha256,
            model_seconds=self.seconds,
            against_seconds=self.beside_seconds,
            decode_seconds=loaded.decode_seconds,
            metrics_seconds=loaded.metrics_seconds + measured - start,
            write_seconds=time.perf_counter() - measured,
            total_seconds=0.0,
        )


def image_name(pair: Pair) -> Path:
    """Where a pair's result is saved, below the folder for images."""
    return Path(f"{pair.name}.png")


def save_png(path: Path, image: Float) -> None:
    """Writes an image in [0, 1] as 8-bit PNG, whole or not at all, over an older one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise make(
            ImageError, "image.write", f"cannot make the folder {path.parent}: {error.strerror or error}"
        ) from error
    write_file(path, encode_png(metrics.to_8bit(image)), overwrite=True)


def encode_png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """8-bit pixels as the bytes of a PNG file."""

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=4)
    return file.getvalue()


def changed(rows: Sequence[Row], pairs: Sequence[Pair]) -> str | None:
    """The name of the first image whose files are no longer those that its row was measured on; None where
    all are."""

    def is_changed(item: tuple[Row, Pair]) -> bool:
        row, pair = item
        hashes = images.file_sha256(pair.blur), images.file_sha256(pair.sharp)
        return hashes != (row.blur_sha256, row.sharp_sha256)

    by_name = {pair.name: pair for pair in pairs}
    items = [(row, by_name[row.name]) for row in rows]
    answers = ahead(is_changed, items, threads=_workers(), depth=2 * _workers())
    for (row, _), future in zip(items, answers, strict=True):
        if future.result():
            return row.name
    return None


def _workers() -> int:
    return min(4, machine.usable_cores())


def _failure(name: str, error: BaseException) -> Failure:
    text = " ".join(str(error).split()) or type(error).__name__
    return Failure(name, text, getattr(error, "code", "") or "memory")
