"""A run beside the published ones: ``python -m train.report --run RUN --evaluation EVAL -o report.md``.

The rows are those of the MindSpore model zoo's page on MIMO-UNet, ours is the first column, and the page's
own columns stand as they were published. What was not measured says so.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mimo_rt import pairs as pair_files
from mimo_rt.errors import Error
from mimo_rt.image_io.replace import write_file
from mimo_rt.sizes import format_bytes
from train import published

NOT_MEASURED = "not measured"

TITLES = {"mimo-unet": "MIMO-UNet", "mimo-unet-plus": "MIMO-UNet+", "mimo-unet-s": "MIMO-UNet-S"}
"""What a preset is called in tables."""

FAR = 0.1
"""Share by which a total time may be off speed times steps before the report says so."""


@dataclass(frozen=True)
class Files:
    """What a report is made of. run: the folder of train.fit. evaluation: that of mimo-rt eval, or None."""

    run: Path
    evaluation: Path | None = None
    model: Path | None = None
    """The exported model."""


def read_json(path: Path) -> dict[str, Any]:
    """A table in a JSON file; {} where there is no such file. Raises ValueError where it holds anything
    else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no record of a run ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no record of a run: it holds no table")
    return found


def _at(record: Mapping[str, Any], *keys: str) -> Any:
    """The entry at this path; None where there is none."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(record: Mapping[str, Any], *keys: str) -> float | None:
    """As `_at`, where it is a finite number."""
    value = _at(record, *keys)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def span(seconds: float) -> str:
    """As the page writes times: "1d 4h 54m", "9h 15m", "3m", and "41 s" below a minute."""
    minutes = round(seconds / 60.0)
    if minutes < 1:
        return f"{seconds:.0f} s"
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count}{unit}" for count, unit in parts[first:])


def _milliseconds(value: float | None) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:.0f} ms/step" if value >= 10 else f"{value:.2f} ms/step"


def _size(path: Path | None) -> str:
    return format_bytes(path.stat().st_size) if path is not None and path.is_file() else NOT_MEASURED


def _written(path: Path) -> str:
    """The day that a file was written on."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime, timezone.utc):%Y-%m-%d}"


def training_column(run: Mapping[str, Any], files: Files) -> tuple[str, ...]:
    """Our cells, in the order of `published.TRAINING_ROWS`."""
    if not run:
        return (NOT_MEASURED,) * len(published.TRAINING_ROWS)
    seconds = _number(run, "active_seconds")
    total = span(seconds) if seconds is not None else NOT_MEASURED
    if not run.get("finished", True):
        total += f" (unfinished: {run.get('steps')} steps)"
    weights = files.run / "final.pt"
    return (
        TITLES.get(str(run.get("preset")), str(run.get("preset", NOT_MEASURED))),
        f"{run.get('world_size', 1)}x {run.get('device', NOT_MEASURED)}",
        str(run.get("ended", NOT_MEASURED))[:10],
        f"PyTorch {run['torch']}" if run.get("torch") else NOT_MEASURED,
        _dataset(run),
        _parameters(run),
        str(run.get("optimizer", NOT_MEASURED)).capitalize(),
        "images",
        _milliseconds(_number(run, "ms_per_step")),
        total,
        f"{_size(weights)} (.pt file)" if weights.is_file() else NOT_MEASURED,
    )


def _dataset(run: Mapping[str, Any]) -> str:
    trained, held = _number(run, "train_pairs"), _number(run, "validation_pairs")
    if trained is None:
        return NOT_MEASURED
    total = int(trained + (held or 0))
    whole = total == pair_files.GOPRO_COUNTS["train"]
    text = "GOPRO_Large" if whole else "another set than GOPRO_Large"
    text += ", blur_gamma" if run.get("gamma") else ""
    return f"{text}: {int(trained)} pairs trained on" + (f", {int(held)} held out" if held else "")


