"""Training samples: functions of seed, step and slot alone, drawn in the shares that the recipe asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from gopro_tree import make_gopro_tree  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from mimo_rt import ImageError  # noqa: E402
from mimo_rt.pairs import Pair  # noqa: E402
from train.data import Key, Samples, batches, load_pairs, part, turn  # noqa: E402
from train.frames import FramePair, Frames  # noqa: E402
from train.recipe import Recipe  # noqa: E402
from train.sources import gather, split_by_scene  # noqa: E402

pytestmark = pytest.mark.torch


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """Patches of colour with hard edges: something that blurs."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 6, axis=0), 6, axis=1)[:height, :width]


class Flat(Frames):
    """Frames that need no files."""

    def size(self, path: Path) -> tuple[int, int]:
        return 40, 40

    def crop(self, path: Path, y: int, x: int, side: int) -> np.ndarray:
        return np.full((side, side, 3), 10 if path.name == "blur" else 200, np.uint8)


def flat_pair() -> FramePair:
    return FramePair(Path("blur"), Path("sharp"), Flat())


def test_batches_hold_identity_and_real_pairs() -> None:
    recipe = Recipe(crop=16, batch=300, real=0.3, identity=0.2)
    samples = Samples(recipe, [scene(1, 120, 120)], [[flat_pair()]], 300)
    shares = {"identity": 0, "real": 0, "made": 0}
    batch = next(batches(samples, 0, lambda _: 0.0))
    for given_, wanted in zip(batch.given, batch.wanted, strict=True):
        if torch.equal(given_, wanted):
            shares["identity"] += 1
        elif float(wanted.mean()) == pytest.approx(200 / 255):
            assert float(given_.mean()) == pytest.approx(10 / 255)
            shares["real"] += 1
        else:
            shares["made"] += 1
    assert shares["identity"] / 300 == pytest.approx(0.2, abs=0.07)
    assert shares["real"] / 300 == pytest.approx(0.3, abs=0.08)
    with pytest.raises(ValueError, match="no pairs, and none of 1 photographs"):
        Samples(recipe, [scene(1, 50, 50)], [], 300)


def test_a_sample_depends_on_its_key_alone() -> None:
    recipe = Recipe(crop=16, batch=4, identity=0.0, real=0.0)
    first = Samples(recipe, [scene(1, 90, 90)], [], 4)
    second = Samples(recipe, [scene(1, 90, 90)], [], 8)
    for _ in range(3):
        first[Key(1, 1, 0.0)]
    for one, other in zip(first[Key(7, 2, 0.5)], second[Key(7, 2, 0.5)], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[Key(7, 3, 0.5)][0], first[Key(7, 2, 0.5)][0])


def test_an_epoch_passes_over_every_pair_once(tmp_path: Path) -> None:
    pairs = []
    for i in range(7):
        for half in ("blur", "sharp"):
            Image.fromarray(np.full((16, 16, 3), 10 * i, np.uint8)).save(tmp_path / f"{half}{i}.png")
        pairs.append(FramePair(tmp_path / f"blur{i}.png", tmp_path / f"sharp{i}.png", Frames()))
    recipe = Recipe(crop=16, batch=3, real=1.0, identity=0.0, epochs=2, flat=0.0)
    samples = Samples(recipe, [], [pairs], 3)
    assert (samples.steps_per_epoch, [samples.size(s) for s in range(4)]) == (3, [3, 3, 1, 3])
    source = batches(samples, 0, lambda _: 0.0)
    orders = []
    for _ in range(2):
        seen = [round(float(x.mean()) * 25.5) for _ in range(3) for x in next(source).given]
        assert sorted(seen) == list(range(7))
        orders.append(seen)
    assert orders[0] != orders[1]


@given(st.integers(1, 40), st.integers(1, 9))
def test_processes_share_a_joint_batch_out_whole(size: int, world: int) -> None:
    slots = [s for rank in range(world) for s in range(*part(size, rank, world))]
    assert slots == list(range(size))


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_see_what_one_sees(workers: int) -> None:
    recipe = Recipe(crop=16, batch=2, real=0.0, identity=0.2)
    samples = Samples(recipe, [scene(2, 80, 80)], [], 4)
    whole = batches(samples, 3, lambda _: 0.0)
    halves = [batches(samples, 3, lambda _: 0.0, rank=r, world=2, workers=workers) for r in range(2)]
    for _ in range(2):
        joint = next(whole).given
        assert torch.equal(joint, torch.cat([next(half).given for half in halves]))


