"""How much of a network is alive. A channel whose ReLU never fires learns nothing more, since no gradient
passes it; and a ResBlock that harms at the start is silenced by its biases sooner than it is taught. A curve
cannot tell a network that has died half from one that has learned all it can, so this is measured beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def dead_share(net: nn.Module, images: Iterable[Tensor]) -> float:
    """Share of all ReLU channels of ``net`` that are 0 everywhere on all ``images``, each (3, H, W)."""
    fired: dict[nn.Module, Tensor] = {}

    def watch(module: nn.Module, _given: tuple[Tensor, ...], result: Tensor) -> None:
        now = (result > 0).flatten(2).any(2).any(0)
        fired[module] = fired[module] | now if module in fired else now

    relus = [module for module in net.modules() if isinstance(module, nn.ReLU)]
    hooks = [module.register_forward_hook(watch) for module in relus]
    was_training = net.training
    net.eval()
    try:
        for image in images:
            net(image[None])
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    channels = sum(len(f) for f in fired.values())
    return 1.0 - sum(int(f.sum()) for f in fired.values()) / channels if channels else 0.0