def _parameters(run: Mapping[str, Any]) -> str:
    parts = []
    batch, world = _number(run, "batch"), _number(run, "world_size") or 1
    if batch is not None:
        joint = f" ({batch * world:g} jointly)" if world != 1 else ""
        parts.append(f"batch_size={batch:g}{joint}")
    rate = _number(run, "rate")
    if rate is not None:
        halved = run.get("halve_every") if run.get("schedule") == "halve" else None
        after = f" and bisected every {halved} epochs" if halved else f", schedule {run.get('schedule')}"
        parts.append(f"lr={rate:g}{after}")
    if run.get("epochs"):
        parts.append(f"{run['epochs']} epochs")
    if run.get("crop"):
        parts.append(f"crops of {run['crop']}x{run['crop']}")
    if run.get("precision") == "fp16":
        parts.append("fp16 with a loss scale that follows")
    elif run.get("precision") not in (None, "fp32"):
        parts.append(str(run["precision"]))
    return ", ".join(parts) or NOT_MEASURED


def evaluation_column(run: Mapping[str, Any], summary: Mapping[str, Any], files: Files) -> tuple[str, ...]:
    """Our cells, in the order of `published.EVALUATION_ROWS`."""
    psnr = _number(summary, "results", "psnr_after")
    if psnr is None:
        return (NOT_MEASURED,) * len(published.EVALUATION_ROWS)
    preset = str(_at(summary, "model", "preset") or run.get("preset", ""))
    seconds = _number(summary, "timing", "model_mean")
    count = _number(summary, "results", "images")
    complete = _at(summary, "standing", "kind") == "complete"
    gamma = ", blur_gamma" if _at(summary, "data", "gamma") else ""
    dataset = (
        f"GOPRO_Large{gamma}" if complete else f"not the GoPro benchmark: {int(count or 0)} pairs{gamma}"
    )
    cpu, cores = _at(summary, "machine", "cpu"), _at(summary, "machine", "cores")
    version, backend = _at(summary, "versions", "mimo_rt"), _at(summary, "backend", "name")
    return (
        TITLES.get(preset, preset or "unknown"),
        f"{cpu} ({cores} cores)" if cpu else NOT_MEASURED,
        _written(files.evaluation / "summary.json") if files.evaluation is not None else NOT_MEASURED,
        f"mimo_rt {version}, {backend} backend" if version else NOT_MEASURED,
        dataset,
        "1",
        _milliseconds(1000.0 * seconds if seconds is not None else None),
        "images",
        f"{psnr:.3f}",
    )


def _table(rows: Sequence[str], ours: Sequence[str], others: Mapping[str, Sequence[str]]) -> str:
    lines = ["| Parameters | this run | " + " | ".join(others) + " |", "|---" * (2 + len(others)) + "|"]
    for i, row in enumerate(rows):
        cells = [row, ours[i], *(column[i] for column in others.values())]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def timing_notes(run: Mapping[str, Any]) -> list[str]:
    """Sentences on total times that are not what speed and steps come to: ours, and the published ones."""
    notes = []
    steps, speed, total = (_number(run, key) for key in ("steps", "ms_per_step", "active_seconds"))
    if steps and speed and total:
        product = steps * speed / 1000.0
        text = f"This run: {int(steps)} steps of {speed:.0f} ms are {span(product)}"
        told = abs(total - product) > FAR * total
        notes.append(text + (f", and it took {span(total)}." if told else f", as it took ({span(total)})."))
    for name, timing in published.TIMINGS.items():
        text = f"{name}: {timing.steps} steps of {timing.ms_per_step:.0f} ms are {span(timing.seconds)}"
        given = span(timing.total_seconds)
        if abs(timing.total_seconds - timing.seconds) > FAR * timing.total_seconds:
            notes.append(f"{text}, not the {given} that the page gives: its row does not add up.")
        else:
            notes.append(f"{text}; the page gives {given}.")
    return notes


