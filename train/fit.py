"""Training by the clock: ``python -m train.fit --recipe train/recipes/small-cpu.yaml --out RUN --minutes
120``.

The rate is constant for a share of the time and then falls to zero in a line, where time is what was spent
training: a process that was stopped or starved does not lose its decay. ``--until HH:MM`` is an end by the
wall clock that squeezes what is left into what remains. Averaged weights (EMA) are what is measured and
what is kept in ``RUN/ema.pt``; ``RUN/last.pt`` resumes; ``RUN/before_decay.pt`` goes on as if more time had
been given; ``RUN/curve.csv`` is the curve.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import yaml  # type: ignore[import-untyped,unused-ignore]
from torch import Tensor

from train import holdout
from train.blur import Shake
from train.data import Mix, Pair, Pixels, Source, list_images, load_pairs, read_image, smaller
from train.health import dead_share
from train.loss import decibel_loss, multi_scale_loss
from train.model import PRESETS, MIMOUNet, training_init
from train.optim import Muon, make_optimizer

SMALLER = (1.7, 2.6)
"""Photographs are used at these sizes as well where enough of them is left: finer detail, more variety."""

LONGEST_STEP = 30.0
"""Seconds of a step that count as training at most: a longer one was a pause."""


class RecipeError(ValueError):
    """A recipe that cannot be trained by; the message says which entry and why."""


LOSSES: dict[str, Callable[[Sequence[Tensor], Tensor], Tensor]] = {
    "paper": multi_scale_loss,
    "decibel": decibel_loss,
}


def changed(shake: Shake, entries: dict[str, Any]) -> Shake:
    """``shake`` with the entries of a recipe, whose ranges are lists, in place of its own."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    return replace(shake, **values)


@dataclass
class Recipe:
    """A recipe file: see train/recipes/small-cpu.yaml for what each entry means."""

    preset: str = "mimo-unet-s"
    width: int | None = None
    num_res: int | list[int] | None = None
    seed: int = 1
    crop: int = 96
    batch: int = 14
    real: float = 0.25
    identity: float = 0.1
    shake: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "muon"
    rate: float = 0.006
    rate_rest: float = 0.002
    momentum: float = 0.95
    constant: float = 0.6
    ema: float = 0.998
    clip: float = 1.0
    loss: str = "paper"
    stages: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, changes: list[str] | None = None) -> Recipe:
        """The recipe at ``path`` with ``key=value`` changes on top; raises RecipeError."""
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(entries, dict):
            raise RecipeError(f"{path} is not a table of entries")
        for change in changes or []:
            key, equals, value = change.partition("=")
            if not equals:
                raise RecipeError(f"{change!r} is not of the form key=value")
            entries[key] = yaml.safe_load(value)
        unknown = sorted(set(entries) - set(cls.__dataclass_fields__))
        if unknown:
            raise RecipeError(f"{path}: unknown entries {', '.join(unknown)}")
        recipe = cls(**entries)
        if recipe.preset not in PRESETS:
            raise RecipeError(f"{path}: unknown preset {recipe.preset!r}; known: {', '.join(PRESETS)}")
        if not 0.0 <= recipe.constant <= 1.0 or recipe.crop % 4 or recipe.batch < 1:
            raise RecipeError(f"{path}: constant must lie in 0..1, crop be a multiple of 4, batch at least 1")
        if recipe.loss not in LOSSES:
            raise RecipeError(f"{path}: unknown loss {recipe.loss!r}; known: {', '.join(LOSSES)}")
        ends = [float(stage.get("until", -1)) for stage in recipe.stages]
        if ends != sorted(ends) or any(not 0.0 < end <= 1.0 for end in ends):
            raise RecipeError(f"{path}: every stage needs 'until', a share of the time, in rising order")
        return recipe

    def at(self, progress: float) -> tuple[Shake, float, float]:
        """Blur, share of real pairs and share of identity pairs at this share of the time."""
        shake, real, identity = self.blur(), self.real, self.identity
        for stage in self.stages:
            if progress < stage["until"]:
                blur = changed(shake, stage.get("shake", {}))
                return blur, stage.get("real", real), stage.get("identity", identity)
        return shake, real, identity

    def network(self) -> MIMOUNet:
        """A fresh network that starts as the identity."""
        preset = PRESETS[self.preset]
        num_res = preset.num_res if self.num_res is None else self.num_res
        return training_init(MIMOUNet(self.width or preset.width, num_res, preset.dropout), self.seed)

    def blur(self) -> Shake:
        """What blur is drawn from."""
        return changed(Shake(), self.shake)

    def source(self, photos: Path | None, data: Path | None, seed: int) -> Source:
        """Reads the images into memory; a folder that the recipe names and is absent is an error."""
        images: list[Pixels] = []
        if photos is not None:
            for path in list_images(photos / "train"):
                image = read_image(path)
                images.append(image)
                images += [smaller(image, f) for f in SMALLER if min(image.shape[:2]) >= 410 * f]
        pairs: list[list[Pair]] = []
        for entry in self.pairs if data is not None else []:
            assert data is not None
            pairs.append(load_pairs(data / entry["folder"], entry.get("first", 0), entry.get("last")))
        mix = Mix(crop=self.crop, batch=self.batch, real=self.real, identity=self.identity)
        return Source(images, pairs, mix, self.blur(), seed)


