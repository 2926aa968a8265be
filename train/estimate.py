"""What a training will take here, before it is begun: time, disk and memory, from a few steps that are
measured."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from mimo_rt import pairs as pair_files
from mimo_rt.sizes import format_bytes
from train.model import MIMOUNet, parameter_count
from train.recipe import Recipe
from train.report import span

SPLITS = ("train", "test")
CHECKPOINTS = 9
"""Times the weights that checkpoints take: final and best, last with Adam's two moments, and one being
written."""
SAMPLE = 4
"""Pairs that are decoded to see how long that takes."""
FRAME = (720, 1280)
"""Height and width of GOPRO_Large's frames, taken where there is no data to look at."""


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set. Pairs by split; bytes of all files; ms to decode a pair, if it was
    there."""

    pairs: dict[str, int]
    bytes: int
    frame: tuple[int, int]
    decode_ms: float | None
    assumed: bool
    """Whether nothing was there, and GOPRO_Large's counts are given instead."""


def look(data: Path, *, gamma: bool) -> DataFacts:
    """The facts of a data set; GOPRO_Large's own where ``data`` has none of its splits."""
    from train.frames import read_image

    found: dict[str, tuple[pair_files.Pair, ...]] = {}
    for split in SPLITS:
        if (data / split).is_dir():
            found[split] = pair_files.find(data, split=split, gamma=gamma).pairs
    if not found:
        return DataFacts(dict(pair_files.GOPRO_COUNTS), 0, FRAME, None, True)
    pairs = [pair for split in found.values() for pair in split]
    size = sum(path.stat().st_size for pair in pairs for path in (pair.blur, pair.sharp))
    begin = time.perf_counter()
    frames = [read_image(path) for pair in pairs[:SAMPLE] for path in (pair.blur, pair.sharp)]
    decode = 1000.0 * (time.perf_counter() - begin) / min(SAMPLE, len(pairs))
    frame = frames[0].shape[0], frames[0].shape[1]
    return DataFacts({split: len(found.get(split, ())) for split in SPLITS}, size, frame, decode, False)


def image_seconds(net: MIMOUNet, frame: tuple[int, int]) -> float:
    """Seconds that mimo_rt takes for one image of (height, width) with this network, exported for the
    purpose."""
    import numpy as np

    import mimo_rt
    from train.export import to_onnx

    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(to_onnx(net.eval()).SerializeToString(), cache=False))
    image = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    begin = time.perf_counter()
    deblurrer.run(image)
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Estimate:
    """Sentences by step of `train.reproduce`."""

    lines: dict[str, list[str]]


def estimate(
    recipe: Recipe, data: Path, out: Path, *, gamma: bool, processes: int, prepared: bool
) -> Estimate:
    """Measures here what the steps take. prepared: the data needs no preprocessing."""
    from train.step_cost import measure

    if recipe.epochs is None:
        raise ValueError(f"the recipe {recipe.name} does not train by epochs, so its length is not known")
    facts = look(data, gamma=gamma)
    net = recipe.network()
    held = round(recipe.validation * facts.pairs["train"])
    trained = facts.pairs["train"] - held
    steps = recipe.epochs * math.ceil(trained / (recipe.batch * processes))
    cost = measure(recipe, steps=2)
    weights = 4 * parameter_count(net)
    fit = [
        f"{trained} pairs, about {held} more held out: {steps} steps of {cost.ms_per_step:.0f} ms, "
        f"measured on {cost.device}: {span(steps * cost.ms_per_step / 1000.0)}",
        f"memory: {format_bytes(cost.peak_bytes)} a process",
        f"disk: about {format_bytes(CHECKPOINTS * weights)} of checkpoints",
    ]
    if processes > 1:
        fit.append(
            f"{processes} processes: as if each had such a device, and telling one another cost nothing"
        )
    if facts.decode_ms is not None:
        share = facts.decode_ms * recipe.batch / cost.ms_per_step
        fit.append(
            f"a pair takes {facts.decode_ms:.0f} ms to decode, a step's pairs {share:.2f} times the step: "
            + ("loader processes must share that, or --cache keep it" if share > 1 else "the loader keeps up")
        )
    seconds = image_seconds(net, facts.frame)
    height, width = facts.frame
    told = {
        "fit": fit,
        "export": [f"a minute at most; disk: {format_bytes(weights)}"],
        "eval": [
            f"{facts.pairs['test']} images of {width}x{height}, {seconds:.2f} s each by mimo_rt on this "
            f"processor: {span(facts.pairs['test'] * seconds)}"
        ],
        "report": ["a second"],
    }
    if not prepared:
        if facts.assumed:
            told["preprocess"] = [
                f"{data} is not there: GOPRO_Large's {sum(facts.pairs.values())} pairs are assumed"
            ]
        elif _one_device(data, out):
            told["preprocess"] = ["seconds; disk: nothing, by hard links where the file system has them"]
        else:
            told["preprocess"] = [f"disk: {format_bytes(facts.bytes)} of copies"]
    return Estimate(told)


def _one_device(data: Path, out: Path) -> bool:
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    return data.stat().st_dev == there.stat().st_dev
