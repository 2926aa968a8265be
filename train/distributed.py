"""Several processes that train one network, as ``torchrun`` starts them, each on its part of the joint
batch."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed.nn  # before a group exists: its functions would keep that one as their default
from torch import distributed as dist


@dataclass(frozen=True)
class Group:
    """This process's place among all."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that measures, writes and speaks."""
        return self.rank == 0

    def agree(self, values: Sequence[float]) -> list[float]:
        """The first process's values, in all."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return [float(v) for v in shared]


def join(device: str = "auto") -> Group:
    """The group that torchrun's environment names, or this process alone. device: "auto", "cpu" or "cuda"."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if device == "cuda":
        index = int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count())
        torch.cuda.set_device(index)
        own = torch.device("cuda", index)
    else:
        own = torch.device(device)
    if world == 1:
        return Group(own)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    return Group(own, dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """End what `join` began. Nothing may hold the group any more: a thread of its own that outlives the
    interpreter aborts the process."""
    if dist.is_initialized():
        gc.collect()  # a closed DistributedDataParallel is part of a reference cycle
        dist.destroy_process_group()
