"""The network at half and quarter size, the rule that chooses, and what the verb does with photos that hardly
change."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from mimo_rt import scale, scale_choice
from mimo_rt.cli import main
from mimo_rt.cli.outcome import compare


def plain_shrink(image: NDArray[Any], factor: int) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    grown = np.pad(image, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    rows, columns = grown.shape[0] // factor, grown.shape[1] // factor
    blocks = grown.reshape(rows, factor, columns, factor, -1).astype(np.float64)
    return blocks.mean(axis=(1, 3)) / scale.top(image.dtype)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    factor=st.sampled_from([2, 4]),
)
def test_any_size(height: int, width: int, channels: int, dtype: Any, factor: int) -> None:
    image = (
        np.random.default_rng(height).random((height, width, channels)) * scale.top(np.dtype(dtype))
    ).astype(dtype)
    small = scale.shrink(image, factor)
    assert np.abs(small - plain_shrink(image, factor)).max() < 1e-6
    out = np.empty_like(image)
    scale.add_enlarged(image, np.zeros_like(small), factor, out)
    assert (out == image).all()
    scale.add_enlarged(image, np.ones_like(small), factor, out)  # the weights sum to one
    assert (out == scale.top(image.dtype)).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_a_ramp_is_enlarged_to_a_ramp(factor: int) -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.float32)[:, None, None] / 200, (96, 24, 3)).copy()
    small = scale.shrink(ramp, factor)
    out = np.empty_like(ramp)
    scale.add_enlarged(np.zeros_like(ramp), small, factor, out)
    inside = slice(2 * factor, -2 * factor)
    assert np.abs(out - ramp)[inside].max() < 1e-6


@pytest.mark.parametrize("size", [0.5, 0.25])
def test_bits_do_not_depend_on_bands_threads_or_memory(
    engine: mimo_rt.Engine, photo: NDArray[np.uint8], size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = mimo_rt.Deblurrer(engine).run(photo, scale=size)
    assert (wanted != photo).any()
    monkeypatch.setattr(scale, "_BAND", 1)
    for options in ({"threads": 1}, {"threads": 2, "memory": "64M"}):
        assert (mimo_rt.Deblurrer(engine, **options).run(photo, scale=size) == wanted).all()  # type: ignore[arg-type]


def test_channels_strength_order_and_place(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]) -> None:
    wanted = deblurrer.run(photo, scale=0.5)
    alpha = np.random.default_rng(1).integers(0, 256, (*photo.shape[:2], 1), np.uint8)
    both = deblurrer.run(np.concatenate([photo, alpha], axis=2), scale=0.5)
    assert (both[:, :, :3] == wanted).all()
    assert (both[:, :, 3:] == alpha).all()
    grey = deblurrer.run(np.concatenate([photo[:, :, :1], alpha], axis=2), scale=0.5)
    assert (grey[:, :, 0] == deblurrer.run(photo[:, :, 0], scale=0.5)).all()
    assert (grey[:, :, 1:] == alpha).all()
    assert (deblurrer.run(photo, scale=0.5, strength=0.0) == photo).all()
    own = photo.copy()
    assert deblurrer.run(own, out=own, scale=0.5) is own
    assert (own == wanted).all()
    turned = mimo_rt.Deblurrer(deblurrer.engine, order="bgr").run(photo[:, :, ::-1], scale=0.5)
    assert (turned[:, :, ::-1] == wanted).all()


def test_progress_rises_to_one_and_may_end_the_run(
    deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]
) -> None:
    seen: list[float] = []
    deblurrer.run(photo, scale=0.25, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    for until in (0.0, 0.96):
        with pytest.raises(mimo_rt.ImageError, match="ended"):
            deblurrer.run(photo, scale=0.25, progress=lambda done, until=until: done < until)  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [2, 0, 0.3, "half", "1"])
def test_wrong_scales(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], wrong: Any) -> None:
    with pytest.raises(mimo_rt.ImageError, match="scale") as caught:
        deblurrer.run(photo, scale=wrong)
    assert caught.value.code == "image.scale"


def test_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small only where both speak for it: detail is missing, and the network finds more to do there."""
    rng = np.random.default_rng(5)
    coarse = rng.random((16, 16, 1)).astype(np.float32)
    blurred = np.empty((1024, 1024, 1), np.float32)
    enlarged = scale.shrink(coarse, 1)
    for factor in (4, 4, 4):
        grown = np.empty((enlarged.shape[0] * factor,) * 2 + (1,), np.float32)
        scale.add_enlarged(np.zeros_like(grown), enlarged, factor, grown)
        enlarged = grown
    blurred[...] = enlarged
    monkeypatch.setattr(scale_choice, "LEAST_PIXELS", 1)

    def finds_more_when_small(small: scale.Float) -> scale.Float:
        return small + np.float32(8 / small.shape[0])

    def finds_less_when_small(small: scale.Float) -> scale.Float:
        return small + np.float32(small.shape[0] / 1e5)

    assert scale_choice.choose(blurred, finds_more_when_small).scale == 0.25
    assert scale_choice.choose(blurred, finds_less_when_small).scale == 1
    sharp = rng.random((1024, 1024, 1)).astype(np.float32)
    assert scale_choice.choose(sharp, finds_more_when_small).scale == 1


