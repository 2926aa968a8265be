"""Makes the MindSpore checkpoints of this folder: ``python make_mindspore.py`` where mindspore 2.10 and numpy
< 2 are.

A MIMO-UNet of width 4 with one ResBlock a level, its features resampled by ``ResizeBilinearV2(False, False)``
as in MindSpore's model zoo, with random weights. Written by MindSpore itself:

- mindspore.ckpt: its parameters alone;
- mindspore_training.ckpt: in half precision, behind a wrapper's prefix, with an optimizer's moments, its
counters and
  loss-scale entries beside them;
- mindspore_output.npz: a picture, and what MindSpore makes of it with the first and with the second.
"""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

HERE = Path(__file__).parent
WIDTH = 4


class Basic(nn.Cell):
    def __init__(self, cin, cout, kernel, stride=1, relu=True, transpose=False):
        super().__init__()
        kind = nn.Conv2dTranspose if transpose else nn.Conv2d
        padding = kernel // 2 - 1 if transpose else kernel // 2
        conv = kind(cin, cout, kernel, stride=stride, pad_mode="pad", padding=padding, has_bias=True)
        self.main = nn.SequentialCell([conv, nn.ReLU()] if relu else [conv])

    def construct(self, x):
        return self.main(x)


class Res(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        self.main = nn.SequentialCell(
            [Basic(channels, channels, 3), Basic(channels, channels, 3, relu=False)]
        )

    def construct(self, x):
        return self.main(x) + x


class Blocks(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.SequentialCell([Res(channels)])

    def construct(self, x):
        return self.layers(x)


class Aff(nn.Cell):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.SequentialCell([Basic(cin, cout, 1), Basic(cout, cout, 3, relu=False)])

    def construct(self, *levels):
        return self.conv(ops.concat(levels, 1))


class Scm(nn.Cell):
    def __init__(self, cout):
        super().__init__()
        half = cout // 2
        parts = [
            Basic(3, cout // 4, 3),
            Basic(cout // 4, half, 1),
            Basic(half, half, 3),
            Basic(half, cout - 3, 1),
        ]
        self.main = nn.SequentialCell(parts)
        self.conv = Basic(cout, cout, 1, relu=False)

    def construct(self, x):
        return self.conv(ops.concat((x, self.main(x)), 1))


class Fam(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        self.merge = Basic(channels, channels, 3, relu=False)

    def construct(self, x, gate):
        return x + self.merge(x * gate)


class Network(nn.Cell):
    def __init__(self, w):
        super().__init__()
        self.Encoder = nn.CellList([Blocks(w), Blocks(2 * w), Blocks(4 * w)])
        self.feat_extract = nn.CellList(
            [
                Basic(3, w, 3),
                Basic(w, 2 * w, 3, 2),
                Basic(2 * w, 4 * w, 3, 2),
                Basic(4 * w, 2 * w, 4, 2, transpose=True),
                Basic(2 * w, w, 4, 2, transpose=True),
                Basic(w, 3, 3, relu=False),
            ]
        )
        self.Decoder = nn.CellList([Blocks(4 * w), Blocks(2 * w), Blocks(w)])
        self.Convs = nn.CellList([Basic(4 * w, 2 * w, 1), Basic(2 * w, w, 1)])
        self.ConvsOut = nn.CellList([Basic(4 * w, 3, 3, relu=False), Basic(2 * w, 3, 3, relu=False)])
        self.AFFs = nn.CellList([Aff(7 * w, w), Aff(7 * w, 2 * w)])
        self.FAM1, self.SCM1, self.FAM2, self.SCM2 = Fam(4 * w), Scm(4 * w), Fam(2 * w), Scm(2 * w)
        self.bilinear = ops.ResizeBilinearV2(False, False)

    def resize(self, x, up):
        height, width = x.shape[2:]
        size = (height * 2, width * 2) if up else (height // 2, width // 2)
        return self.bilinear(x, size)

    def construct(self, x):
        x2 = self.resize(x, False)
        x4 = self.resize(x2, False)
        res1 = self.Encoder[0](self.feat_extract[0](x))
        res2 = self.Encoder[1](self.FAM2(self.feat_extract[1](res1), self.SCM2(x2)))
        z = self.Encoder[2](self.FAM1(self.feat_extract[2](res2), self.SCM1(x4)))
        up = self.resize(z, True)
        skip2 = self.AFFs[1](self.resize(res1, False), res2, up)
        skip1 = self.AFFs[0](res1, self.resize(res2, True), self.resize(up, True))
        z = self.feat_extract[3](self.Decoder[0](z))
        z = self.Decoder[1](self.Convs[0](ops.concat((z, skip2), 1)))
        z = self.Decoder[2](self.Convs[1](ops.concat((self.feat_extract[4](z), skip1), 1)))
        return self.feat_extract[5](z) + x


def fill(net, seed):
    rng = np.random.default_rng(seed)
    for parameter in net.get_parameters():
        shape = parameter.shape
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else 1
        spread = np.sqrt(2.0 / fan_in) if len(shape) == 4 else 0.05
        # As trained networks have them: small changes in the blocks, a smaller one at the end.
        if ".layers." in parameter.name and ".main.1." in parameter.name:
            spread *= 0.3
        if parameter.name.startswith("feat_extract.5."):
            spread *= 0.05
        parameter.set_data(Tensor((spread * rng.normal(size=shape)).astype(np.float32)))


def main():
    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    net = Network(WIDTH)
    fill(net, 5)
    x = np.random.default_rng(6).random((1, 3, 20, 28)).astype(np.float32)
    whole = net(Tensor(x)).asnumpy()
    ms.save_checkpoint(net, str(HERE / "mindspore.ckpt"))

    entries = []
    for parameter in net.get_parameters():
        half = parameter.asnumpy().astype(np.float16)
        entries.append({"name": f"network.{parameter.name}", "data": Parameter(Tensor(half))})
        parameter.set_data(Tensor(half.astype(np.float32)))
    for moment in ("moment1", "moment2"):
        for parameter in net.get_parameters():
            zeros = Tensor(np.zeros(parameter.shape, np.float16))
            entries.append({"name": f"{moment}.network.{parameter.name}", "data": Parameter(zeros)})
    for name, value in (
        ("learning_rate", 1e-4),
        ("beta1_power", 0.9),
        ("beta2_power", 0.99),
        ("scale_sense", 1024.0),
    ):
        entries.append({"name": name, "data": Parameter(Tensor(np.float32(value)))})
    for name in ("global_step", "current_iterator_step", "last_overflow_iterator_step"):
        entries.append({"name": name, "data": Parameter(Tensor(np.array([3], np.int32)))})
    ms.save_checkpoint(entries, str(HERE / "mindspore_training.ckpt"), append_dict={"epoch_num": 2})
    halved = net(Tensor(x)).asnumpy()
    np.savez_compressed(HERE / "mindspore_output.npz", image=x, whole=whole, halved=halved)


if __name__ == "__main__":
    main()