def _run_notes(run: Mapping[str, Any]) -> list[str]:
    notes = []
    wait, step = _number(run, "wait_ms_per_step"), _number(run, "ms_per_step")
    if wait is not None and step:
        notes.append(f"Of a step's time {wait / step:.0%} went by waiting for the loader.")
    memory = _number(run, "peak_memory_bytes")
    if memory is not None:
        notes.append(f"Peak memory of training: {format_bytes(memory)} a process.")
    final, best = _number(run, "final_psnr"), _number(run, "best_psnr")
    if final is not None:
        held = run.get("validation_scenes")
        scenes = ", ".join(map(str, held)) if isinstance(held, list) and held else "pairs"
        text = f"On {scenes}, held out of training: {final:.2f} dB at the end"
        notes.append(f"{text}, {best:.2f} dB at best (step {run.get('best_step')})." if best else f"{text}.")
    if run:
        notes.append(
            "The weights that are exported and evaluated are those at the end; the test split chose none."
        )
    return notes


def _evaluation_notes(summary: Mapping[str, Any]) -> list[str]:
    notes = []
    before, after = _number(summary, "results", "psnr_before"), _number(summary, "results", "psnr_after")
    ssim_before, ssim = _number(summary, "results", "ssim_before"), _number(summary, "results", "ssim_after")
    if before is not None and after is not None:
        notes.append(f"PSNR {before:.3f} dB blurred, {after:.3f} dB deblurred.")
    if ssim_before is not None and ssim is not None:
        notes.append(f"SSIM {ssim_before:.4f} blurred, {ssim:.4f} deblurred.")
    sentences = (
        _at(summary, "standing", "sentence"),
        _at(summary, "verdict", "sentence"),
        _at(summary, "input_note"),
    )
    for sentence in sentences:
        if sentence:
            notes.append(str(sentence).rstrip(".") + ".")
    failures = _at(summary, "failures")
    if failures:
        notes.append(f"{len(failures)} pairs could not be evaluated.")
    return notes


def render(files: Files, commands: Sequence[str] = ()) -> str:
    """The report as Markdown; raises ValueError where a record is damaged. commands: what made the run, if
    known."""
    run = read_json(files.run / "run.json")
    summary = read_json(files.evaluation / "summary.json") if files.evaluation is not None else {}
    if not summary.get("finished", False):
        summary = {}
    parts = [
        f"# {run.get('recipe', 'A training')} beside the published figures",
        "The other columns stand as the MindSpore model zoo's page on MIMO-UNet gives them.",
        "## Training performance",
        _table(published.TRAINING_ROWS, training_column(run, files), published.TRAINING),
        _list([*_run_notes(run), *timing_notes(run)]),
        "## Evaluation performance",
        _table(published.EVALUATION_ROWS, evaluation_column(run, summary, files), published.EVALUATION),
        _list(
            [
                *_evaluation_notes(summary),
                "A step is one image; ours is the network's own time, decoding and metrics excluded.",
                *([f"The exported model: {_size(files.model)}."] if files.model is not None else []),
            ]
        ),
    ]
    if commands:
        parts += ["## Commands", "```sh\n" + "\n".join(commands) + "\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _list(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m train.report``; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.report", description=(__doc__ or "").split("\n", 1)[0], allow_abbrev=False
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of train.fit")
    parser.add_argument("--evaluation", type=Path, help="folder of mimo-rt eval")
    parser.add_argument("--model", type=Path, help="the exported model")
    parser.add_argument("--commands", type=Path, help="text file of the commands that made it, to be quoted")
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: standard output)")
    a = parser.parse_args(arguments)
    try:
        if not (a.run / "run.json").is_file():
            raise ValueError(f"{a.run} holds no run of train.fit (no run.json)")
        commands = a.commands.read_text(encoding="utf-8").splitlines() if a.commands is not None else []
        text = render(Files(a.run, a.evaluation, a.model), commands)
        if a.output is None:
            print(text, end="")
        else:
            write_file(a.output, text.encode(), overwrite=True)
            print(f"written: {a.output}", file=sys.stderr)
    except (OSError, ValueError, Error) as error:
        print(f"no report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
