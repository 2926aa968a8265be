"""Dead channels are found, and only those."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from train.health import dead_share  # noqa: E402
from train.model import MIMOUNet, lively_init, training_init  # noqa: E402


def test_a_silenced_block_is_counted() -> None:
    net = lively_init(MIMOUNet(8, 1)).train()
    images = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    before = dead_share(net, images)
    with torch.no_grad():
        net.Encoder[2].layers[0].main[0].main[0].bias.fill_(-1e3)
    channels = sum(
        m.main[0].out_channels
        for m in net.modules()
        if len(getattr(m, "main", ())) == 2 and hasattr(m.main[0], "out_channels")
    )
    assert dead_share(net, images) == pytest.approx(before + 32 / channels, abs=0.02)
    assert net.training
    assert not any(m._forward_hooks for m in net.modules())


def test_one_firing_image_is_enough() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[:, 0] = 1.0
        net[0].bias.copy_(torch.tensor([-0.5, -2.0]))
    dark, bright = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    assert dead_share(net, [dark]) == 1.0
    assert dead_share(net, [dark, bright]) == 0.5
    assert dead_share(net, []) == 0.0


def test_a_fresh_network_is_alive() -> None:
    images = [torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    assert dead_share(training_init(MIMOUNet(16, (1, 2, 5))), images) < 0.1
