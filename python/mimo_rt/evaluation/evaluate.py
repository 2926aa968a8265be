"""One evaluation from pairs of files to a folder of results."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from mimo_rt import __version__, machine
from mimo_rt.errors import ImageError, MemoryLimitError, make
from mimo_rt.evaluation import completeness, summary
from mimo_rt.evaluation.backends import Backend
from mimo_rt.evaluation.crops import Crop, make_crop
from mimo_rt.evaluation.folder import ResultFolder
from mimo_rt.evaluation.report import page
from mimo_rt.evaluation.run import Failure, changed, image_name, run
from mimo_rt.evaluation.table import Row
from mimo_rt.evaluation.verdict import input_sentence, verdict
from mimo_rt.pairs import PairSet


@dataclass(frozen=True)
class Evaluation:
    """What is to be done. `pairs` are those to evaluate, `every` and `limit` say how they were chosen."""

    pairs: PairSet
    backend: Backend
    other: Backend | None = None
    """Runs on the same images, to be compared."""
    ensemble: int = 0
    scale: float | str = 1.0
    every: int = 1
    limit: int | None = None
    save_images: Path | None = None


def select(pairs: PairSet, every: int = 1, limit: int | None = None) -> PairSet:
    """Every `every`-th pair, at most `limit` of them."""
    return replace(pairs, pairs=pairs.pairs[::every][:limit])


def evaluate(
    wanted: Evaluation,
    output: Path,
    *,
    force: bool = False,
    resume: bool = False,
    progress: Callable[[float], object] = lambda _: None,
    fail: Callable[[Failure], object] = lambda _: None,
) -> dict[str, Any]:
    """Evaluates, writes images.csv, summary.json and report.html into the folder `output`, and returns what
    summary.json holds (infinity as a float, where JSON has "inf").

    force: overwrite what is there. resume: go on with what is there, if it is the same evaluation of the same
    files; begin where there is nothing. progress: called with the fraction done. fail: called for every image
    that could not be evaluated; the others are. After an interruption what was finished is on disk.

    Raises ImageError where the folder cannot be used ("evaluation.exists", "evaluation.other", ...), where
    images have changed since ("evaluation.changed"), or where not one image could be evaluated
    ("evaluation.none"; MemoryLimitError where memory was short for all); BackendError and ModelError as the
    backends do.
    """
    pairs = wanted.pairs.pairs
    if not pairs:
        raise make(ImageError, "evaluation.none", "there are no images to evaluate")
    by_name = {pair.name: pair for pair in pairs}
    folder = ResultFolder(output, _identity(wanted), list(by_name))
    if resume and folder.resume():
        if (name := changed(folder.rows, pairs)) is not None:
            raise make(
                ImageError,
                "evaluation.changed",
                f"the files of {name} have changed since they were evaluated; --force begins anew",
            )
    else:
        _check_saving(wanted, force)
        folder.begin(force=force)
    done = {row.name for row in folder.rows}
    todo = [pair for pair in pairs if pair.name not in done]
    failures: list[Failure] = []
    count = len(done)

    def told() -> None:
        nonlocal count
        count += 1
        progress(count / len(pairs))

    def record(row: Row) -> None:
        folder.add(row)
        told()

    def record_failure(failure: Failure) -> None:
        failures.append(failure)
        fail(failure)
        told()

    try:
        run(todo, wanted.backend, wanted.other, save=wanted.save_images, record=record, fail=record_failure)
    finally:
        folder.flush()
    rows = folder.rows
    if not rows:
        text = f"not one of {len(pairs)} images could be evaluated"
        if all(failure.code.startswith("memory") for failure in failures):
            raise make(MemoryLimitError, "evaluation.none", f"{text}: {failures[0].error}")
        raise make(ImageError, "evaluation.none", text)
    found = _summary(wanted, rows, failures)
    crops: list[Crop] = []
    by_row = {row.name: row for row in rows}
    for label in ("best", "median", "worst"):
        row = by_row[found["results"][label]]
        if row.name not in [crop.row.name for crop in crops]:
            crops.append(make_crop(label, row, by_name[row.name], wanted.backend))
    folder.finish(found, page(found, rows, crops))
    return found


def _identity(wanted: Evaluation) -> dict[str, Any]:
    pairs, options = wanted.pairs, _options(wanted)
    return {
        "protocol": summary.PROTOCOL["version"],
        "model": wanted.backend.model.sha256,
        "images": summary.names_sha256([pair.name for pair in pairs.pairs]),
        "backend": _runtime(wanted.backend),
        "against": _runtime(wanted.other) if wanted.other else None,
        **options,
    }


def _runtime(backend: Backend) -> str:
    """Everything of a backend that may change the bits of a result."""
    machine = [backend.facts[key] for key in ("instruction_set", "plan") if backend.facts.get(key)]
    return ", ".join([backend.name, backend.precision, backend.facts["runtime"], *machine])


def _options(wanted: Evaluation) -> dict[str, Any]:
    return {
        "split": wanted.pairs.split,
        "gamma": wanted.pairs.gamma,
        "every": wanted.every,
        "limit": wanted.limit,
        "ensemble": wanted.ensemble,
        "scale": wanted.scale,
        "save_images": str(wanted.save_images.resolve()) if wanted.save_images else None,
    }


def _check_saving(wanted: Evaluation, overwrite: bool) -> None:
    if wanted.save_images is None or overwrite:
        return
    for pair in wanted.pairs.pairs:
        path = wanted.save_images / image_name(pair)
        if path.exists():
            raise make(ImageError, "image.exists", f"{path} exists already; --force overwrites it")


def _summary(wanted: Evaluation, rows: list[Row], failures: list[Failure]) -> dict[str, Any]:
    pairs, backend, other = wanted.pairs, wanted.backend, wanted.other
    means = summary.results(rows)
    standing = completeness.standing(
        [completeness.Item(r.scene, r.frame, r.height, r.width) for r in rows], gamma=pairs.gamma
    )
    if failures:  # what was evaluated may be all there is, but not all that was asked for
        standing = replace(
            standing, sentence=f"{standing.sentence} {len(failures)} more could not be evaluated."
        )
    judged = verdict(standing, backend.model.preset, wanted.ensemble, means["psnr_after"], gamma=pairs.gamma)
    if wanted.scale != 1.0:  # another protocol than the published figures
        judged = None
    found: dict[str, Any] = {
        "finished": True,
        "standing": asdict(standing),
        "verdict": asdict(judged) if judged else None,
        "input_note": input_sentence(standing, means["psnr_before"], gamma=pairs.gamma),
        "results": means,
        "scenes": summary.scenes(rows),
        "timing": summary.timing(rows),
        "failures": [asdict(failure) for failure in failures],
        "model": asdict(backend.model),
        "backend": _backend_facts(backend),
        "data": {
            "name": pairs.root.resolve().name,
            "split": pairs.split,
            "gamma": pairs.gamma,
            "asked": len(pairs.pairs),
            "evaluated": len(rows),
            "sha256": summary.data_sha256(rows),
        },
        "options": _options(wanted),
        "protocol": summary.PROTOCOL,
        "versions": {
            "mimo_rt": __version__,
            "numpy": np.__version__,
            "Pillow": PIL.__version__,
            "python": platform.python_version(),
        },
        "machine": machine.describe(),
    }
    if other is not None:
        found["against"] = {"label": f"{other.name}, {other.precision}", **summary.against(rows)}
        found["against_backend"] = _backend_facts(other)
    return found


def _backend_facts(backend: Backend) -> dict[str, Any]:
    return {"name": backend.name, "precision": backend.precision, **backend.facts}
