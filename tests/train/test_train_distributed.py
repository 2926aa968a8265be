"""Two processes under torchrun train what one process trains with the joint batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from gopro_tree import make_gopro_tree  # noqa: E402

from train import checkpoint  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
CHANGES = ["width=8", "num_res=1", "crop=32", "epochs=1", "validation=0", "clip=0.5"]


def train(out: Path, data: Path, processes: int, batch: int) -> dict[str, object]:
    """The checkpoint after an epoch of 9 pairs: joint batches of 4, 4 and 1."""
    words = [sys.executable, "-m"]
    if processes > 1:
        words += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    words += ["train.fit", "--recipe", "gopro-1gpu", "--data", str(data), "--out", str(out)]
    words += ["--device", "cpu", "--threads", "1"]
    for change in [*CHANGES, f"batch={batch}"]:
        words += ["--set", change]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    return checkpoint.load(out / "last.pt")


THREADS_LEFT = """
import os
from train.distributed import join, leave
from train.recipe import Recipe
from train.trainer import Trainer
recipe = Recipe.read("gopro-1gpu", ["width=8", "num_res=1"])
trainer = Trainer(recipe, recipe.network(), join("cpu"))
trainer.close()
leave()
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print([name for name in names if "gloo" in name])
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in Linux's /proc")
def test_leaving_a_group_ends_its_threads() -> None:
    """One that outlives the interpreter aborts a process that has trained to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", THREADS_LEFT],
            cwd=ROOT,
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert said == ["[]", "[]"]


def test_two_are_one(tmp_path: Path) -> None:
    data = make_gopro_tree(tmp_path / "tree")
    one = train(tmp_path / "one", data, 1, 4)
    two = train(tmp_path / "two", data, 2, 2)
    assert one["step"] == two["step"] == 3
    # Adam's first moments: a mean of the gradients of all steps
    moments = zip(one["optimizer"]["state"].values(), two["optimizer"]["state"].values(), strict=True)
    checked = 0
    for alone, joint in moments:
        scale = float(alone["exp_avg"].abs().max())
        assert float((alone["exp_avg"] - joint["exp_avg"]).abs().max()) <= 1e-4 * scale + 1e-9
        checked += scale > 0
    assert checked > 50
