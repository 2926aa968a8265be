"""Photographs that need nothing: every kind is what it says, and input and target are the same."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train import untouched as module  # noqa: E402
from train.data import Key, Samples  # noqa: E402
from train.recipe import Recipe  # noqa: E402
from train.untouched import KINDS, out_of_focus, untouched, with_text  # noqa: E402

pytestmark = pytest.mark.torch


def photo(size: int = 48) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((3, size, size), dtype=np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_an_image_of_eight_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KINDS", {k: float(k == kind) for k in KINDS})
    for seed in range(8):
        made = untouched(photo(), np.random.default_rng(seed))
        assert made.shape == (3, 48, 48)
        assert float(made.min()) >= 0.0
        assert float(made.max()) <= 1.0
        assert torch.allclose((made * 255).round(), made * 255, atol=1e-4)
    again = [untouched(photo(), np.random.default_rng(3)) for _ in range(2)]
    assert torch.equal(*again)


def test_out_of_focus_keeps_the_light() -> None:
    flat = torch.full((3, 32, 32), 0.5)
    assert torch.allclose(out_of_focus(flat, 5.5), flat, atol=1e-5)
    dot = torch.zeros(3, 41, 41)
    dot[:, 20, 20] = 1.0
    seen = out_of_focus(dot, 4.0) ** 2.2
    assert float(seen[0].sum()) == pytest.approx(1.0, abs=1e-3)
    ys, xs = torch.nonzero(seen[0] > 1e-5, as_tuple=True)
    assert float(torch.hypot(ys - 20.0, xs - 20.0).max()) <= 4.5


def test_text_has_ink_on_paper() -> None:
    made = with_text(torch.full((3, 64, 64), 0.5), np.random.default_rng(0))
    assert float(made.max() - made.min()) > 0.3


def test_samples_may_be_untouched() -> None:
    recipe = Recipe(crop=32, batch=2, real=0.0, identity=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    samples = Samples(recipe, [pixels], [], 2)
    for slot in range(12):
        given, wanted = samples[Key(0, slot, 0.5)]
        assert torch.equal(given, wanted)
