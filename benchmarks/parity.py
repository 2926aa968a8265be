"""How far mimo_rt is from PyTorch, on lively weights: ``python benchmarks/parity.py``.

For each preset the network is exported, built and run by `Engine.infer`, and compared with PyTorch's float32;
PyTorch's own distance from float64 stands beside it, for scale. Sides that are no multiple of the network's
stride are padded by the documented rule before both. Needs the ``[train]`` extra.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.nn import functional as F

import mimo_rt
from train.export import Labels, export
from train.model import PRESETS, MIMOUNet, lively_init

LIMIT = 5e-5
SIZES = ((256, 256), (335, 273), (17, 31), (1, 1))


def picture(height: int, width: int) -> torch.Tensor:
    """Waves, edges and grain, float32 (1, 3, height, width) in [0, 1], padded to multiples of 4."""
    rng = np.random.default_rng(height * 10_000 + width)
    y, x = np.mgrid[0:height, 0:width] / 16.0
    waves = np.stack([np.sin(rng.uniform(0.3, 3) * x + rng.uniform(0.3, 3) * y + i) for i in range(3)])
    edges = 0.15 * (((x / 3).astype(int) + (y / 2).astype(int)) % 2)
    image = np.clip(0.5 + 0.3 * waves + edges + rng.normal(0, 0.02, waves.shape), 0, 1)
    given = torch.from_numpy(image.astype(np.float32))[None]
    for axis, size in ((2, height), (3, width)):
        pad = -size % 4
        pads = (0, 0, 0, pad) if axis == 2 else (0, pad, 0, 0)
        given = F.pad(given, pads, mode="reflect" if pad <= size - 1 else "replicate")
    return given


def measure(preset: str, folder: Path, tactics: str) -> list[dict[str, object]]:
    """One row a size: largest differences on [0, 1]."""
    net = lively_init(MIMOUNet.from_preset(preset)).eval()
    path = folder / f"{preset}.onnx"
    export(net, path, Labels(preset))
    engine = mimo_rt.build(path, tactics=tactics, cache=False)
    rows: list[dict[str, object]] = []
    for height, width in SIZES:
        given = picture(height, width)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--tactics", default="fixed", help="fixed (default), f4 or direct")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for preset in arguments.presets:
            rows += measure(preset, Path(folder), arguments.tactics)
    target = mimo_rt.build("mimo-unet-s").info.target
    versions = f"mimo_rt {mimo_rt.__version__} ({target}, {arguments.tactics}), PyTorch {torch.__version__}"
    print(f"{versions}; float32, largest absolute difference on [0, 1]\n")
    print("| preset | size | changes the input by | ours - PyTorch | PyTorch - float64 | ours - float64 |")
    print("|---|---|---:|---:|---:|---:|")
    for row in rows:
        figures = (row[key] for key in ("changes", "error", "torch_to_float64", "ours_to_float64"))
        print(
            f"| {row['preset']} | {row['size']} | " + " | ".join(f"{value:.1e}" for value in figures) + " |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    worst = max(float(str(row["error"])) for row in rows)
    print(f"\nlargest: {worst:.1e}, limit {LIMIT:.0e}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
