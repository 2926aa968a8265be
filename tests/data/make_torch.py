"""Makes the PyTorch checkpoints of this folder: ``python make_torch.py``, after make_mindspore.py.

The weights of mindspore_training.ckpt once more, in half precision: torch.pkl as PyTorch 1.6 and later write
a training checkpoint of several GPUs, torch_legacy.pkl as those before did.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "python")]

import torch  # noqa: E402

from mimo_rt import checkpoints  # noqa: E402


def main():
    read = checkpoints.read(HERE / "mindspore_training.ckpt")
    state = {f"module.{name}": torch.from_numpy(value).half() for name, value in read.tensors.items()}
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [500, 1000], 0.5)
    saved = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": 3,
    }
    torch.save(saved, HERE / "torch.pkl")
    torch.save(saved, HERE / "torch_legacy.pkl", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
