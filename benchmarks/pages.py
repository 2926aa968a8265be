"""What the benchmark scripts share: tables, the line that names model and machine, text between marks of a
page, and reports as JSON.

A *report* is what a script measured: a table of plain values with the entries of `made_by` in it. Every
script turns its own report into Markdown by a function ``render``, so that a page can be written again from
the reports alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import mimo_rt
from mimo_rt import machine
from mimo_rt.image_io.replace import write_file

Report: TypeAlias = dict[str, Any]


def made_by(model: str, threads: int) -> Report:
    """The entries that every report has: model, threads, versions, machine."""
    return {
        "model": model,
        "threads": threads,
        "version": mimo_rt.__version__,
        "machine": machine.describe(),
    }


def sentence(report: Mapping[str, Any], *details: str) -> str:
    """One line: "`X.onnx`, float32, 2 threads, on AMD EPYC (2 cores, 24 GB)."."""
    facts = report["machine"]
    memory = f", {facts['memory'] / 2**30:.0f} GB" if facts.get("memory") else ""
    threads = f"{report['threads']} thread" + ("" if report["threads"] == 1 else "s")
    parts = [f"`{report['model']}`", "float32", threads, *details]
    return f"{', '.join(parts)}, on {facts['cpu']} ({facts['cores']} cores{memory})."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right: every column but the first, whose cells begin with a digit."""
    right = [i > 0 and all(row[i][:1].isdigit() for row in rows) for i in range(len(header))]
    rule = f"|{'|'.join('---:' if r else '---' for r in right)}|"
    first, *others = (f"| {' | '.join(row)} |" for row in [header, *rows])
    return "\n".join([first, rule, *others])


def replace_between_marks(text: str, name: str, content: str) -> str:
    """``text`` with what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` replaced; ValueError where
    the two do not stand there once."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise ValueError(f"expected one {first} before one {last}")
    head, _, rest = text.partition(first)
    _, _, tail = rest.partition(last)
    return f"{head}{first}\n{content.strip()}\n{last}{tail}"


def write(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_file(path, text.encode(), overwrite=True)


def write_report(path: Path, report: Report | list[Report]) -> None:
    """Writes a report as JSON, whole or not at all."""
    write(path, json.dumps(report, indent=1) + "\n")


def tell(text: str, report: Report, path: Path | None) -> None:
    """Prints a rendered report, and writes it as JSON where a path is given."""
    print(text)
    if path is not None:
        write_report(path, report)
