"""From the data set to the table: ``python -m train.reproduce gopro-1gpu --data GOPRO_Large --out DIR``.

Five steps, each a command of its own that is printed before it runs and can be run alone:

    preprocess   DIR/data         the tree that training reads (left out where DATA is one already)
    fit          DIR/run          the training
    export       DIR/model.onnx   its weights at the end
    eval         DIR/eval         PSNR and SSIM on the test split, by mimo_rt
    report       DIR/report.md    beside the published figures

Ctrl-C, a crash or a failed step lose nothing: the same command goes on with the step that was not done, and
a training goes on from its last checkpoint. ``--dry-run`` prints the plan with what it will take on this
machine. Options after ``--`` go to train.fit: ``-- --workers 4 --cache CACHE``.

Exit codes: 0 done, 1 a step failed, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mimo_rt.errors import Error
from mimo_rt.image_io.replace import write_file
from train.model import PRESETS
from train.preprocess import OverlapError, refuse_overlap
from train.recipe import Recipe, RecipeError
from train.report import read_json, span

STATE = "reproduce.json"
"""In the output folder: what is being reproduced, and which steps are done."""

COMMANDS = "commands.sh"

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ReproduceError(RuntimeError):
    """Work that cannot go on; the message says why and what to do."""


class InterruptedStepError(Exception):
    """A step that was interrupted. ``number``: the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class Wanted:
    """What is to be reproduced."""

    recipe: str
    data: Path
    out: Path
    gamma: bool = False
    partial: bool = False
    epochs: int | None = None
    changes: tuple[str, ...] = ()
    processes: int | None = None
    """Training processes; None for as many as the recipe's name says ("gopro-8gpu"), else one."""
    fit_options: tuple[str, ...] = ()

    def read(self) -> Recipe:
        """The recipe as it will be trained by; raises RecipeError."""
        changes = [
            *self.changes,
            *([f"epochs={self.epochs}", "steps=null"] if self.epochs is not None else []),
        ]
        recipe = Recipe.read(self.recipe, changes)
        if recipe.preset not in PRESETS:
            raise RecipeError(
                f"the recipe {self.recipe} takes its network from other weights; train.fit --init"
            )
        return recipe

    @property
    def world(self) -> int:
        """Training processes."""
        if self.processes is not None:
            return self.processes
        found = re.search(r"-(\d+)gpu$", Path(self.recipe).stem)
        return int(found[1]) if found else 1

    @property
    def prepared(self) -> bool:
        """Whether the data is a preprocessed tree already."""
        return (self.data / "train" / "blur").is_dir() and (self.data / "train" / "sharp").is_dir()

    def identity(self) -> dict[str, Any]:
        """All that must be the same for a later sitting to go on with this one."""
        known = {
            "recipe": asdict(self.read()),
            "data": str(self.data.resolve()),
            "gamma": self.gamma,
            "processes": self.world,
        }
        identity: dict[str, Any] = json.loads(json.dumps(known))
        return identity


@dataclass(frozen=True)
class Step:
    """One command. is_done: whether what it leaves is there, whole."""

    name: str
    command: list[str]
    is_done: Callable[[], bool] = field(repr=False)

    @property
    def line(self) -> str:
        """As one types it."""
        return shlex.join(self.command)


def steps(wanted: Wanted, *, resume: bool = True) -> list[Step]:
    """The steps in order. resume: a training that was begun goes on, else it would begin anew."""
    wanted.read()  # one that cannot be trained by is refused before anything is done
    out, python = wanted.out, sys.executable
    data = wanted.data if wanted.prepared else out / "data"
    run, model, evaluation, report = out / "run", out / "model.onnx", out / "eval", out / "report.md"
    found = []
    if not wanted.prepared:
        options = ["--gamma"] * wanted.gamma + ["--partial"] * wanted.partial
        command = [python, "-m", "train.preprocess", "--root-src", str(wanted.data), "--root-dst", str(data)]
        found.append(Step("preprocess", command + options, lambda: (data / "origins.csv").is_file()))
    launcher = [python, "-m"]
    if wanted.world > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={wanted.world}", "-m"]
    fit = [*launcher, "train.fit", "--recipe", wanted.recipe, "--data", str(data), "--out", str(run)]
    fit += ["--epochs", str(wanted.epochs)] if wanted.epochs is not None else []
    fit += [part for change in wanted.changes for part in ("--set", change)]
    fit += ["--resume"] if resume and (run / "last.pt").is_file() else []
    found.append(
        Step(
            "fit",
            [*fit, *wanted.fit_options],
            lambda: bool(read_json(run / "run.json").get("finished")) and (run / "final.pt").is_file(),
        )
    )
    export = [python, "-m", "train.export", "--weights", str(run / "final.pt"), "-o", str(model)]
    found.append(Step("export", export, model.is_file))
    command = [python, "-m", "mimo_rt", "eval", "--data", str(data), "--split", "test", "-m", str(model)]
    command += ["-o", str(evaluation), "--resume"]
    found.append(Step("eval", command, lambda: bool(read_json(evaluation / "summary.json").get("finished"))))
    command = [python, "-m", "train.report", "--run", str(run), "--evaluation", str(evaluation)]
    command += ["--model", str(model), "--commands", str(out / COMMANDS), "-o", str(report)]
    found.append(Step("report", command, report.is_file))
    return found


