"""Tiles: with the exact halo as if there were none; with less, as wrong as `seam_error` says; the options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from mimo_rt.cli import main
from mimo_rt.seams import seam_error


@pytest.fixture(scope="module")
def direct(model_file: Path) -> mimo_rt.Engine:
    return mimo_rt.build(model_file, tactics="direct")


def noise(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    image = np.random.default_rng(height * width).random((height, width, channels))
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return (image * top).astype(dtype)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 230),
    width=st.integers(1, 230),
    extra=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    channels=st.sampled_from([1, 3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    threads=st.sampled_from([1, 2]),
)
def test_tiled_is_untiled_bit_for_bit(
    direct: mimo_rt.Engine,
    height: int,
    width: int,
    extra: tuple[int, int],
    channels: int,
    dtype: Any,
    threads: int,
) -> None:
    image = noise(height, width, channels, dtype)
    least = 2 * direct.info.halo + direct.info.stride
    tiled = mimo_rt.Deblurrer(direct, threads=threads, tile=(least + extra[0], least + extra[1]))
    assert (tiled.run(image) == mimo_rt.Deblurrer(direct).run(image)).all()


def test_the_halo_of_the_tests_is_smaller_than_their_images(direct: mimo_rt.Engine) -> None:
    tiles = mimo_rt.Deblurrer(direct, tile=2 * direct.info.halo + 4).tiles_for(220, 230)
    assert tiles.count >= 4
    assert tiles.halo == direct.info.halo


def test_winograd_is_within_the_bound(engine: mimo_rt.Engine) -> None:
    image = noise(230, 210, dtype=np.float32)
    tiled = mimo_rt.Deblurrer(engine, tile=2 * engine.info.halo + 24)
    assert tiled.tiles_for(230, 210).count > 4
    assert np.abs(tiled.run(image) - mimo_rt.Deblurrer(engine).run(image)).max() <= 2e-5


@pytest.mark.parametrize("options", [{"ensemble": 4}, {"strength": 0.5}, {"order": "bgr"}])
def test_options_work_in_tiles(direct: mimo_rt.Engine, options: dict[str, Any]) -> None:
    image = noise(120, 131, 4)
    side = 2 * direct.info.halo + 16
    tiled = mimo_rt.Deblurrer(direct, tile=side, **options).run(image)
    assert (tiled == mimo_rt.Deblurrer(direct, **options).run(image)).all()


def test_a_smaller_halo_shows_and_seam_error_says_how_much(direct: mimo_rt.Engine) -> None:
    image = noise(128, 400, dtype=np.float32)
    found = [seam_error(direct, image, halo) for halo in (0, 8, direct.info.halo)]
    assert found[0] > found[1] > found[2] == 0.0
    untiled = mimo_rt.Deblurrer(direct).run(image)
    tiled = mimo_rt.Deblurrer(direct, tile=(128, 100), halo=8).run(image)
    worst = float(np.abs(tiled - untiled).max())
    assert 0.3 * found[1] < worst < 3 * found[1]  # at other places of the same noise


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (300, 3), (7, 9)])
def test_images_too_small_for_a_seam_have_none(direct: mimo_rt.Engine, shape: tuple[int, int]) -> None:
    assert seam_error(direct, noise(*shape), direct.info.halo) == 0.0
    small = noise(*shape)
    assert (mimo_rt.Deblurrer(direct, tile=512).run(small) == mimo_rt.Deblurrer(direct).run(small)).all()


def test_progress_rises_over_all_tiles_and_ends_the_run(engine: mimo_rt.Engine) -> None:
    tiled = mimo_rt.Deblurrer(engine, tile=2 * engine.info.halo + 24)
    told: list[float] = []
    tiled.run(noise(230, 210), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    with pytest.raises(mimo_rt.ImageError, match="ended"):
        tiled.run(noise(230, 210), progress=lambda done: done < 0.3)
    bad = noise(230, 210, dtype=np.float32)
    bad[229, 209, 2] = np.nan
    with pytest.raises(mimo_rt.ImageError, match="NaN"):
        tiled.run(bad)


def test_tiles_by_memory_fit_where_a_band_does_not(engine: mimo_rt.Engine) -> None:
    wide = noise(40, 6000)
    bands = mimo_rt.Deblurrer(engine, threads=1)
    assert mimo_rt.Deblurrer(engine, threads=1, tile="auto").tiles_for(40, 6000).count == 1  # it fits
    least = bands.memory_for(40, 6000)
    bound = least // 3
    with pytest.raises(mimo_rt.MemoryLimitError, match="Tiles"):
        mimo_rt.Deblurrer(engine, threads=1, memory=bound).run(wide)
    tiled = mimo_rt.Deblurrer(engine, threads=1, memory=bound, tile="auto")
    tiles = tiled.tiles_for(40, 6000)
    assert tiles.count > 1
    assert tiled.memory_for(40, 6000) <= bound
    assert np.abs(tiled.run(wide).astype(int) - bands.run(wide)).max() <= 1
    with pytest.raises(mimo_rt.MemoryLimitError, match="no tile"):
        mimo_rt.Deblurrer(engine, threads=1, memory=engine.info.packed_bytes + 1000, tile="auto").run(wide)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tile": 0}, "image.tile"),
        ({"tile": (64,)}, "image.tile"),
        ({"tile": "big"}, "image.tile"),
        ({"tile": 64.5}, "image.tile"),
        ({"tile": 1 << 40}, "image.tile"),
        ({"tile": 64, "halo": -2}, "image.halo"),
        ({"halo": 8}, "image.halo"),
    ],
)
def test_options_that_make_no_sense(engine: mimo_rt.Engine, options: dict[str, Any], code: str) -> None:
    with pytest.raises(mimo_rt.ImageError) as caught:
        mimo_rt.Deblurrer(engine, **options)
    assert caught.value.code == code


def test_a_tile_with_nothing_between_its_halos(engine: mimo_rt.Engine) -> None:
    small = mimo_rt.Deblurrer(engine, tile=2 * engine.info.halo)
    with pytest.raises(mimo_rt.ImageError, match=f"{2 * engine.info.halo + 4} pixels at least") as caught:
        small.run(noise(400, 400))
    assert caught.value.code == "image.tile"


def test_the_verb_says_what_the_seams_are(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.fromarray(noise(160, 200)).save(photo)
    base = ["deblur", str(photo), str(out), "-m", str(model_file), "--always", "--scale", "1", "--force"]
    assert main([*base, "--tile", "96", "--halo", "8"]) == 0
    said = capsys.readouterr().err
    assert "6 tiles of 96x96, halo 8" in said
    assert "levels where there is most detail" in said
    assert main([*base, "--tile", "512"]) == 0
    assert "one tile, the whole picture" in capsys.readouterr().err
    assert main([*base, "--tile", "auto", "--quiet"]) == 0
    untiled = tmp_path / "untiled.png"
    assert main(["deblur", str(photo), str(untiled), *base[3:]]) == 0
    assert untiled.read_bytes() == out.read_bytes()
    capsys.readouterr()
    assert main([*base, "--halo", "8"]) == 2
    assert "--tile" in capsys.readouterr().err
    for wrong in ("0", "axb", "64x"):
        with pytest.raises(SystemExit, match="2"):
            main([*base, "--tile", wrong])
        assert "--tile" in capsys.readouterr().err
