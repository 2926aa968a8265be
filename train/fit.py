"""Training: ``python -m train.fit --recipe gopro-1gpu --data GOPRO_preprocessed --out RUN``.

A run is so many epochs or steps long, as its recipe says, or lasts ``--minutes`` of training or ``--until``
an hour of the day; by the clock the recipe's schedule is squeezed into that. Several GPUs or machines train
jointly under ``torchrun``. Ctrl-C saves and ends; ``--resume`` goes on bit for bit. In RUN: ``final.pt`` (the
weights to report, newest), ``best.pt`` (best on what was held out of training), ``last.pt`` (to resume from),
``curve.csv`` and ``run.json``.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import signal
import sys
import time
from array import array
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from mimo_rt.errors import Error
from mimo_rt.temporary import replace_whole
from train import checkpoint
from train.data import Samples, batches
from train.display import Display
from train.distributed import Group, join, leave
from train.frames import Frames
from train.health import dead_share
from train.model import MIMOUNet
from train.recipe import FROM_WEIGHTS, Recipe, RecipeError, names
from train.schedule import Clock, Schedule, parse_until
from train.sources import Material, gather
from train.step_cost import device_name
from train.trainer import Trainer, peak_memory, synchronize
from train.validation import Validation, batch_gain, score
from train.weights import load_weights, weights_named

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
CHECKPOINT_SECONDS = 180.0
"""Training time that a crash may cost."""
VALIDATION_SECONDS = 360.0
"""Between validations of a run by the clock."""
VALIDATIONS = 30
"""How often a run is measured where its recipe does not say."""


class Fit:
    """A training run: its state and its loop."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        material: Material,
        *,
        clock: Clock | None = None,
        init: Path | None = None,
        group: Group | None = None,
        workers: int = 0,
        validation_pairs: int = 32,
        tensorboard: bool = False,
        display: Display | None = None,
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.clock = clock
        self.material = material
        self.group = group or Group(torch.device("cpu"))
        self.workers = workers
        self.display = display or Display(False)
        if self.group.first:
            out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        weights = load_weights(init) if init is not None else None
        if recipe.preset == FROM_WEIGHTS:
            if weights is None:
                raise RecipeError(f"the recipe {recipe.name} starts from weights: name them with --init")
            net: MIMOUNet = MIMOUNet.from_weights(weights)
        else:
            net = recipe.network()
        self.trainer = Trainer(recipe, net, self.group)
        if weights is not None:
            self.trainer.start_from(weights)
        self.samples = Samples(
            recipe, material.photographs, material.folders, recipe.batch * self.group.world
        )
        spe = max(1, self.samples.steps_per_epoch)
        total = recipe.epochs * spe if recipe.epochs is not None else recipe.steps
        if total is None and clock is None:
            raise RecipeError(
                f"the recipe {recipe.name} does not say how long a run is: give --minutes, --until, --steps "
                "or --epochs"
            )
        self.schedule = Schedule(recipe, spe, total)
        self.validation = Validation(material, validation_pairs, whole=self.group.device.type == "cuda")
        self.tensorboard = _summary_writer(out) if tensorboard and self.group.first else None
        self.step = 0
        self.active = 0.0
        self.stop = False
        self.best: tuple[float, int] | None = None
        self.best_psnr: float | None = None
        self.figures: dict[str, float] = {}
        self.started = datetime.now(timezone.utc)
        self._losses: list[float] = []
        self._gains: list[float] = []
        # Milliseconds of every step, and of these what it waited for its samples: as numbers, since a whole
        # training has a million and a half.
        self._whole, self._waited = array("d"), array("d")

    # --- how far the run is

    def progress(self, step: int) -> float:
        """The share of the run that is over at a step, by steps or by the clock, whichever is further."""
        by_clock = self.clock.progress(time.time()) if self.clock is not None else 0.0
        by_steps = step / self.schedule.total if self.schedule.total is not None else 0.0
        return min(1.0, max(by_clock, by_steps))

    @property
    def epoch(self) -> int:
        """Whole passes over the pairs that are done; 0 where samples are drawn at random."""
        return self.step // self.schedule.steps_per_epoch if self.recipe.by_epochs else 0

    # --- what is kept

    def state(self) -> dict[str, Any]:
        """All that `resume` needs."""
        return self.trainer.state() | {
            "step": self.step,
            "active": self.active,
            "started": self.started.isoformat(),
            "joint": self.samples.joint,
            "pairs": self.material.pairs,
            "recipe": asdict(self.recipe),
        }

    def weights(self) -> dict[str, Any]:
        """The weights to report, and what they are of."""
        net = self.trainer.result
        return {
            "model": net.state_dict(),
            "step": self.step,
            "preset": net.shape.preset,
            "width": net.width,
            "num_res": list(net.num_res),
        }

    def save(self) -> None:
        """Write the checkpoint to go on from, the weights and the record. Only the first process writes."""
        if not self.group.first:
            return
        checkpoint.save(self.state(), self.out / "last.pt")
        checkpoint.save(self.weights(), self.out / "final.pt")
        checkpoint.write_json(self.record(), self.out / "run.json")

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint that `save` wrote; raises RecipeError where the run is not the same."""
        state = checkpoint.load(path)
        if "recipe" not in state:
            raise RecipeError(f"{path} holds weights alone: --resume takes last.pt, --init takes weights")
        was = state["recipe"]
        for name in ("preset", "width", "num_res", "optimizer", "seed"):
            if was[name] != getattr(self.recipe, name):
                raise RecipeError(
                    f"{path} was trained with {name} {was[name]!r}, not {getattr(self.recipe, name)!r}: "
                    "choose another --out, or start from its weights with --init"
                )
        for name, now in (("joint", self.samples.joint), ("pairs", self.material.pairs)):
            if self.recipe.by_epochs and state[name] != now:
                what = "pairs in a joint batch" if name == "joint" else "pairs to train on"
                raise RecipeError(f"{path} had {state[name]} {what} and this run has {now}")
        self.trainer.load(state)
        self.step = int(state["step"])
        self.active = float(state["active"])
        if self.clock is not None:
            self.clock.active = self.active
        kept = self.out / "best.pt"  # which may be newer than the checkpoint
        if kept.exists():
            best = checkpoint.load(kept)
            self.best, self.best_psnr = (float(best["score"]), int(best["step"])), best["psnr"]
        self.started = datetime.fromisoformat(state["started"])
        if self.group.first:
            self._trim_curve()

    def _trim_curve(self) -> None:
        """Drop the rows of steps that were lost when the run was killed: they are trained once more."""
        path = self.out / "curve.csv"
        if not path.exists():
            return
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdecimal() and int(row[0]) <= self.step]
        if kept != rows:
            text = io.StringIO(newline="")
            csv.writer(text).writerows(kept)
            replace_whole(path, text.getvalue().encode())

    def record(self) -> dict[str, Any]:
        """run.json: what was trained how on what, and what it cost. Times are medians of a step."""
        recipe, net = self.recipe, self.trainer.net
        return {
            "recipe": recipe.name,
            "preset": net.shape.preset,
            "width": net.width,
            "num_res": list(net.num_res),
            "epochs": self.epoch,
            "steps": self.step,
            "steps_per_epoch": self.schedule.steps_per_epoch if recipe.by_epochs else None,
            "finished": self.progress(self.step) >= 1.0,
            "batch": recipe.batch,
            "world_size": self.group.world,
            "crop": recipe.crop,
            "optimizer": recipe.optimizer,
            "rate": recipe.rate,
            "schedule": recipe.schedule,
            "halve_every": recipe.halve_every if recipe.schedule == "halve" else None,
            "precision": recipe.precision,
            "device": device_name(self.group.device),
            "torch": torch.__version__,
            "started": self.started.isoformat(timespec="seconds"),
            "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "active_seconds": round(self.active, 1),
            "ms_per_step": _median(self._whole, 2),
            "wait_ms_per_step": _median(self._waited, 2),
            "peak_memory_bytes": peak_memory(self.group.device),
            "train_pairs": self.material.pairs,
            "train_photographs": len(self.material.photographs),
            "validation_pairs": len(self.material.validation),
            "validation_scenes": list(self.material.scenes),
            "gamma": self.material.gamma,
            "skipped_steps": self.trainer.skipped,
            "final_psnr": self.figures.get("psnr"),
            "best_score": self.best[0] if self.best else None,
            "best_psnr": self.best_psnr,
            "best_step": self.best[1] if self.best else None,
        }

    # --- what is measured

    def report(self) -> dict[str, float]:
        """Measure the weights, keep them if they are the best, add a row to the curve, show it."""
        net = self.trainer.result
        self.figures = self.validation.measure(net)
        now = score(self.figures)
        better = now is not None and np.isfinite(now) and (self.best is None or now > self.best[0])
        if now is not None and better and self.step:
            self.best = now, self.step
            self.best_psnr = self.figures.get("psnr")
            best = {"score": now, "psnr": self.best_psnr}
            checkpoint.save(self.weights() | best, self.out / "best.pt")
        loss = float(np.nanmean(self._losses)) if np.isfinite(self._losses).any() else float("nan")
        gain = float(np.nanmean(self._gains)) if self._gains else float("nan")
        recent = slice(-max(1, len(self._losses)), None)
        progress = self.progress(self.step)
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": self.epoch,
            "minutes": round(self.active / 60.0, 2),
        }
        row |= {
            "progress": round(progress, 4),
            "rate": self.recipe.rate * self.schedule.factor(self.step, progress),
        }
        row |= {"loss": round(loss, 5), "train": round(gain, 3)}
        row |= {
            name: round(self.figures[name], 3) if name in self.figures else "" for name in Validation.COLUMNS
        }
        some = [image.to(self.group.device) for image in self.validation.some()]
        row["dead"] = round(dead_share(net, some), 3) if some else ""
        row["ms"] = _median(self._whole[recent], 1) if self._whole else ""
        row["wait_ms"] = _median(self._waited[recent], 1) if self._waited else ""
        self._losses.clear()
        self._gains.clear()
        self._write_row(row)
        self.display.row(row)
        return self.figures

    def _write_row(self, row: dict[str, Any]) -> None:
        path = self.out / "curve.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        if self.tensorboard is not None:
            for name, value in row.items():
                if name not in ("step", "epoch") and value != "" and np.isfinite(value):
                    self.tensorboard.add_scalar(name, value, self.step)
            self.tensorboard.flush()

    # --- the loop

    def train_step(self, given: torch.Tensor, wanted: torch.Tensor, weight: float, progress: float) -> float:
        """One update at the rate that the schedule has for it; returns the loss."""
        device = self.group.device
        given = given.to(device, non_blocking=True)
        wanted = wanted.to(device, non_blocking=True)
        factor = self.schedule.factor(self.step, progress)
        loss, output = self.trainer.update(self.step, given, wanted, weight, factor)
        self._gains.append(batch_gain(output, given, wanted))
        self._losses.append(float(loss) / weight if weight else float("nan"))
        self.step += 1
        return self._losses[-1]

    def _due(self) -> int:
        """Steps between two validations of a run that is counted in steps."""
        given = self.recipe.validate_every
        if self.recipe.by_epochs:
            epochs = given or max(1, (self.recipe.epochs or 1) // VALIDATIONS)
            return epochs * self.schedule.steps_per_epoch
        return given or max(1, (self.schedule.total or 1) // VALIDATIONS)

    def run(self, every: float | None = None, max_steps: int | None = None) -> None:
        """Train until the recipe's end, the clock's, ``max_steps`` or an interrupt.

        every: seconds of training between validations, in place of the recipe's steps or epochs.
        """
        if every is None and self.schedule.total is None:
            every = VALIDATION_SECONDS
        shown = saved = self.active
        decaying = self.progress(self.step) > self.recipe.constant
        if self.group.first and not self.step:
            self.report()
        source = iter(
            batches(
                self.samples,
                self.step,
                self.progress,
                rank=self.group.rank,
                world=self.group.world,
                workers=self.workers,
                pinned=self.group.device.type == "cuda",
            )
        )
        while max_steps is None or self.step < max_steps:
            progress, stop = self.group.agree([self.progress(self.step), float(self.stop)])
            if progress >= 1.0 or stop:
                break
            if self.recipe.schedule == "linear" and not decaying and progress > self.recipe.constant:
                decaying = True
                if self.group.first:
                    checkpoint.save(self.state(), self.out / "before_decay.pt")
            begin = time.perf_counter()
            batch = next(source)
            waited = time.perf_counter() - begin
            loss = self.train_step(batch.given, batch.wanted, batch.weight, progress)
            synchronize(self.group.device)
            seconds = time.perf_counter() - begin
            self._whole.append(1000.0 * seconds)
            self._waited.append(1000.0 * waited)
            self.active += seconds
            if self.clock is not None:
                self.clock.tick(seconds)
                self.active = self.clock.active
            if not self.group.first:
                continue
            self.display.step(self.step, self.schedule.total, self.progress(self.step), self.active, loss)
            if self.active - saved >= CHECKPOINT_SECONDS:
                self.save()
                saved = self.active
            due = self.active - shown >= every if every is not None else self.step % self._due() == 0
            if due and self.progress(self.step) < 1.0:
                self.report()
                shown = self.active
        if self.group.first:
            self.save()
            self.report()
            self.save()


def _median(values: array[float], digits: int) -> float | None:
    return round(float(np.median(values)), digits) if values else None


def _summary_writer(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RecipeError("--tensorboard needs the package tensorboard (extra `train`)") from None
    return SummaryWriter(out / "tensorboard")


def parser() -> argparse.ArgumentParser:
    """The options of ``python -m train.fit``."""
    p = argparse.ArgumentParser(prog="python -m train.fit", description=__doc__)
    p.add_argument("--recipe", required=True, help=f"a recipe's file, or one of {', '.join(names())}")
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoints, curve and record")
    p.add_argument(
        "--data", type=Path, help="pairs to train on, or sharp photographs (default: $MIMO_RT_DATA)"
    )
    p.add_argument("--photos", type=Path, help="folder of sharp photographs, such as train.photos wrote")
    p.add_argument("--gamma", action="store_true", help="GOPRO_Large: blur averaged in gamma space")
    p.add_argument("--init", help="start from the weights of this checkpoint, ONNX file or named model")
    p.add_argument("--resume", nargs="?", const="", metavar="FILE", help="go on from FILE or OUT/last.pt")
    length = p.add_argument_group("how long")
    length.add_argument("--epochs", type=int, help="in place of the recipe's")
    length.add_argument("--steps", type=int, help="in place of the recipe's")
    length.add_argument("--minutes", type=float, help="budget of active training time")
    length.add_argument("--until", metavar="HH:MM", help="end by the local clock")
    length.add_argument("--max-steps", type=int, help="stop after this step, as an interrupt would")
    p.add_argument("--every", type=float, help="active seconds between validations, in place of the recipe's")
    p.add_argument("--validation-pairs", type=int, default=32, help="synthetic pairs, mild and heavy each")
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    p.add_argument("--threads", type=int, help="threads of torch on the CPU (default: torch's own)")
    p.add_argument("--workers", type=int, help="loader processes (default: 0 on the CPU, else up to 8)")
    p.add_argument(
        "--cache", type=Path, help="folder of decoded images: 2.8 MB a frame of 1280x720, no decoding"
    )
    p.add_argument("--deterministic", action="store_true", help="same bits again on a GPU too; slower")
    p.add_argument("--tensorboard", action="store_true", help="write OUT/tensorboard as well")
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change an entry of the recipe"
    )
    return p


def make(a: argparse.Namespace, group: Group) -> Fit:
    """The run that parsed options ask for; raises what its parts raise."""
    changes = list(a.set)
    if a.epochs is not None:
        changes += [f"epochs={a.epochs}", "steps=null"]
    if a.steps is not None:
        changes += [f"steps={a.steps}", "epochs=null"]
    recipe = Recipe.read(a.recipe, changes)
    data = a.data or (Path(os.environ["MIMO_RT_DATA"]) if "MIMO_RT_DATA" in os.environ else None)
    clock = None
    if a.minutes is not None or a.until is not None:
        clock = Clock(a.minutes, parse_until(a.until, datetime.now()) if a.until else None)
    material = gather(recipe, a.photos, data, Frames(a.cache), gamma=a.gamma)
    workers = a.workers
    if workers is None:
        workers = 0 if group.device.type == "cpu" else min(8, (os.cpu_count() or 1) // group.world)
    fit = Fit(
        recipe,
        a.out,
        material,
        clock=clock,
        init=weights_named(a.init) if a.init else None,
        group=group,
        workers=workers,
        validation_pairs=a.validation_pairs,
        tensorboard=a.tensorboard,
        display=Display(group.first),
    )
    if a.resume is not None:
        fit.resume(Path(a.resume) if a.resume else a.out / "last.pt")
    return fit


def main() -> None:
    """Entry of ``python -m train.fit``."""
    p = parser()
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    else:
        torch.backends.cudnn.benchmark = True
    if a.resume is None and (a.out / "last.pt").exists():
        p.error(f"{a.out / 'last.pt'} exists: go on from it with --resume, or choose another --out")
    group = join(a.device)
    try:
        fit = make(a, group)
    except (ValueError, OSError, Error) as e:
        leave()
        p.error(str(e))

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if fit.stop:
            raise KeyboardInterrupt
        print("stopping after this step; once more to stop at once", file=sys.stderr, flush=True)
        fit.stop = True

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with fit.display:
            fit.run(a.every, max_steps=a.max_steps)
    except (ValueError, OSError, Error) as e:
        raise SystemExit(f"train.fit stopped: {e}; {a.out / 'last.pt'} is as it was last saved") from None
    finally:
        fit.trainer.close()
        leave()
    if fit.stop:
        raise SystemExit(INTERRUPTED)


if __name__ == "__main__":
    main()
