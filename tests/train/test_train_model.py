"""The network: names and shapes of its weights, its size, its start, what it refuses."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from torch.nn import functional as F  # noqa: E402

from train.model import (  # noqa: E402
    PRESETS,
    MIMOUNet,
    blocks_per_level,
    lively_init,
    parameter_count,
    training_init,
)

pytestmark = pytest.mark.torch

# A few names and shapes of the published MIMO-UNet checkpoint, from the first layer to the last.
PUBLISHED = {
    "Encoder.0.layers.0.main.0.main.0.weight": (32, 32, 3, 3),
    "Encoder.2.layers.7.main.1.main.0.bias": (128,),
    "feat_extract.0.main.0.weight": (32, 3, 3, 3),
    "feat_extract.1.main.0.weight": (64, 32, 3, 3),
    "feat_extract.3.main.0.weight": (128, 64, 4, 4),
    "feat_extract.4.main.0.weight": (64, 32, 4, 4),
    "feat_extract.5.main.0.weight": (3, 32, 3, 3),
    "Decoder.0.layers.0.main.0.main.0.weight": (128, 128, 3, 3),
    "Decoder.2.layers.7.main.1.main.0.weight": (32, 32, 3, 3),
    "Convs.0.main.0.weight": (64, 128, 1, 1),
    "Convs.1.main.0.weight": (32, 64, 1, 1),
    "ConvsOut.0.main.0.weight": (3, 128, 3, 3),
    "ConvsOut.1.main.0.weight": (3, 64, 3, 3),
    "AFFs.0.conv.0.main.0.weight": (32, 224, 1, 1),
    "AFFs.1.conv.0.main.0.weight": (64, 224, 1, 1),
    "AFFs.1.conv.1.main.0.weight": (64, 64, 3, 3),
    "FAM1.merge.main.0.weight": (128, 128, 3, 3),
    "FAM2.merge.main.0.weight": (64, 64, 3, 3),
    "SCM1.main.0.main.0.weight": (32, 3, 3, 3),
    "SCM1.main.1.main.0.weight": (64, 32, 1, 1),
    "SCM1.main.2.main.0.weight": (64, 64, 3, 3),
    "SCM1.main.3.main.0.weight": (125, 64, 1, 1),
    "SCM1.conv.main.0.weight": (128, 128, 1, 1),
    "SCM2.main.3.main.0.bias": (61,),
    "SCM2.conv.main.0.weight": (64, 64, 1, 1),
}


def test_names_and_shapes_are_those_of_the_published_checkpoints() -> None:
    state = MIMOUNet.from_preset("mimo-unet").state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED
    # every convolution has a bias and nothing else learns: 6 blocks of 8 ResBlocks, 26 other convolutions
    assert len(state) == 2 * (6 * 8 * 2 + 26)


@pytest.mark.parametrize(
    ("preset", "millions"),
    [("mimo-unet", 6.81), ("mimo-unet-plus", 16.11), ("mimo-unet-s", 0.98), ("mimo-unet-s2", 0.98)],
)
def test_sizes(preset: str, millions: float) -> None:
    assert parameter_count(MIMOUNet.from_preset(preset)) / 1e6 == pytest.approx(millions, abs=0.005)


def test_three_levels_come_back() -> None:
    net = MIMOUNet(8, (1, 2, 1)).eval()
    with torch.no_grad():
        shapes = [tuple(y.shape) for y in net(torch.rand(2, 3, 24, 40))]
    assert shapes == [(2, 3, 6, 10), (2, 3, 12, 20), (2, 3, 24, 40)]


def test_blocks_per_level_are_those_of_encoder_and_decoder() -> None:
    net = MIMOUNet(8, (1, 2, 3))
    assert [len(run.layers) for run in net.Encoder] == [1, 2, 3]
    assert [len(run.layers) for run in net.Decoder] == [3, 2, 1]
    assert blocks_per_level(4) == (4, 4, 4)


@pytest.mark.parametrize("num_res", [0, (1, 2), (1, 0, 2), (1, 2, 3, 4)])
def test_odd_block_counts_are_refused(num_res: object) -> None:
    with pytest.raises(ValueError, match="num_res"):
        blocks_per_level(num_res)  # type: ignore[arg-type]


def test_odd_widths_and_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        MIMOUNet(7)
    with pytest.raises(ValueError, match="mimo-unet-plus"):
        MIMOUNet.from_preset("mimo-unet-xl")


def test_training_starts_as_the_identity_and_can_learn() -> None:
    net = training_init(MIMOUNet(8, 1))
    x = torch.rand(1, 3, 16, 16)
    full = net(x)[2]
    assert torch.equal(full, x)
    full.square().mean().backward()
    gradient = net.feat_extract[5].main[0].weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0.0


@pytest.mark.parametrize("preset", list(PRESETS))
def test_lively_weights_change_the_image_by_about_its_range(preset: str) -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    net = lively_init(MIMOUNet.from_preset(preset), seed=0).eval()
    with torch.no_grad():
        change = (net(x)[2] - x).abs()
    assert 0.02 < float(change.max()) < 10.0


def test_two_scales_begin_as_half_of_either() -> None:
    """Of a network's weights on the image and on one of half its size; and both are taught."""
    one = lively_init(MIMOUNet(8, 1), seed=3).eval()
    two = MIMOUNet(8, 1, scales=2).eval()
    two.load_state_dict(one.state_dict(), strict=False)
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        fine, (quarter, half, result) = one(x), two(x)
        small = F.avg_pool2d(x, 2)
        coarse = one(small)[2] - small
        wanted = F.interpolate(coarse - F.avg_pool2d(fine[2] - x, 2), scale_factor=2, mode="bilinear")
    assert torch.equal(quarter, fine[0])
    assert torch.equal(half, fine[1])
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # nothing is beyond the rim
    torch.testing.assert_close(result[inner], (fine[2] + 0.5 * wanted)[inner], atol=1e-5, rtol=0)
    two(x)[2].square().mean().backward()
    assert float(two.blend.main[0].weight.grad.abs().max()) > 0.0


def test_three_scales_tell_each_other() -> None:
    """Without hints, two of them are as a network of two on half the image; and hints are taught."""
    two = lively_init(MIMOUNet(8, 1, scales=2), seed=3).eval()
    three = MIMOUNet(8, 1, scales=3).eval()
    three.load_state_dict(two.state_dict(), strict=False)
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    half = F.avg_pool2d(x, 2)
    with torch.no_grad():
        _, _, _, change = three.change(half, half[..., ::2, ::2], half[..., ::4, ::4], 2)
        torch.testing.assert_close(change, two(half)[2] - half)
    three(x)[2].square().mean().backward()
    assert float(three.hint.main[0].weight.grad.abs().max()) > 0.0
    with pytest.raises(ValueError, match="1, 2 or 3"):
        MIMOUNet(8, 1, scales=4)


def test_lively_weights_follow_the_seed() -> None:
    one, same, other = (lively_init(MIMOUNet(8, 1), seed) for seed in (3, 3, 4))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    name = "FAM1.merge.main.0.weight"
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_dropout_acts_in_training_alone() -> None:
    net = lively_init(MIMOUNet(8, 1, dropout=0.5))
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(net.train()(x)[2], net(x)[2])
        assert torch.equal(net.eval()(x)[2], net(x)[2])
