"""Ours against ONNX Runtime, OpenVINO, MNN, ncnn and PyTorch: one process a runtime, rounds interleaved.

    pip install -r benchmarks/requirements-peers.txt . && python benchmarks/peers.py --model mimo-unet.onnx

Each runtime loads the same float32 weights in a process of its own (benchmarks/runtimes.py) and warms up.
Then every round runs each runtime once, one after another, in an order that rotates from round to round, with
a rest between two so that no runtime's spinning threads disturb the next: whatever the machine does meanwhile
meets all alike. The table gives median and minimum, the ratio of medians to ours, the peak resident memory of
each process, and the largest error against the reference (PyTorch where it runs, else ONNX Runtime).

The model should carry lively weights (`train.model.lively_init`): with default ones every runtime looks
exact. Give the machine no other work; `--pause-pid` stops a process of yours for the time of the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # also when run as a script
    sys.path.insert(0, str(ROOT))

from benchmarks import pages, runtimes  # noqa: E402

REFERENCES = ("pytorch", "pytorch-channels-last", "onnxruntime")
T = TypeVar("T")

WRONG = 1e-2
"""An error above this means that a runtime computed something else; its times then say nothing."""

SPARE_MEMORY = 1 << 30
"""Bytes that must be left once all runtimes are loaded; they stay there, for rounds are interleaved."""


class WorkerError(Exception):
    """A runtime could not be started or broke off; the text says why."""


@dataclass
class Row:
    """One runtime at one size. Seconds, bytes."""

    name: str
    title: str
    version: str
    variant: str
    seconds: list[float] = field(default_factory=list)
    peak_memory: int | None = None
    error: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)


@dataclass
class Table:
    """All runtimes at one size; `skipped` maps a name to the reason."""

    height: int
    width: int
    reference: str
    rows: list[Row]
    skipped: dict[str, str]


class Worker:
    """One `runtimes.py serve` process."""

    def __init__(self, name: str, command: list[str], log: Path, timeout: float) -> None:
        self.name = name
        self._log = log
        self._timeout = timeout
        self._buffer = b""
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        try:
            self.greeting = self._answer()
        except WorkerError:
            self.close()
            raise

    def ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        """Ends the process, kindly first."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._timeout
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                self._process.kill()
                raise WorkerError(f"no answer within {self._timeout:g} s")
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                raise WorkerError(self._last_words())
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(str(answer["error"]))
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"ended with status {status}" + (f": {lines[-1]}" if lines else "")


def picture(height: int, width: int, seed: int = 0) -> runtimes.Image:
    """A picture-like image: [1, 3, height, width] float32, multiples of 1/255. Shapes of many sizes, grain on
    top."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.full((3, height, width), 0.5, np.float32)
    for wavelength in (700, 230, 90, 40, 17, 7):
        for _ in range(3):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            wave = np.sin(
                (np.cos(angle) * x + np.sin(angle) * y) * np.float32(2 * np.pi / wavelength) + phase
            )
            image += rng.uniform(-0.09, 0.09, (3, 1, 1)).astype(np.float32) * np.sign(wave)
    image += rng.normal(0, 0.02, image.shape).astype(np.float32)
    steps: runtimes.Image = np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.float32)
    steps /= 255
    return steps.reshape(1, 3, height, width)


def available_memory() -> int:
    """Bytes that new work may take without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/meminfo holds no MemAvailable; this runs on Linux only")


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """`items` from position `turn` on, around."""
    turn %= len(items)
    return [*items[turn:], *items[:turn]]


