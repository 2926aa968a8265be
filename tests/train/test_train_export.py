"""Export: what is written agrees with PyTorch and carries its labels; otherwise nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

import train.export as module  # noqa: E402
from mimo_rt import network  # noqa: E402
from train.export import ExportError, Labels, check, export, to_onnx  # noqa: E402
from train.model import MIMOUNet, lively_init  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("width", "num_res", "scales"), [(8, 1, 1), (16, (1, 2, 5), 1), (8, (1, 2, 1), 2), (8, (1, 1, 2), 3)]
)
def test_export_agrees_at_any_size(
    tmp_path: Path, width: int, num_res: int | tuple[int, int, int], scales: int
) -> None:
    net = lively_init(MIMOUNet(width, num_res, scales=scales), seed=5).eval()
    path = tmp_path / "net.onnx"
    assert export(net, path, Labels()) <= 1e-5
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, result.name) == ("image", "deblurred")
    for batch, height, width_ in ((1, 16, 16), (1, 5 * net.shape.stride, 144), (2, 64, 16)):
        x = np.random.default_rng(height).random((batch, 3, height, width_), dtype=np.float32)
        with torch.no_grad():
            wanted = net(torch.from_numpy(x))[2].numpy()
        np.testing.assert_allclose(session.run(None, {"image": x})[0], wanted, atol=1e-5)
    assert not list(tmp_path.glob("*.partial"))


def weights_digest(net: MIMOUNet) -> str:
    return network.weights_digest({name: value.detach().numpy() for name, value in net.state_dict().items()})


def test_labels_and_resize_are_as_documented(tmp_path: Path) -> None:
    net = lively_init(MIMOUNet(8, 1), seed=0)
    path = tmp_path / "net.onnx"
    export(net, path, Labels("3", "mimo-unet-s@3"))
    model = onnx.load(path)
    entries = {p.key: p.value for p in model.metadata_props}
    assert entries["mimo_rt.preset"] == "custom"
    assert entries["mimo_rt.version"] == "3"
    assert entries["mimo_rt.num_res"] == "1,1,1"
    assert entries["mimo_rt.weights_sha256"] == weights_digest(net)
    assert "mimo_rt.licence" not in entries
    resizes = [n for n in model.graph.node if n.op_type == "Resize"]
    assert len(resizes) == 6
    for node in resizes:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert attributes["mode"] == b"nearest"
        assert attributes["coordinate_transformation_mode"] == b"asymmetric"
        assert attributes["nearest_mode"] == b"floor"


def test_digest_follows_the_weights() -> None:
    net = lively_init(MIMOUNet(8, 1), seed=0)
    before = weights_digest(net)
    assert before == weights_digest(lively_init(MIMOUNet(8, 1), seed=0))
    with torch.no_grad():
        net.feat_extract[5].main[0].bias[1] += 1e-6
    assert weights_digest(net) != before


def test_disagreement_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lively_init(MIMOUNet(8, 1), seed=0)
    other = lively_init(MIMOUNet(8, 1), seed=1)
    foreign = to_onnx(other)
    with pytest.raises(ExportError, match="differs from PyTorch"):
        check(foreign, net)
    path = tmp_path / "net.onnx"
    monkeypatch.setattr(module, "to_onnx", lambda _net, dynamo: foreign)
    with pytest.raises(ExportError):
        export(net, path, Labels())
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train.export", "--preset", "mimo-unet-s", "-o", str(tmp_path / "s.onnx")]
    monkeypatch.setattr(sys, "argv", [*command, "--lively", "0"])
    module.main()
    assert (tmp_path / "s.onnx").stat().st_size <= 4_000_000  # what ships in the wheel
    torch.save(MIMOUNet(8, 1).state_dict(), tmp_path / "foreign.pt")
    monkeypatch.setattr(sys, "argv", [*command, "--weights", str(tmp_path / "foreign.pt")])
    with pytest.raises(SystemExit, match="export failed"):
        module.main()


def test_bilinear_features_are_one_network_in_pytorch_and_onnx(tmp_path: Path) -> None:
    net = lively_init(MIMOUNet(8, 1, resample="bilinear"), 2).eval()
    assert export(net, tmp_path / "b.onnx", Labels()) <= 1e-5
    model = onnx.load(str(tmp_path / "b.onnx"))
    modes = [
        attribute.s for node in model.graph.node for attribute in node.attribute if attribute.name == "mode"
    ]
    assert sorted(modes) == [b"linear"] * 3 + [b"nearest"] * 3
    nearest = lively_init(MIMOUNet(8, 1), 2).eval()
    x = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        assert float((net(x)[2] - nearest(x)[2]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="bicubic"):
        MIMOUNet(8, 1, resample="bicubic")


def test_doubling_without_half_pixel_centres() -> None:
    from train.model import up_bilinear

    row = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    assert up_bilinear(row)[0, 0].tolist() == [[0.0, 0.5, 1.0, 1.5, 2.0, 2.0]] * 2
