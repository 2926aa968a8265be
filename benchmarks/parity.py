"""How far mimo_rt is from PyTorch, on lively weights: ``python benchmarks/parity.py``.

For each preset the network is exported, built and run by `Engine.infer`, and compared with PyTorch's float32;
PyTorch's own distance from float64 stands beside it, for scale. Sides that are no multiple of the network's
stride are padded by the documented rule before both. Needs the ``[train]`` extra.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import mimo_rt
from benchmarks import pages
from benchmarks.peers import picture
from mimo_rt import network

if TYPE_CHECKING:
    import torch

LIMIT = 5e-5
PRESETS = tuple(network.PRESETS)
SIZES = ((256, 256), (335, 273), (17, 31), (1, 1))


def padded_picture(height: int, width: int) -> torch.Tensor:
    """The picture of peers.py, float32 (1, 3, height, width) in [0, 1], padded to multiples of 4."""
    import torch
    from torch.nn import functional as F

    given = torch.from_numpy(picture(height, width))
    for axis, size in ((2, height), (3, width)):
        pad = -size % 4
        pads = (0, 0, 0, pad) if axis == 2 else (0, pad, 0, 0)
        given = F.pad(given, pads, mode="reflect" if pad <= size - 1 else "replicate")
    return given


def measure(preset: str, folder: Path, tactics: str) -> list[dict[str, object]]:
    """One row a size: largest differences on [0, 1]."""
    import torch

    from train.export import Labels, export
    from train.model import MIMOUNet, lively_init

    net = lively_init(MIMOUNet.from_preset(preset)).eval()
    path = folder / f"{preset}.onnx"
    export(net, path, Labels())
    engine = mimo_rt.build(path, tactics=tactics, cache=False)
    rows: list[dict[str, object]] = []
    for height, width in SIZES:
        given = padded_picture(height, width)
        with torch.no_grad():
            wanted = net(given)[2].numpy()
            exact = net.double()(given.double())[2].numpy()
            net.float()
        ours = engine.infer(given.numpy())
        rows.append(
            {
                "preset": preset,
                "size": f"{height}x{width}",
                "changes": float(np.abs(wanted - given.numpy()).max()),
                "error": float(np.abs(ours - wanted).max()),
                "torch_to_float64": float(np.abs(wanted - exact).max()),
                "ours_to_float64": float(np.abs(ours - exact).max()),
            }
        )
    return rows


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    keys = ("changes", "error", "torch_to_float64", "ours_to_float64")
    rows = [[row["preset"], row["size"], *(f"{row[key]:.1e}" for key in keys)] for row in report["rows"]]
    header = [
        "preset",
        "size",
        "changes the input by",
        "ours - PyTorch",
        "PyTorch - float64",
        "ours - float64",
    ]
    return (
        f"mimo_rt {report['version']} ({report['target']}, {report['tactics']}), PyTorch {report['torch']};"
        f" float32, largest absolute difference on [0, 1].\n\n{pages.table(header, rows)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument("--tactics", default="fixed", help="fixed (default), f4 or direct")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for preset in arguments.presets:
            rows += measure(preset, Path(folder), arguments.tactics)
    import torch

    report = pages.made_by(", ".join(arguments.presets), torch.get_num_threads())
    report |= {"target": mimo_rt.build("mimo-unet-s").info.target, "tactics": arguments.tactics}
    report |= {"torch": torch.__version__, "rows": rows}
    pages.tell(render(report), report, arguments.json)
    worst = max(float(str(row["error"])) for row in rows)
    print(f"\nlargest: {worst:.1e}, limit {LIMIT:.0e}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
