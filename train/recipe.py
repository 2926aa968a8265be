"""Recipes: everything a training run is made by, as a YAML file that a person can read.

``train/recipes/`` holds those that ship; a recipe is named by its file's stem (``gopro-1gpu``) or by a path.
Every entry is a field of `Recipe`, single entries are changed with ``--set key=value``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from mimo_rt.network import STRIDES
from train.blur import Shake
from train.loss import LOSSES
from train.model import PRESETS, MIMOUNet, training_init

FOLDER = Path(__file__).parent / "recipes"

FROM_WEIGHTS = "from-weights"
"""The preset of recipes whose network has the shape of the weights that ``--init`` names."""

OPTIMIZERS = ("adam", "muon")
SCHEDULES = ("constant", "halve", "linear")
PRECISIONS = ("fp32", "fp16", "bf16")
FLIPS = ("horizontal", "all")
STARTS = ("identity", "torch")


class RecipeError(ValueError):
    """A recipe that cannot be trained by; the message says which entry and why."""


def names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def changed(shake: Shake, entries: dict[str, Any]) -> Shake:
    """``shake`` with the entries of a recipe, whose ranges are lists, in place of its own."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    return replace(shake, **values)


@dataclass
class Recipe:
    """See train/recipes/gopro-1gpu.yaml and small-cpu.yaml, which say what each entry means."""

    name: str = ""
    """Where it came from; not an entry."""

    # the network
    preset: str = "mimo-unet-s"
    width: int | None = None
    num_res: int | list[int] | None = None
    scales: int | None = None
    start: str = "identity"

    # what it learns from
    seed: int = 1
    crop: int = 96
    batch: int = 14
    real: float = 0.25
    identity: float = 0.1
    flips: str = "all"
    flat: float = 2.5
    shake: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    validation: float = 0.0

    # how
    loss: str = "paper"
    optimizer: str = "muon"
    rate: float = 0.006
    rate_rest: float = 0.002
    momentum: float = 0.95
    decay: float = 0.0
    precision: str = "fp32"
    ema: float = 0.998
    clip: float = 1.0
    warmup: int = 50

    # how long
    epochs: int | None = None
    steps: int | None = None
    schedule: str = "linear"
    constant: float = 0.6
    halve_every: int = 500
    validate_every: int | None = None

    @classmethod
    def read(cls, source: Path | str, changes: list[str] | None = None) -> Recipe:
        """The recipe of that name or at that path with ``key=value`` changes on top; raises RecipeError."""
        path = Path(source)
        if not path.suffix and not path.is_file():
            path = FOLDER / f"{source}.yaml"
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(names())
            raise RecipeError(
                f"cannot read the recipe {source} ({error}); those that ship: {known}"
            ) from None
        except yaml.YAMLError as error:
            raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(entries, dict):
            raise RecipeError(f"{path} is not a table of entries")
        for change in changes or []:
            key, equals, value = change.partition("=")
            if not equals:
                raise RecipeError(f"{change!r} is not of the form key=value")
            entries[key] = yaml.safe_load(value)
        unknown = sorted(set(entries) - set(cls.__dataclass_fields__) | {"name"} & set(entries))
        if unknown:
            raise RecipeError(f"{path}: unknown entries {', '.join(map(str, unknown))}")
        recipe = cls(**{k: _number(v) for k, v in entries.items()}, name=path.stem)
        try:
            recipe.check()
        except (TypeError, AttributeError) as error:
            raise RecipeError(f"{path}: an entry has a value of the wrong kind ({error})") from None
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None
        return recipe

    def check(self) -> None:
        """Raises RecipeError where entries are out of range or do not go together."""
        choices = {
            "preset": (*PRESETS, FROM_WEIGHTS),
            "loss": tuple(LOSSES),
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
            "flips": FLIPS,
            "start": STARTS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise RecipeError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")
        if self.scales is not None and self.scales not in STRIDES:
            raise RecipeError(f"scales must be 1, 2 or 3, not {self.scales!r}")
        named = PRESETS.get(self.preset)
        stride = STRIDES[self.scales or (named.scales if named is not None else 1)]
        if self.crop < 16 or self.crop % stride or self.batch < 1:
            raise RecipeError(f"crop must be a multiple of {stride}, at least 16, and batch at least 1")
        for name in ("constant", "real", "identity", "ema"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise RecipeError(f"{name} must lie in 0..1")
        if not 0.0 <= self.validation <= 0.5:
            raise RecipeError("validation must lie in 0..0.5")
        if not 0.0 < self.rate < 1.0 or self.clip < 0.0 or self.warmup < 0 or self.halve_every < 1:
            raise RecipeError("rate must lie in 0..1, clip and warmup be 0 or more, halve_every 1 or more")
        if self.epochs is not None and self.steps is not None:
            raise RecipeError("a run is so many epochs or so many steps long, not both")
        if any(n is not None and n < 1 for n in (self.epochs, self.steps, self.validate_every)):
            raise RecipeError("epochs, steps and validate_every must be at least 1")
        if self.schedule == "halve" and self.epochs is None:
            raise RecipeError("the schedule 'halve' needs epochs")
        if self.by_epochs and self.identity:
            raise RecipeError("a recipe of epochs passes over its pairs; identity pairs have no place there")
        ends = [float(stage.get("until", -1)) for stage in self.stages]
        if ends != sorted(ends) or any(not 0.0 < end <= 1.0 for end in ends):
            raise RecipeError("every stage needs 'until', a share of the time, in rising order")

    @property
    def by_epochs(self) -> bool:
        """Whether every pair is seen once an epoch; else samples are drawn at random."""
        return self.epochs is not None

    def at(self, progress: float) -> tuple[Shake, float, float]:
        """Blur, share of real pairs and share of identity pairs at this share of the time."""
        shake, real, identity = self.blur(), self.real, self.identity
        for stage in self.stages:
            if progress < stage["until"]:
                blur = changed(shake, stage.get("shake", {}))
                return blur, stage.get("real", real), stage.get("identity", identity)
        return shake, real, identity

    @property
    def margin(self) -> int:
        """Pixels of photograph around a crop that its blurs need, the longest of all stages."""
        return max(self.at(end)[0].margin for end in (0.0, *(stage["until"] for stage in self.stages)))

    def network(self) -> MIMOUNet:
        """A fresh network: one that starts as the identity, or as PyTorch's own initialisation has it."""
        preset = PRESETS[self.preset]
        num_res = preset.num_res if self.num_res is None else self.num_res
        scales = preset.scales if self.scales is None else self.scales
        net = MIMOUNet(self.width or preset.width, num_res, preset.dropout, scales=scales)
        return training_init(net, self.seed) if self.start == "identity" else net

    def blur(self) -> Shake:
        """What blur is drawn from."""
        return changed(Shake(), self.shake)


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-4 for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
