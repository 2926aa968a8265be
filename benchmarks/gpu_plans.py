"""NVIDIA's builder without a GPU: sizes and build times of plans of every preset and precision.

``python benchmarks/gpu_plans.py`` (extras ``rtx`` and ``train``)

The networks have lively weights; 8-bit ranges come from noise, which changes neither size nor time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import pages  # noqa: E402
from mimo_rt import _core, tensorrt_rtx  # noqa: E402
from mimo_rt.gpu_shapes import shapes_for  # noqa: E402
from mimo_rt.network import PRESETS  # noqa: E402

if TYPE_CHECKING:
    import onnx

TILE = 512
ROUNDS = 3


def exports(preset: str) -> dict[str, onnx.ModelProto]:
    """The preset with lively weights, by precision."""
    # Here, not above: a page is rendered from its JSON where neither PyTorch nor onnx is installed.
    from mimo_rt.half import to_half
    from train.calibrate import activation_scales
    from train.export import to_onnx
    from train.model import MIMOUNet, lively_init
    from train.quantize import quantizable, to_int8
    from train.tiles import noise

    fp32 = to_onnx(lively_init(MIMOUNet.from_preset(preset)).eval())
    layers = quantizable(fp32)
    names = {name for layer in layers for name in layer.activations}
    scales = activation_scales(fp32, names, [noise(64, 64, seed=0)], "minmax")
    return {"fp32": fp32, "fp16": to_half(fp32), "int8": to_int8(fp32, layers, scales)}


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    rows = [
        [
            row["preset"],
            row["precision"],
            row["sizes"],
            *(f"{row[kind]['bytes'] / 1e6:.1f}, {row[kind]['median']:.2f}" for kind in ("range", "tile")),
        ]
        for row in report["rows"]
    ]
    header = ["preset", "precision", "sizes", "all of them: MB, s", f"{TILE}x{TILE}: MB, s"]
    text = (
        f"TensorRT for RTX {report['library']}, median of {ROUNDS} builds, "
        f"{pages.sentence(report).split(', on ')[1]}\n\n{pages.table(header, rows)}"
    )
    measured = {row["preset"] for row in report["rows"]}
    left_out = [preset for preset in PRESETS if preset not in measured]
    return f"{text}\n\nNot measured yet: {', '.join(left_out)}." if left_out else text


def main(arguments: Sequence[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    a = parser.parse_args(arguments)
    rows = []
    with torch.inference_mode():
        for preset in a.presets:
            for precision, model in exports(preset).items():
                onnx = model.SerializeToString()
                facts = _core.describe(onnx)
                sizes = shapes_for(None, facts["stride"], facts["halo"])
                tile = shapes_for(TILE, facts["stride"])
                row: dict[str, object] = {"preset": preset, "precision": precision, "sizes": sizes.text}
                for kind, shapes in (("range", sizes), ("tile", tile)):
                    seconds = []
                    for _ in range(ROUNDS):
                        start = time.perf_counter()
                        plan = tensorrt_rtx.build_plan(onnx, shapes)
                        seconds.append(time.perf_counter() - start)
                    row[kind] = {"bytes": len(plan), "median": statistics.median(seconds)}
                rows.append(row)
                print(f"{preset} {precision}", file=sys.stderr, flush=True)
    report = pages.made_by(", ".join(a.presets), torch.get_num_threads())
    report |= {"library": str(tensorrt_rtx.library().__version__), "rows": rows}
    pages.tell(render(report), report, a.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
