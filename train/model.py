"""MIMO-UNet in PyTorch: one class for every width and depth.

The network is the one of Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring" (ICCV
2021). Parameter names equal those of the published checkpoints (``Encoder.0.layers.0.main.0.main.0.weight``
and so on), so their state dicts load unchanged; that is why attributes here are capitalised and why
building blocks hold a ``main``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mimo_rt import network

BlocksPerLevel: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class Preset:
    """Shape of a named network: channels at level 1, ResBlocks at levels 1, 1/2, 1/4, scales, dropout."""

    width: int
    num_res: tuple[int, int, int]
    scales: int = 1
    dropout: float = 0.0


PRESETS: dict[str, Preset] = {
    name: Preset(width, blocks, scales, dropout=0.1 if name == "mimo-unet-plus" else 0.0)
    for name, (width, blocks, scales) in network.PRESETS.items()
}


class BasicConv(nn.Module):
    """A convolution (or, with ``transpose``, a doubling transposed one) and, if ``relu``, a ReLU."""

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, *, relu: bool = True, transpose: bool = False
    ) -> None:
        super().__init__()
        conv: nn.Module
        if transpose:
            conv = nn.ConvTranspose2d(cin, cout, kernel, stride=stride, padding=kernel // 2 - 1)
        else:
            conv = nn.Conv2d(cin, cout, kernel, stride=stride, padding=kernel // 2)
        self.main = nn.Sequential(conv, nn.ReLU(inplace=True)) if relu else nn.Sequential(conv)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.main(x)
        return y


class ResBlock(nn.Module):
    """Two 3x3 convolutions around an identity; dropout acts on the branch, only while training."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.main = nn.Sequential(
            BasicConv(channels, channels, 3),
            BasicConv(channels, channels, 3, relu=False),
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.main(x)
        if self.training and self.dropout > 0.0:
            branch = F.dropout(branch, self.dropout)
        return branch + x