class Clock:
    """Share of the run that is over: active seconds against a budget and an end by the wall clock."""

    def __init__(self, minutes: float | None, until: float | None, active: float = 0.0) -> None:
        if minutes is None and until is None:
            raise ValueError("a run needs --minutes or --until")
        self.minutes = minutes
        self.until = until
        self.active = active

    def tick(self, seconds: float) -> None:
        """Count a step that took ``seconds`` by the wall clock."""
        self.active += min(seconds, LONGEST_STEP)

    def progress(self, now: float) -> float:
        """0 at the start, 1 at the end."""
        left = [self.minutes * 60.0 - self.active] if self.minutes is not None else []
        if self.until is not None:
            left.append(self.until - now)
        remaining = max(0.0, min(left))
        return 1.0 if remaining == 0.0 else self.active / (self.active + remaining)


def rate_factor(progress: float, constant: float) -> float:
    """What the rate is multiplied by: 1 for the share ``constant`` of the time, then linear to 0."""
    if progress <= constant:
        return 1.0
    return max(0.0, (1.0 - progress) / (1.0 - constant))


def parse_until(text: str, now: datetime) -> float:
    """``HH:MM`` as a time stamp: the next time that the local clock shows it."""
    at = datetime.strptime(text, "%H:%M")
    end = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint beside ``path`` and rename it, so that there is always a whole one."""
    temporary = path.with_name(path.name + ".partial")
    torch.save(state, temporary)
    temporary.replace(path)


def load_exported(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file that `train.export` wrote. Those of the outputs at 1/2 and 1/4, which an
    export does not hold, are absent."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    return {
        t.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(t).copy())
        for t in graph.initializer
        if t.name.startswith("net.")
    }


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, ours or a published one, or of an export. Nothing in it is executed."""
    if path.suffix == ".onnx":
        return load_exported(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("ema", "model", "params", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} holds no state dict of tensors")
    return {k.removeprefix("module."): v for k, v in state.items()}


def batch_gain(output: Tensor, given: Tensor, wanted: Tensor) -> float:
    """Mean gain in dB over the pairs (N, 3, H, W) whose input is not the target; NaN where there is none."""
    before = (given - wanted).square().mean((1, 2, 3))
    after = (output.clamp(0.0, 1.0) - wanted).square().mean((1, 2, 3))
    told = before > 0
    return float(10.0 * torch.log10(before[told] / after[told].clamp_min(1e-10)).mean())


class Average:
    """Exponential average of a network's weights, with a short memory at the start."""

    def __init__(self, net: MIMOUNet, decay: float) -> None:
        self.net = deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: MIMOUNet, step: int) -> None:
        """Take in the weights after step ``step`` (from 1)."""
        keep = min(self.decay, (1.0 + step) / (10.0 + step))
        for mean, new in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(new, 1.0 - keep)


