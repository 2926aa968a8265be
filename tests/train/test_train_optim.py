"""Optimizers: what Muon does to a matrix, and that both kinds learn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train.loss import multi_scale_loss  # noqa: E402
from train.model import MIMOUNet, training_init  # noqa: E402
from train.optim import make_optimizer, orthogonalize  # noqa: E402

pytestmark = pytest.mark.torch


def test_orthogonalized_matrices_have_singular_values_about_one() -> None:
    for shape in ((16, 144), (64, 16), (8, 8)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert float(values.min()) > 0.4
        assert float(values.max()) < 1.3


def test_optimizers_lower_a_loss_and_refuse_odd_names() -> None:
    for kind, rate in (("muon", 0.01), ("adam", 0.002)):
        torch.manual_seed(0)
        net = training_init(MIMOUNet(8, 1))
        optimizer = make_optimizer(net, kind, rate, 0.002)
        x, y = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
        losses = []
        for _ in range(15):
            loss = multi_scale_loss(net(x), y)
            net.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0]
    with pytest.raises(ValueError, match="sgd"):
        make_optimizer(MIMOUNet(8, 1), "sgd", 0.1, 0.1)


def test_adam_is_the_papers() -> None:
    optimizer = make_optimizer(MIMOUNet(8, 1), "adam", 1e-4, 0.5)
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.999), 1e-8, 0)


def test_a_layer_moves_as_far_as_its_gradients_agree() -> None:
    def moved(noise: float) -> float:
        weight = torch.nn.Parameter(torch.zeros(8, 8, 3, 3))
        net = torch.nn.Module()
        net.weight = weight
        optimizer = make_optimizer(net, "muon", 0.01, 0.01)
        generator = torch.Generator().manual_seed(0)
        true = torch.randn(8, 8, 3, 3, generator=generator)
        for _ in range(40):
            before = weight.detach().clone()
            weight.grad = true + noise * torch.randn(8, 8, 3, 3, generator=generator)
            optimizer.step()
        return float((weight.detach() - before).norm())

    assert moved(3.0) < 0.6 * moved(0.0)
    assert moved(30.0) < 0.35 * moved(0.0)


def test_decay_shrinks_weights() -> None:
    net = torch.nn.Module()
    net.weight = torch.nn.Parameter(torch.ones(8, 8, 1, 1))
    optimizer = make_optimizer(net, "muon", 0.1, 0.1, decay=0.5)
    net.weight.grad = torch.zeros(8, 8, 1, 1)
    optimizer.step()
    assert torch.equal(net.weight, torch.ones(8, 8, 1, 1))  # no gradient, no step, nothing to decay
    net.weight.grad = torch.eye(8).reshape(8, 8, 1, 1)
    optimizer.step()
    assert float(net.weight[0, 1].detach()) < 1.0