def test_a_process_without_samples_counts_for_nothing() -> None:
    recipe = Recipe(crop=16, batch=2, real=1.0, identity=0.0, epochs=1, flat=0.0)
    samples = Samples(recipe, [], [[flat_pair()]], 4)
    weights = [next(batches(samples, 0, lambda _: 0.0, rank=r, world=2)).weight for r in range(2)]
    assert weights == [0.0, 2.0]


def test_turns_are_eight_different_ones() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert len({turn(image, k).tobytes() for k in range(8)}) == 8
    assert turn(image, 4).tolist() == image[:, ::-1].tolist()


def test_pairs_must_match(tmp_path: Path) -> None:
    for kind, size in (("blur", 8), ("sharp", 9)):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (size, 8)).save(tmp_path / kind / "a.png")
    with pytest.raises(ValueError, match="differ"):
        load_pairs(tmp_path, Frames())[0].load()
    (tmp_path / "sharp" / "a.png").unlink()
    with pytest.raises(ImageError, match="no sharp image"):
        load_pairs(tmp_path, Frames())


def test_frames_are_the_same_from_memory_a_decoded_file_and_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scene(4, 30, 40)).save(path)
    held, mapped, anew = Frames(), Frames(tmp_path / "cache"), Frames()
    assert held.hold([path, path])
    for frames in (held, mapped, mapped, anew):
        assert frames.size(path) == (30, 40)
        assert np.array_equal(frames[path], scene(4, 30, 40))
        assert np.array_equal(frames.crop(path, 3, 5, 16), scene(4, 30, 40)[3:19, 5:21])
    (decoded,) = (tmp_path / "cache").iterdir()
    decoded.write_bytes(decoded.read_bytes()[:100])  # cut short
    assert np.array_equal(mapped[path], scene(4, 30, 40))
    assert not Frames(in_memory=100).hold([path])
    Image.fromarray(scene(5, 30, 40)).save(path)  # another picture of the same name
    assert np.array_equal(mapped[path], scene(5, 30, 40))


def pair(name: str, scene: str) -> Pair:
    return Pair(name=name, scene=scene, frame="", blur=Path(), sharp=Path())


def test_validation_takes_whole_scenes() -> None:
    pairs = [pair(f"{s}/{i}", s) for s in "abcdef" for i in range(10)]
    trained, held, scenes = split_by_scene(pairs, 0.2)
    assert len(scenes) == 2
    assert {p.scene for p in held} == set(scenes)
    assert not {p.scene for p in trained} & set(scenes)
    assert len(trained) + len(held) == 60
    assert split_by_scene(pairs[::-1], 0.2)[2] == scenes
    assert split_by_scene(pairs, 0.0)[1] == []
    one = [pair(str(i), "") for i in range(10)]
    assert [p.name for p in split_by_scene(one, 0.2)[1]] == ["8", "9"]


def test_the_test_split_is_never_looked_at(tmp_path: Path) -> None:
    tree = make_gopro_tree(tmp_path / "tree")
    recipe = Recipe.read("gopro-1gpu", ["crop=32", "validation=0.3"])
    material = gather(recipe, None, tree, Frames())
    used = [p.blur for folder in material.folders for p in folder] + [p.blur for p in material.validation]
    assert len(used) == 9
    assert all("test" not in path.relative_to(tree).parts for path in used)
    assert len(material.scenes) == 1
    gamma = gather(recipe, None, tree, Frames(), gamma=True)
    assert gamma.folders[0][0].blur.parent.name == "blur_gamma"


def test_sharp_photographs_alone_are_enough(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(scene(i, 100, 90)).save(tmp_path / f"{i}.png")
    material = gather(Recipe.read("finetune", ["crop=32"]), None, tmp_path, Frames())
    assert (len(material.photographs), len(material.holdout), material.pairs) == (3, 1, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pairs"):
        gather(Recipe.read("finetune"), None, tmp_path / "empty", Frames())