class State:
    """reproduce.json: what is reproduced, and the steps that are done."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        self._identity = identity
        found = read_json(path)
        self._done: dict[str, float] = {}
        if found:
            was = found.get("identity")
            if was != identity:
                was = was if isinstance(was, dict) else {}
                other = sorted(k for k in {*was, *identity} if was.get(k) != identity.get(k))
                raise ReproduceError(
                    f"{path.parent} was begun with another {', '.join(other)}; choose another --out"
                )
            done = found.get("done")
            self._done = dict(done) if isinstance(done, dict) else {}

    def is_done(self, step: Step) -> bool:
        return step.name in self._done and step.is_done()

    def begin(self, names: Sequence[str]) -> None:
        """These steps are to be done (again)."""
        for name in names:
            self._done.pop(name, None)
        self._write()

    def finish(self, step: Step, seconds: float) -> None:
        self._done[step.name] = round(seconds, 1)
        self._write()

    def _write(self) -> None:
        text = json.dumps({"identity": self._identity, "done": self._done}, indent=2) + "\n"
        write_file(self._path, text.encode(), overwrite=True)


def lock(folder: Path) -> int:
    """A handle that keeps every other run out of the folder until it is closed, in children too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ReproduceError(f"{folder} is at work already, in another process") from None
    return handle


def run_command(command: Sequence[str], held: int) -> int:
    """Runs a command to its end and returns its exit code. held: a handle that it keeps open.

    An interrupt, hangup or request to end is passed on, once, and what the command does about it is waited
    for; then InterruptedStepError is raised. It has a session of its own, so that a terminal's Ctrl-C does
    not reach it twice."""
    received: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    kept = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        process = subprocess.Popen(command, pass_fds=[held], start_new_session=True)
        if received and process.poll() is None:
            process.terminate()
        code = process.wait()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if received:
        raise InterruptedStepError(received[0])
    return code


def reproduce(wanted: Wanted, say: Callable[[str], None]) -> None:
    """Runs what is not done yet.

    Raises ReproduceError where a step fails or the folder holds something else, InterruptedStepError where
    it was interrupted, RecipeError for the recipe, ValueError for a damaged record."""
    todo = steps(wanted)
    wanted.out.mkdir(parents=True, exist_ok=True)
    held = lock(wanted.out)
    try:
        state = State(wanted.out / STATE, wanted.identity())
        if not (wanted.out / STATE).exists() and any(wanted.out.iterdir()):
            raise ReproduceError(f"{wanted.out} is not empty and holds no such work; choose another --out")
        lines = "".join(f"{step.line}\n" for step in steps(wanted, resume=False))
        for place, step in enumerate(todo, 1):
            if state.is_done(step):
                say(f"[{place}/{len(todo)}] {step.name}: done already")
                continue
            state.begin([later.name for later in todo[place - 1 :]])
            write_file(wanted.out / COMMANDS, lines.encode(), overwrite=True)
            say(f"[{place}/{len(todo)}] {step.name}: {step.line}")
            begin = time.monotonic()
            code = run_command(step.command, held)
            if code != 0:
                raise ReproduceError(
                    f"{step.name} failed with exit code {code}; the same command goes on from here, and the "
                    f"step alone is: {step.line}"
                )
            if not step.is_done():
                raise ReproduceError(
                    f"{step.name} ended before its work was done; the same command goes on from here"
                )
            seconds = time.monotonic() - begin
            state.finish(step, seconds)
            say(f"[{place}/{len(todo)}] {step.name}: done in {span(seconds)}")
    finally:
        os.close(held)


def show_plan(wanted: Wanted) -> None:
    """Prints the steps and what they will take; nothing is written."""
    from train.estimate import estimate

    told = estimate(
        wanted.read(),
        wanted.data,
        wanted.out,
        gamma=wanted.gamma,
        processes=wanted.world,
        prepared=wanted.prepared,
    )
    for place, step in enumerate(steps(wanted), 1):
        print(f"{place}. {step.name}\n   $ {step.line}")
        for line in told.lines.get(step.name, []):
            print(f"   {line}")


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="python -m train.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument("recipe", help="of train/recipes, or a recipe's file")
    options.add_argument("--data", type=Path, required=True, help="GOPRO_Large, or the preprocessed tree")
    options.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    options.add_argument("--gamma", action="store_true", help="train and evaluate on blur_gamma")
    options.add_argument(
        "--partial", action="store_true", help="accept another number of pairs than GOPRO_Large has"
    )
    options.add_argument("--epochs", type=_count, help="in place of the recipe's")
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change an entry of the recipe"
    )
    options.add_argument(
        "--processes", type=_count, help="training processes, one a GPU (default: 8 for gopro-8gpu, else 1)"
    )
    options.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m train.reproduce``; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    options = parser()
    a = options.parse_args(given[:cut])
    wanted = Wanted(
        a.recipe,
        a.data,
        a.out,
        a.gamma,
        a.partial,
        a.epochs,
        tuple(a.set),
        a.processes,
        tuple(given[cut + 1 :]),
    )
    try:
        if not a.dry_run and not a.data.is_dir():
            options.error(f"{a.data} is not a folder")
        if a.data.is_dir():
            refuse_overlap(a.data, a.out)
        if wanted.prepared and a.gamma:
            options.error(f"{a.data} is preprocessed already: which blur it holds was decided then")
        if a.dry_run:
            show_plan(wanted)
        else:
            reproduce(wanted, lambda text: print(text, file=sys.stderr, flush=True))
            print(a.out / "report.md")
    except (RecipeError, OverlapError) as error:
        options.error(str(error))
    except InterruptedStepError as stop:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ReproduceError, ValueError, OSError, Error) as error:
        print(f"not reproduced: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
