"""What quantising each layer costs, and which layers must stay in float for all of them together to cost no
more than a budget."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import onnx
import torch
from torch import Tensor

from train.holdout import LARGEST_PSNR, psnr
from train.interpret import Program
from train.quantize import Layer, to_int8


@dataclass(frozen=True)
class Row:
    """One layer of the table."""

    layer: str
    drop_db: float
    """Mean PSNR of the fp32 network minus that with this layer alone quantised; below 0 by chance."""
    fidelity_db: float
    """Mean PSNR of the output with this layer alone quantised, against the fp32 output."""
    quantized: bool = True
    """Whether it is in the export."""


class Cost:
    """Measures models against the fp32 one on pairs, float32 (3, H, W) each."""

    def __init__(self, fp32: onnx.ModelProto, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        program = Program(fp32)
        self._pairs = pairs
        self._outputs = [program.run(given[None])[0] for given, _ in pairs]
        self.psnr = self._mean([psnr(y, wanted) for y, (_, wanted) in zip(self._outputs, pairs, strict=True)])
        """Of the fp32 network, mean over the pairs, in dB."""

    @staticmethod
    def _mean(figures: Sequence[float]) -> float:
        return sum(min(x, LARGEST_PSNR) for x in figures) / len(figures)

    def __call__(self, model: onnx.ModelProto) -> tuple[float, float]:
        """(drop, fidelity) of a model in dB, as in `Row`. A result that is not finite costs everything."""
        program = Program(model)
        after, alike = [], []
        for (given, wanted), output in zip(self._pairs, self._outputs, strict=True):
            y = program.run(given[None])[0]
            if not bool(torch.isfinite(y).all()):
                return math.inf, -math.inf
            after.append(psnr(y, wanted))
            alike.append(-10.0 * math.log10(max(float(torch.mean((y - output) ** 2)), 1e-10)))
        return self.psnr - self._mean(after), self._mean(alike)


def table(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    scales: Mapping[str, float],
    cost: Cost,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """One row a layer, in running order; each costs one run over the pairs."""
    rows = []
    for i, layer in enumerate(layers):
        rows.append(Row(layer.name, *cost(to_int8(model, [layer], scales))))
        progress(i + 1, len(layers))
    return rows


def costliest_first(rows: Sequence[Row]) -> list[Row]:
    """By drop, and by fidelity where that is the same."""
    return sorted(rows, key=lambda row: (-row.drop_db, row.fidelity_db))


def within_budget(
    rows: Sequence[Row],
    budget: float,
    drop_of: Callable[[Sequence[str]], float],
) -> tuple[list[Row], float]:
    """The rows with those layers marked that stay in float, and the drop of all others together.

    The layer that costs most alone goes first, until the drop is within the budget or only one layer is
    left. drop_of: of a model in which the layers of these names are quantised, in dB.
    """
    in_float: set[str] = set()
    order = costliest_first(rows)
    while True:
        kept = [row.layer for row in rows if row.layer not in in_float]
        drop = drop_of(kept)
        if drop <= budget or len(kept) <= 1:
            return [replace(row, quantized=row.layer not in in_float) for row in rows], drop
        in_float.add(order[len(in_float)].layer)


def as_text(rows: Sequence[Row]) -> str:
    """The table for people, the costliest layer first."""
    width = max(len(row.layer) for row in rows)
    lines = [f"{'layer':<{width}}  drop, dB  fidelity, dB"]
    for row in costliest_first(rows):
        left = "" if row.quantized else "  stays in float"
        lines.append(f"{row.layer:<{width}}  {row.drop_db:8.4f}  {row.fidelity_db:12.2f}{left}")
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, the costliest layer first."""
    lines = ["| layer | drop, dB | fidelity, dB | 8 bits |", "|---|---|---|---|"]
    for row in costliest_first(rows):
        kept = "yes" if row.quantized else "stays in float"
        lines.append(f"| `{row.layer}` | {row.drop_db:.4f} | {row.fidelity_db:.2f} | {kept} |")
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """The table with a row a layer, in running order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            asdict(row) | {"drop_db": f"{row.drop_db:.6f}", "fidelity_db": f"{row.fidelity_db:.4f}"}
        )
    return text.getvalue()