def test_next_to_no_change_is_not_worth_a_smaller_scale() -> None:
    lacks = {0.5: 0.0, 0.25: 0.0}
    for change, wanted in ((1.02, 0.25), (0.98, 1.0)):
        assert scale_choice.decide({1.0: 0.0, 0.5: 0.0, 0.25: change / 255}, lacks) == wanted
    assert scale_choice.decide({1.0: 0.0, 0.5: 1.02 / 255, 0.25: 0.98 / 255}, lacks) == 0.5


def test_the_page_holds_the_numbers_of_the_rule() -> None:
    page = " ".join((Path(__file__).parents[1] / "docs" / "cli.md").read_text().split())
    for scale_, name in ((0.25, "A quarter"), (0.5, "a half")):
        detail, change = scale_choice.LACK[scale_], scale_choice.MORE[scale_]
        assert re.search(
            rf"{name} (is chosen )?where detail is below {detail:g} and the change (there )?is more than "
            rf"{change:g} times that at full size",
            page,
        )
    assert f"below {255 * scale_choice.LEAST_CHANGE:g} level of 8 bits" in page


def test_small_photos_are_not_looked_at(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]) -> None:
    choice = deblurrer.choose_scale(photo)
    assert (choice.scale, choice.changes) == (1.0, {})
    assert (deblurrer.run(photo, scale="auto") == deblurrer.run(photo)).all()


def test_a_photo_that_hardly_changes_is_copied(
    tmp_path: Path, photo: NDArray[np.uint8], identity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(source, quality=50)
    command = ["deblur", str(source), "-m", str(identity_file), "--force", "--json"]
    target = tmp_path / "photo.deblurred.jpg"
    assert main(command) == 0
    said = capsys.readouterr()
    (entry,) = json.loads(said.out)["files"]
    assert (entry["copied"], entry["left_as_it_was"], entry["scale"]) == (True, True, 1.0)
    assert "the file was copied" in said.err
    assert target.read_bytes() == source.read_bytes()
    assert main([*command, "--always"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert not entry["copied"]
    assert target.read_bytes() != source.read_bytes()
    assert main([*command, "-o", str(tmp_path / "other.png")]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert (entry["copied"], entry["left_as_it_was"]) == (False, True)
    with Image.open(source) as before, Image.open(tmp_path / "other.png") as after:
        assert (np.asarray(before) == np.asarray(after)).all()


def test_a_photo_that_changes_is_written(
    tmp_path: Path, photo: NDArray[np.uint8], model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "photo.png"
    Image.fromarray(photo).save(source)
    assert main(["deblur", str(source), "-m", str(model_file), "--scale", "0.5"]) == 0
    assert "changed" in capsys.readouterr().err
    with Image.open(tmp_path / "photo.deblurred.png") as image:
        assert (np.asarray(image) != photo).any()


def test_outcomes() -> None:
    before = np.zeros((40, 50, 4), np.uint8)
    after = before.copy()
    after[:, :, 3] = 255  # alpha does not count
    assert compare(before, after).slight
    after[0, :2, :3] = 5  # 6 of 6000 values: 99.9 % are within
    assert compare(before, after).slight
    after[0, 2, 0] = 5
    assert not compare(before, after).slight
    deep = np.full((10, 10), 2 * 257, np.uint16)
    assert compare(np.zeros_like(deep), deep).mean == pytest.approx(2.0)