class Validation:
    """Small fixed sets and a network's mean gain on each, in dB (for sharp photographs the PSNR)."""

    COLUMNS = ("mild", "heavy", "gopro", "reds", "sharp")

    def __init__(self, photos: Path | None, data: Path | None, count: int = 32, size: int = 128) -> None:
        self.sets: dict[str, holdout.Images] = {}
        if photos is not None and (photos / "holdout").is_dir():
            images = holdout.photographs(photos)
            self.sets.update(holdout.mild_and_heavy(images, count, count, size))
            self.sets["sharp"] = holdout.sharp(images, 2 * size)
        if data is not None:
            self.sets.update(holdout.real_sets(data, 2 * size, reds_each=4))

    def some(self, count: int = 8) -> list[Tensor]:
        """A few inputs of the first set."""
        return [given for given, _ in next(iter(self.sets.values()), [])[:count]]

    @torch.no_grad()
    def measure(self, net: MIMOUNet) -> dict[str, float]:
        """Mean over each set's images; sets that are absent are left out."""
        was_training = net.training
        net.eval()
        result = {}
        for name, images in self.sets.items():
            figures = []
            for given, wanted in images:
                output = net(given[None])[2][0]
                if name == "sharp":
                    figures.append(min(holdout.psnr(output, wanted), 100.0))
                else:
                    figures.append(holdout.psnr(output, wanted) - holdout.psnr(given, wanted))
            result[name] = float(np.mean(figures))
        net.train(was_training)
        return result