class Blocks(nn.Module):
    """A run of ResBlocks: what one level of the encoder or of the decoder is."""

    def __init__(self, channels: int, count: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ResBlock(channels, dropout) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class AFF(nn.Module):
    """Asymmetric feature fusion: all three levels, resampled to one size, concatenated and mixed."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(BasicConv(cin, cout, 1), BasicConv(cout, cout, 3, relu=False))

    def forward(self, *levels: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat(levels, dim=1))
        return y


class SCM(nn.Module):
    """Shallow features of the shrunken input image, with that image among them."""

    def __init__(self, cout: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            BasicConv(3, cout // 4, 3),
            BasicConv(cout // 4, cout // 2, 1),
            BasicConv(cout // 2, cout // 2, 3),
            BasicConv(cout // 2, cout - 3, 1),
        )
        self.conv = BasicConv(cout, cout, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat([x, self.main(x)], dim=1))
        return y


class FAM(nn.Module):
    """Lets the features of the shrunken image gate those that come down from the level above."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = BasicConv(channels, channels, 3, relu=False)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        y: Tensor = x + self.merge(x * gate)
        return y


def _down(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="nearest")


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def up_bilinear(x: Tensor) -> Tensor:
    """Doubled without half-pixel centres, along each axis 0 1 2 to 0 .5 1 1.5 2 2: a mode that PyTorch
    lacks."""
    for axis in (2, 3):
        following = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        both = torch.stack([x, 0.5 * (x + following)], axis + 1)
        x = both.flatten(axis, axis + 1)
    return x


def _channelwise(kernel: NDArray[np.float64]) -> Tensor:
    """Weights of a convolution of images that takes each channel through ``kernel``."""
    return torch.from_numpy((np.eye(3)[:, :, None, None] * kernel).astype(np.float32))


def blocks_per_level(num_res: BlocksPerLevel) -> tuple[int, int, int]:
    """``num_res`` as three counts, for the levels 1, 1/2, 1/4; raises ValueError."""
    counts = (num_res,) * 3 if isinstance(num_res, int) else tuple(num_res)
    if len(counts) != 3 or any(n < 1 for n in counts):
        raise ValueError(
            f"num_res must be one count or three (levels 1, 1/2, 1/4), each at least 1; got {num_res!r}"
        )
    return counts[0], counts[1], counts[2]


class MIMOUNet(nn.Module):
    """The network. Takes float32 NCHW in [0, 1] with height and width divisible by 4, 8 or 16, for 1, 2 or 3
    scales (see `mimo_rt.network`). resample: how features are enlarged, see
    `mimo_rt.network.RESAMPLINGS`.

    ``forward`` returns three images at levels 1/4, 1/2 and 1; the last is the result. Nothing is clipped.
    """

    def __init__(
        self,
        width: int = 32,
        num_res: BlocksPerLevel = 8,
        dropout: float = 0.0,
        resample: str = "nearest",
        scales: int = 1,
    ) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width must be even and at least 4, got {width}")
        if resample not in network.RESAMPLINGS:
            known = ", ".join(network.RESAMPLINGS)
            raise ValueError(f"resample must be one of {known}, got {resample!r}")
        if scales not in network.STRIDES:
            raise ValueError(f"scales must be 1, 2 or 3, got {scales}")
        w = width
        n1, n2, n4 = blocks_per_level(num_res)
        self.scales = scales
        self.width = width
        self.num_res = (n1, n2, n4)
        self.resample = resample
        self.Encoder = nn.ModuleList(
            [Blocks(w, n1, dropout), Blocks(2 * w, n2, dropout), Blocks(4 * w, n4, dropout)]
        )
        self.feat_extract = nn.ModuleList(
            [
                BasicConv(3, w, 3),
                BasicConv(w, 2 * w, 3, 2),
                BasicConv(2 * w, 4 * w, 3, 2),
                BasicConv(4 * w, 2 * w, 4, 2, transpose=True),
                BasicConv(2 * w, w, 4, 2, transpose=True),
                BasicConv(w, 3, 3, relu=False),
            ]
        )
        self.Decoder = nn.ModuleList(
            [Blocks(4 * w, n4, dropout), Blocks(2 * w, n2, dropout), Blocks(w, n1, dropout)]
        )
        self.Convs = nn.ModuleList([BasicConv(4 * w, 2 * w, 1), BasicConv(2 * w, w, 1)])
        self.ConvsOut = nn.ModuleList(
            [BasicConv(4 * w, 3, 3, relu=False), BasicConv(2 * w, 3, 3, relu=False)]
        )
        self.AFFs = nn.ModuleList([AFF(7 * w, w), AFF(7 * w, 2 * w)])
        self.FAM1 = FAM(4 * w)
        self.SCM1 = SCM(4 * w)
        self.FAM2 = FAM(2 * w)
        self.SCM2 = SCM(2 * w)
        if scales > 1:
            self.blend = BasicConv(3 * w, 3, 3, relu=False)
            self.register_buffer("enlarge", _channelwise(network.DOUBLE), persistent=False)
        if scales > 2:
            self.hint = BasicConv(3, w, 3, relu=False)
        start_scales(self)

    @classmethod
    def from_preset(cls, name: str) -> MIMOUNet:
        """The network of a preset's name; raises ValueError with the known names otherwise."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
        preset = PRESETS[name]
        return cls(preset.width, preset.num_res, preset.dropout, scales=preset.scales)

    @property
    def shape(self) -> network.Shape:
        """Width and blocks, and the preset that has them."""
        return network.Shape(self.width, self.num_res, self.scales)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], resample: str = "nearest") -> MIMOUNet:
        """A network of the width and depth that the weights have, with them in it, ready to run.

        The outputs at levels 1/4 and 1/2 serve training alone and may be missing (an export does not hold
        them). Raises mimo_rt.ModelError where the weights are not a MIMO-UNet's.
        """
        shape = network.shape_of({name: value.numpy() for name, value in weights.items()})
        net = cls(shape.width, shape.blocks, resample=resample, scales=shape.scales)
        net.load_state_dict(dict(weights), strict=False)
        return net.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x2 = _down(x)
        x4 = _down(x2)
        at_quarter, at_half, _, change = self.change(x, x2, x4, self.scales)
        quarter = self.ConvsOut[0](at_quarter) + x4
        half = self.ConvsOut[1](at_half) + x2
        return quarter, half, change + x

    def change(self, x: Tensor, x2: Tensor, x4: Tensor, scales: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The decoder's features at levels 1/4, 1/2 and 1 for an image and its two shrunken ones, and what
        the network adds to the image, looking at it at so many scales."""
        if scales == 1:
            at_quarter, at_half, at_full = self.features(x, x2, x4)
            return at_quarter, at_half, at_full, self.feat_extract[5](at_full)
        small = F.avg_pool2d(x, 2)
        small2 = _down(small)
        _, _, below, coarse = self.change(small, small2, _down(small2), scales - 1)
        kernel = self.get_buffer("enlarge").to(coarse.dtype)
        hint = None
        if self.scales > 2:
            hint = self.hint(F.conv_transpose2d(coarse, kernel, stride=2, padding=1))
        at_quarter, at_half, at_full = self.features(x, x2, x4, hint)
        change = self.feat_extract[5](at_full)
        measure = self.blend(torch.cat([at_half, below], dim=1))
        other = measure * (coarse - F.avg_pool2d(change, 2))
        change = change + F.conv_transpose2d(other, kernel, stride=2, padding=1)
        return at_quarter, at_half, at_full, change

    def features(
        self, x: Tensor, x2: Tensor, x4: Tensor, hint: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The decoder's features at levels 1/4, 1/2 and 1 for an image and its two shrunken ones; hint: what
        a smaller scale tells."""
        first = self.feat_extract[0](x) if hint is None else F.relu(_conv_of(self.feat_extract[0])(x) + hint)
        res1 = self.Encoder[0](first)
        res2 = self.Encoder[1](self.FAM2(self.feat_extract[1](res1), self.SCM2(x2)))
        z = self.Encoder[2](self.FAM1(self.feat_extract[2](res2), self.SCM1(x4)))

        up = _up if self.resample == "nearest" else up_bilinear
        half_of_quarter = up(z)
        skip2 = self.AFFs[1](_down(res1), res2, half_of_quarter)
        skip1 = self.AFFs[0](res1, up(res2), up(half_of_quarter))

        at_quarter = self.Decoder[0](z)
        z = self.Convs[0](torch.cat([self.feat_extract[3](at_quarter), skip2], dim=1))
        at_half = self.Decoder[1](z)
        z = self.Convs[1](torch.cat([self.feat_extract[4](at_half), skip1], dim=1))
        return at_quarter, at_half, self.Decoder[2](z)

    def output_convs(self) -> list[BasicConv]:
        """The three convolutions whose results are added to the input images (levels 1/4, 1/2, 1)."""
        convs = [self.ConvsOut[0], self.ConvsOut[1], self.feat_extract[5]]
        return [c for c in convs if isinstance(c, BasicConv)]


class FullResolution(nn.Module):
    """A MIMOUNet that returns the result at level 1 alone: what is exported."""

    def __init__(self, net: MIMOUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.net(image)[2]
        return result


def _scaled_kaiming(
    net: MIMOUNet, second_conv: float, output: float, generator: torch.Generator, deepest: int | None = None
) -> None:
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        for run in net.modules():
            if isinstance(run, Blocks):
                count = len(run.layers)
                calm = 1.0 if deepest is None else min(1.0, deepest / count) ** 0.5
                for block in run.layers:
                    if isinstance(block, ResBlock):
                        _conv_of(block.main[1]).weight.mul_(second_conv * calm)
        for conv in net.output_convs():
            _conv_of(conv).weight.mul_(output)


def _conv_of(basic: nn.Module) -> nn.Conv2d | nn.ConvTranspose2d:
    conv = basic.main[0] if isinstance(basic, BasicConv) else None
    if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
        raise TypeError(f"expected a BasicConv, got {type(basic).__name__}")
    return conv


def start_scales(net: MIMOUNet) -> None:
    """Where a network has several scales: half of the one and half of the other everywhere, and no hints,
    until it is taught better."""
    with torch.no_grad():
        for name, bias in (("blend", 0.5), ("hint", 0.0)):
            if hasattr(net, name):
                conv = _conv_of(getattr(net, name))
                conv.weight.zero_()
                assert conv.bias is not None
                conv.bias.fill_(bias)


def lively_init(net: MIMOUNet, seed: int = 0) -> MIMOUNet:
    """Fill ``net`` with lively weights: random ones of trained size, on which error figures mean something.

    Kaiming normal (relu) everywhere, biases uniform in +-0.05, the second convolution of each ResBlock x
    0.3, the three output convolutions x 0.02. Where a level has more than 8 ResBlocks, the 0.3 shrinks by
    sqrt(8 / blocks): with 20 blocks the output would otherwise stand at a hundred times the range of an
    image, which no trained network does, and fp32 itself would err by 5e-4 there. The same seed gives the
    same weights. Returns ``net``.
    """
    generator = torch.Generator().manual_seed(seed)
    _scaled_kaiming(net, 0.3, 0.02, generator, deepest=8)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                module.bias.uniform_(-0.05, 0.05, generator=generator)
    return net


def training_init(net: MIMOUNet, seed: int = 0) -> MIMOUNet:
    """Fill ``net`` so that it starts as the identity and learns at once. Returns ``net``.

    Kaiming normal (relu), biases zero, the second convolution of each ResBlock and the three output
    convolutions 0: a block that adds noise at the start is silenced for good before it learns anything.
    """
    generator = torch.Generator().manual_seed(seed)
    _scaled_kaiming(net, 0.0, 0.0, generator)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                module.bias.zero_()
    start_scales(net)
    return net


def parameter_count(net: nn.Module) -> int:
    """How many numbers ``net`` learns."""
    return sum(math.prod(p.shape) for p in net.parameters())
