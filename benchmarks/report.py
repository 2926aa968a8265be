"""All benchmarks, their tables and their plots by one command: ``python benchmarks/report.py``.

Each part is measured by its own script, one after another, and its reports are kept in
benchmarks/results/PART.json. Then the tables between the marks in README.md and docs/benchmarks.md and the
plots in docs/images are written again, from those files alone: ``--render`` does only that. Needs what
benchmarks/requirements-peers.txt lists, and the CUDA toolkit for gpu_registers: without it name the other
parts. Give the machine no other work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    evaluation,
    gpu_plans,
    gpu_registers,
    memory,
    models,
    pages,
    parity,
    peers,
    roofline,
    runtimes,
    scaling,
    seams,
)

RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"

RENDER: dict[str, Callable[[pages.Report], str]] = {
    "peers": peers.render,
    "memory": memory.render,
    "scaling": scaling.render,
    "parity": parity.render,
    "evaluation": evaluation.render,
    "models": models.render,
    "seams": seams.render,
    "gpu_plans": gpu_plans.render,
    "gpu_registers": gpu_registers.render,
    "roofline": roofline.render,
}
"""Markdown of one report, by part."""

LEAN = [name for name in runtimes.RUNTIMES if name != "pytorch"]
"""At 1280x720 only the faster of PyTorch's two memory formats: all together would not fit into 24 GB."""

RUNS: dict[str, list[list[str]]] = {
    "peers": [
        ["peers.py", "--model", "mimo-unet", "--sizes", "256x256", "--rounds", "9"],
        ["peers.py", "--model", "mimo-unet", "--sizes", "1280x720", "--rounds", "3", "--runtimes", *LEAN],
        ["peers.py", "--model", "mimo-unet-s", "--sizes", "1280x720", "--rounds", "5", "--runtimes", *LEAN],
    ],
    "memory": [["memory.py", "--model", "mimo-unet"]],
    "scaling": [["scaling.py", "--model", "mimo-unet"], ["scaling.py", "--model", "mimo-unet-s"]],
    "parity": [["parity.py"]],
    "evaluation": [["evaluation.py", "--model", "mimo-unet-s"]],
    "models": [["models.py", "--beside", "mimo-unet-s@1", "mimo-unet"]],
    "seams": [["seams.py"]],
    "gpu_plans": [["gpu_plans.py"]],
    "gpu_registers": [["gpu_registers.py"]],
    "roofline": [["roofline.py", "--model", "mimo-unet"], ["roofline.py", "--model", "mimo-unet-s"]],
}
"""Scripts and options that make the reports of each part; presets stand for exported models."""

PAGES = {
    "README.md": ("peers",),
    "docs/benchmarks.md": ("models", "memory", "scaling", "parity", "seams", "gpu_registers"),
    "docs/evaluation.md": ("evaluation",),
    "docs/gpu.md": ("gpu_plans",),
    "docs/roofline.md": ("roofline",),
}
"""Which parts' tables a page shows, between ``<!-- PART table -->`` and ``<!-- /PART table -->``."""


def load(part: str) -> list[pages.Report]:
    """The kept reports of a part; none where it was never measured."""
    path = RESULTS / f"{part}.json"
    reports: list[pages.Report] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return reports


def markdown(part: str) -> str:
    """The tables of a part."""
    return "\n\n".join(RENDER[part](report).strip() for report in load(part))


def rendered(page: str) -> str:
    """The text of a page as the kept reports want it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for part in PAGES[page]:
        if load(part):
            text = pages.replace_between_marks(text, f"{part} table", markdown(part))
    return text


def measure(part: str, folder: Path) -> None:
    """Runs the scripts of a part and keeps their reports."""
    reports = []
    for run in RUNS[part]:
        command = [sys.executable, str(ROOT / "benchmarks" / run[0])]
        for option in run[1:]:
            if option in parity.PRESETS:
                model = folder / f"{option}-lively.onnx"
                if not model.exists():
                    export = ["-m", "train.export", "--preset", option, "--lively", "0", "-o", str(model)]
                    subprocess.run([sys.executable, *export], cwd=ROOT, check=True)
                option = str(model)
            command.append(option)
        path = folder / "report.json"
        print(f"== {' '.join(run)}", file=sys.stderr, flush=True)
        subprocess.run([*command, "--json", str(path)], check=True)
        reports.append(json.loads(path.read_text(encoding="utf-8")))
    RESULTS.mkdir(exist_ok=True)
    pages.write_report(RESULTS / f"{part}.json", reports)


def plot_peers(reports: Sequence[pages.Report], path: Path) -> None:
    """Seconds and peak memory of every runtime, a row of two charts for each size."""
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    tables = [(report, table) for report in reports for table in peers.tables_of(report)]
    figure = Figure(figsize=(9, 2.6 * len(tables)), layout="constrained")
    grid = figure.subplots(len(tables), 2, squeeze=False)
    for (report, table), (left, right) in zip(tables, grid, strict=True):
        rows = peers.best_of_each_title(table)[::-1]
        colours = ["#1b7f3b" if row.name == "mimo_rt" else "#9aa5b1" for row in rows]
        names = [row.title for row in rows]
        left.barh(names, [row.median for row in rows], color=colours)
        left.set_title(f"{report['model']}, {table.width}×{table.height}: seconds", fontsize=9)
        right.barh(names, [(row.peak_memory or 0) / 1e6 for row in rows], color=colours)
        right.set_title("peak memory, MB", fontsize=9)
        right.set_yticks([])
    figure.savefig(path, dpi=100)


def plot_scaling(reports: Sequence[pages.Report], path: Path) -> None:
    """Seconds over megapixels, a line for each model and number of threads."""
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for report in reports:
        for threads in sorted({point["threads"] for point in report["points"]}):
            points = [point for point in report["points"] if point["threads"] == threads]
            megapixels = [point["height"] * point["width"] / 1e6 for point in points]
            seconds = [point["median"] for point in points]
            axes.loglog(megapixels, seconds, marker="o", label=f"{report['model']}, threads: {threads}")
    axes.set_xlabel("megapixels")
    axes.set_ylabel("seconds")
    axes.grid(visible=True, which="both", color="#dddddd")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def plot_seams(reports: Sequence[pages.Report], path: Path) -> None:
    """The error at a seam over the halo, a line for each model."""
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for report in reports:
        points = report["points"]
        errors = [255 * max(point["fixed"], 1e-8) for point in points]
        axes.semilogy([point["halo"] for point in points], errors, marker="o", label=report["model"])
    axes.axhline(0.5, color="#9aa5b1", linestyle="--", linewidth=1)
    axes.set_xlabel("halo, pixels")
    axes.set_ylabel("largest error at a seam, levels of 255")
    axes.grid(visible=True, which="major", color="#dddddd")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


PLOTS = {"peers": plot_peers, "scaling": plot_scaling, "seams": plot_seams}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(RUNS)} (default: all)")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the pages again")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.parts) - set(RUNS)):
        parser.error(f"no such part: {', '.join(unknown)}")
    parts = arguments.parts or list(RUNS)
    if not arguments.render:
        with tempfile.TemporaryDirectory() as folder:
            for part in parts:
                measure(part, Path(folder))
    for page in PAGES:
        pages.write(ROOT / page, rendered(page))
    for part, plot in PLOTS.items():
        if part in parts and load(part):
            plot(load(part), IMAGES / f"{part}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