class Fit:
    """A training run: its state and its loop."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        clock: Clock,
        photos: Path | None,
        data: Path | None,
        *,
        validation_pairs: int = 32,
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.clock = clock
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.net = recipe.network().train()
        self.average = Average(self.net, recipe.ema)
        self.optimizer: Muon = make_optimizer(
            self.net, recipe.optimizer, recipe.rate, recipe.rate_rest, recipe.momentum
        )
        self.source = recipe.source(photos, data, recipe.seed)
        self.validation = Validation(photos, data, validation_pairs)
        self.step = 0
        self.stop = False
        self.skipped = 0
        self._losses: list[float] = []
        self._gains: list[float] = []

    def start_from(self, weights: Path) -> None:
        """Take the weights of another run, of a published checkpoint, or of an exported model (whose outputs
        at 1/2 and 1/4 then start from zero, as a fresh network's do)."""
        state = load_weights(weights)
        if weights.suffix == ".onnx":
            state = {k: v for k, v in self.net.state_dict().items() if k.startswith("ConvsOut.")} | state
        self.net.load_state_dict(state)
        self.average.net.load_state_dict(state)

    def state(self) -> dict[str, Any]:
        """All that `resume` needs."""
        return {
            "step": self.step,
            "active": self.clock.active,
            "model": self.net.state_dict(),
            "ema": self.average.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.source.rng.bit_generator.state,
        }

    def save(self) -> None:
        """Write the checkpoint to go on from and the averaged weights."""
        save_atomically(self.state(), self.out / "last.pt")
        save_atomically(
            {"ema": self.average.net.state_dict(), "step": self.step, "preset": self.recipe.preset},
            self.out / "ema.pt",
        )

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint that `save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["model"])
        self.average.net.load_state_dict(state["ema"])
        kept = [{k: group[k] for k in ("base_lr", "momentum")} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, own in zip(self.optimizer.param_groups, kept, strict=True):
            group.update(own)  # the recipe's, which may have changed since
        self.source.rng.bit_generator.state = state["rng"]
        self.step = int(state["step"])
        self.clock.active = float(state["active"])

    def train_step(self, progress: float) -> float:
        """One update at the rate that ``progress`` calls for; returns the loss."""
        factor = rate_factor(progress, self.recipe.constant) * min(1.0, (self.step + 1) / 50.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.source.shake, self.source.mix.real, self.source.mix.identity = self.recipe.at(progress)
        given, wanted = self.source.batch()
        outputs = self.net(given)
        loss = LOSSES[self.recipe.loss](outputs, wanted)
        self._gains.append(batch_gain(outputs[2].detach(), given, wanted))
        self.net.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.step += 1
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.net, self.step)
        else:
            self.skipped += 1
        return float(loss.detach())

    def report(self, progress: float) -> dict[str, float]:
        """Measure the averaged weights, add a row to the curve, print it."""
        gains = self.validation.measure(self.average.net)
        loss = float(np.mean(self._losses)) if self._losses else float("nan")
        gain = float(np.nanmean(self._gains)) if self._gains else float("nan")
        self._losses.clear()
        self._gains.clear()
        row: dict[str, Any] = {"step": self.step, "minutes": round(self.clock.active / 60.0, 2)}
        row |= {"progress": round(progress, 4), "loss": round(loss, 5), "train": round(gain, 3)}
        row |= {name: round(gains[name], 3) if name in gains else "" for name in Validation.COLUMNS}
        row["dead"] = round(dead_share(self.average.net, self.validation.some()), 3)
        path = self.out / "curve.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(f"{datetime.now():%H:%M:%S} " + " ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        return gains

    def run(self, every: float, checkpoint: float = 180.0, max_steps: int | None = None) -> None:
        """Train until the clock, ``max_steps`` or an interrupt; ``every``: seconds between validations."""
        self.report(self.clock.progress(time.time()))
        shown = saved = self.clock.active
        decaying = self.clock.progress(time.time()) > self.recipe.constant
        while not self.stop and (max_steps is None or self.step < max_steps):
            progress = self.clock.progress(time.time())
            if progress >= 1.0:
                break
            if not decaying and progress > self.recipe.constant:
                decaying = True
                save_atomically(self.state(), self.out / "before_decay.pt")
            begin = time.monotonic()
            self._losses.append(self.train_step(progress))
            self.clock.tick(time.monotonic() - begin)
            if self.clock.active - saved >= checkpoint:
                self.save()
                saved = self.clock.active
            if self.clock.active - shown >= every:
                self.report(progress)
                shown = self.clock.active
        self.save()
        self.report(self.clock.progress(time.time()))


def main() -> None:
    """Entry of ``python -m train.fit``."""
    parser = argparse.ArgumentParser(prog="python -m train.fit", description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the curve")
    parser.add_argument("--photos", type=Path, help="folder that train.photos wrote")
    parser.add_argument("--data", type=Path, help="folder of real pairs (default: $MIMO_RT_DATA)")
    parser.add_argument("--minutes", type=float, help="budget of active training time")
    parser.add_argument("--until", help="HH:MM of the local clock by which training ends")
    parser.add_argument("--every", type=float, default=360.0, help="active seconds between validations")
    parser.add_argument(
        "--validation-pairs", type=int, default=32, help="synthetic pairs, mild and heavy each"
    )
    parser.add_argument(
        "--resume", nargs="?", const=Path(), type=Path, metavar="FILE", help="go on from FILE or OUT/last.pt"
    )
    parser.add_argument("--init", type=Path, help="start from these weights")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--threads", type=int, help="threads of torch (default: torch's own)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change an entry of the recipe"
    )
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    data = a.data or (Path(os.environ["MIMO_RT_DATA"]) if "MIMO_RT_DATA" in os.environ else None)
    last = a.out / "last.pt"
    if a.resume is None and last.exists():
        parser.error(f"{last} exists: go on from it with --resume, or choose another --out")
    try:
        recipe = Recipe.read(a.recipe, a.set)
        clock = Clock(a.minutes, parse_until(a.until, datetime.now()) if a.until else None)
        fit = Fit(recipe, a.out, clock, a.photos, data, validation_pairs=a.validation_pairs)
    except (ValueError, FileNotFoundError) as e:
        parser.error(str(e))
    if a.init:
        fit.start_from(a.init)
    if a.resume is not None:
        fit.resume(a.resume if a.resume.name else last)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        print("stopping after this step", file=sys.stderr, flush=True)
        fit.stop = True

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    fit.run(a.every, max_steps=a.max_steps)


if __name__ == "__main__":
    main()