def _start(
    names: Sequence[str], arguments: argparse.Namespace, folder: Path, image: Path
) -> tuple[list[Worker], dict[str, str]]:
    """Converts for every runtime, then starts every runtime, one after another; those that fail go to the
    second result. All conversions come first, for a converter may want as much memory as is left at all."""
    workers: list[Worker] = []
    skipped: dict[str, str] = {}
    script = [sys.executable, str(ROOT / "benchmarks" / "runtimes.py")]

    def convert(name: str) -> None:
        runtimes.version_of(runtimes.RUNTIMES[name]().package)
        (folder / name).mkdir()
        done = subprocess.run(
            [*script, "convert", name, str(arguments.model), str(folder / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=arguments.timeout,
            check=False,
        )
        if done.returncode:
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            raise WorkerError(f"conversion failed: {lines[-1] if lines else done.returncode}")

    def start(name: str) -> None:
        home = folder / name
        model = [str(arguments.model), str(home), str(arguments.threads), str(image)]
        workers.append(Worker(name, [*script, "serve", name, *model], home / "log", arguments.timeout))

    for verb, step in (("converting for", convert), ("starting", start)):
        for name in names:
            if name in skipped:
                continue
            begun = time.monotonic()
            print(f"{verb} {name} ...", end="", file=sys.stderr, flush=True)
            try:
                step(name)
                print(f" {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
            except (LookupError, WorkerError, subprocess.TimeoutExpired) as error:
                skipped[name] = str(error).strip("'\"")
                print(f" skipped: {skipped[name]}", file=sys.stderr, flush=True)
    return workers, skipped


def compare(arguments: argparse.Namespace, size: tuple[int, int]) -> Table:
    """Measures all runtimes at one size."""
    height, width = size
    with tempfile.TemporaryDirectory(prefix="mimo_rt-peers-") as name:
        folder = Path(name)
        image = folder / "input.npy"
        np.save(image, picture(height, width))
        workers, skipped = _start(arguments.runtimes, arguments, folder, image)
        rows = {
            w.name: Row(w.name, w.greeting["title"], w.greeting["version"], w.greeting["variant"])
            for w in workers
        }
        alive = list(workers)

        def drop(worker: Worker, reason: object) -> None:
            skipped[worker.name] = str(reason)
            alive.remove(worker)
            print(f"  {worker.name} dropped: {reason}", file=sys.stderr)

        try:
            left = available_memory()
            if left < SPARE_MEMORY:
                raise SystemExit(
                    f"only {left / 2**20:.0f} MB of memory are left with all runtimes loaded;"
                    " compare fewer at a time with --runtimes"
                )
            for turn in range(arguments.rounds):
                for worker in rotated(alive, turn) if alive else []:
                    time.sleep(arguments.rest)
                    try:
                        seconds = worker.ask("run")["seconds"]
                        rows[worker.name].seconds.append(seconds)
                        print(f"round {turn + 1}: {worker.name} {seconds:.3f} s", file=sys.stderr, flush=True)
                    except WorkerError as error:
                        drop(worker, error)
            outputs: dict[str, runtimes.Image] = {}
            for worker in list(alive):
                try:
                    rows[worker.name].peak_memory = worker.ask("memory")["peak"]
                    worker.ask(f"output {folder / worker.name}.npy")
                    outputs[worker.name] = np.load(folder / f"{worker.name}.npy")
                except WorkerError as error:
                    drop(worker, error)
        finally:
            for worker in workers:
                worker.close()
        reference = next((name for name in REFERENCES if name in outputs), "")
        for name, output in outputs.items():
            if reference:
                expected = outputs[reference].astype(np.float64)
                same = output.shape == expected.shape
                rows[name].error = float(np.abs(output - expected).max()) if same else float("inf")
        kept = [rows[worker.name] for worker in alive]
        return Table(height, width, reference, kept, skipped)


def best_of_each_title(table: Table) -> list[Row]:
    """One row a runtime, its fastest set-up, ordered by median; ours first."""
    best: dict[str, Row] = {}
    for row in table.rows:
        if row.title not in best or row.median < best[row.title].median:
            best[row.title] = row
    return sorted(best.values(), key=lambda row: (row.name != "mimo_rt", row.median))


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 9.9995 else f"{value:.2f}"


def _memory(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def markdown(tables: Sequence[Table], heading: str) -> str:
    """The tables for people: one for each size, under a line that names model, machine and threads."""
    lines = [heading, ""]
    for table in tables:
        rows = best_of_each_title(table)
        ours = next((row for row in rows if row.name == "mimo_rt"), None)
        lines += [
            f"**{table.width}×{table.height}**",
            "",
            "| runtime | median | minimum | times ours | peak memory | largest error |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in rows:
            variant = f" ({row.variant})" if row.variant else ""
            ratio = f"{row.median / ours.median:.2f}" if ours else "-"
            error = "-" if row.error is None else f"{row.error:.1e}"
            if row.name == table.reference:
                error = "reference"
            elif row.error is not None and not row.error <= WRONG:
                error += " **wrong**"
            lines.append(
                f"| {row.title} {row.version}{variant} | {_seconds(row.median)} s | {_seconds(row.minimum)} s"
                f" | {ratio} | {_memory(row.peak_memory)} | {error} |"
            )
        for name, reason in table.skipped.items():
            lines.append(f"| {name} | skipped: {reason} | | | | |")
        lines.append("")
    return "\n".join(lines)


def tables_of(report: pages.Report) -> list[Table]:
    """The tables of a report of this script."""
    return [Table(**{**table, "rows": [Row(**row) for row in table["rows"]]}) for table in report["tables"]]


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    return markdown(tables_of(report), pages.sentence(report, f"{report['rounds']} rounds"))


@contextlib.contextmanager
def paused(pids: Sequence[int]) -> Iterator[None]:
    """Stops processes and lets them go on afterwards, whatever happens in between."""
    stopped: list[int] = []
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _size(text: str) -> tuple[int, int]:
    """ "1280x720" (width x height) as (height, width)."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1280x720") from None
    if width < 4 or height < 4 or width % 4 or height % 4:
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be multiples of 4")
    return height, width


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", 1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument("--sizes", type=_size, nargs="+", default=[(256, 256), (720, 1280)], metavar="WxH")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7, help="timed runs of each runtime at each size")
    parser.add_argument("--rest", type=float, default=0.3, help="seconds of quiet before each timed run")
    parser.add_argument(
        "--timeout", type=float, default=900, help="seconds a runtime may take for one answer"
    )
    parser.add_argument(
        "--runtimes",
        nargs="+",
        choices=list(runtimes.RUNTIMES),
        default=list(runtimes.RUNTIMES),
        metavar="NAME",
    )
    parser.add_argument(
        "--pause-pid", type=int, nargs="+", default=[], metavar="PID", help="stop these meanwhile"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times here")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.model = arguments.model.resolve()
    if not arguments.model.is_file():
        parser.error(f"no such file: {arguments.model}")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    with paused(arguments.pause_pid):
        tables = [compare(arguments, size) for size in arguments.sizes]
    report = pages.made_by(arguments.model.name, arguments.threads)
    report |= {"rounds": arguments.rounds, "tables": [asdict(table) for table in tables]}
    pages.tell(render(report), report, arguments.json)
    wrong = [
        row.title
        for table in tables
        for row in table.rows
        if row.error is not None and not row.error <= WRONG
    ]
    if wrong:
        print(f"wrong results: {', '.join(sorted(set(wrong)))}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that paused processes go on
    sys.exit(main())
