"""What the GPU backends have in common: a plan that another library made, where it comes from, and how it is
cached, saved and sealed. What library makes and runs it is a `Library`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from mimo_rt import _core
from mimo_rt.array_runner import CHANNELS, ArrayRunner, Network
from mimo_rt.core import Pair
from mimo_rt.errors import BackendError, ModelError, PlanError, make
from mimo_rt.gpu_shapes import Shapes, shapes_for
from mimo_rt.temporary import replace_whole
from mimo_rt.typed_onnx import KeptLayers, typed

MOST_TILES = 64
"""In a batch."""

Progress: TypeAlias = Callable[[str, int, int], object]
"""Told a phase of a build, its step and how many it has, 0 where that is not known; False ends the build."""


@dataclass(frozen=True)
class Order:
    """A plan that is wanted. onnx: typed, in the precision wanted. batch: tiles at once. progress: told by
    libraries that take long."""

    onnx: bytes
    shapes: Shapes
    optimization_level: int | None
    batch: int = 1
    progress: Progress | None = None


class Library(Protocol):
    """Makes plans and runs them. backend: its name in `mimo_rt.build`. conditions: what a plan depends on
    beside what it was made from, such as the library's version and the GPU; people are told the first."""

    @property
    def backend(self) -> str: ...
    @property
    def conditions(self) -> dict[str, str]: ...
    def make_plan(self, order: Order) -> bytes:
        """Raises ModelError, BackendError."""

    def network(self, plan: bytes, facts: dict[str, Any], shapes: Shapes) -> Network:
        """In a context of its own. The plan was verified. Raises PlanError where the library refuses it all
        the same, BackendError, MemoryLimitError."""


def build(
    library: Library,
    source: str | bytes,
    *,
    precision: str = "fp32",
    tile: int | Pair | None = None,
    batch: int = 1,
    optimization_level: int | None = None,
    keep_fp32: KeptLayers = (),
    fused_blocks: bool = False,
    half_images: bool = False,
    cache: bool = True,
    progress: Progress | None = None,
) -> GpuCore:
    """An engine core of an ONNX file, from the cache where the very same plan is there. Raises ModelError,
    BackendError."""
    if optimization_level is not None and not 0 <= optimization_level <= 5:
        raise make(
            BackendError, "backend.level", f"optimization_level goes from 0 to 5, not {optimization_level}"
        )
    if batch != 1:
        _check_batch(batch, tile, library)
    if fused_blocks and library.backend != "tensorrt":
        raise make(BackendError, "backend.option", "fused blocks are a plug-in of the backend tensorrt")
    if half_images and library.backend != "tensorrt":
        raise make(BackendError, "backend.option", "images in half precision are of the backend tensorrt")
    model = typed(source, precision, keep_fp32, fused_blocks, half_images)
    facts = _core.describe(model.given)
    shapes = shapes_for(tile, facts["stride"], facts["halo"])
    identity = {
        "backend": library.backend,
        "model": facts["model_sha256"],
        "precision": precision,
        "sizes": shapes.text,
        "optimization level": "default" if optimization_level is None else str(optimization_level),
        **({"batch": str(batch)} if batch != 1 else {}),
        **({"kept in fp32": " ".join(model.kept)} if model.kept else {}),
        **({"fused blocks": str(model.fused)} if model.fused else {}),
        **({"images": "fp16"} if half_images else {}),
    }
    conditions = {**library.conditions, "mimo_rt": _core.__version__}
    plan, reason = None, "the cache was not asked"
    if cache:
        try:
            plan, reason = _core.sealed_lookup(identity, conditions)
        except PlanError as error:
            cache, reason = False, str(error)

    def made() -> bytes:
        order = Order(model.onnx, shapes, optimization_level, batch, progress)
        new = library.make_plan(order)
        if cache:
            _core.sealed_store(identity, conditions, new)
        return new

    origin = "cache hit"
    again: Callable[[], bytes] | None = made
    if plan is None:
        plan, origin, again = made(), f"built: {reason}", None
    single = model.given if model.halved else None
    return GpuCore(library, plan, {**identity, **conditions}, facts, shapes, origin, single, again)


def _check_batch(batch: int, tile: int | Pair | None, library: Library) -> None:
    if library.backend != "tensorrt":
        raise make(BackendError, "backend.option", "batches of tiles are of the backend tensorrt")
    if tile is None:
        raise make(BackendError, "backend.option", "batches are of plans of one size: give tile")
    if not 0 < batch <= MOST_TILES:
        raise make(BackendError, "backend.option", f"a batch has 1 to {MOST_TILES} tiles, not {batch}")


class GpuCore:
    """A `mimo_rt.core.EngineCore`: a plan and what it was made from and for."""

    def __init__(
        self,
        library: Library,
        plan: bytes,
        key: dict[str, str],
        facts: dict[str, Any],
        shapes: Shapes,
        origin: str,
        single: bytes | None = None,
        again: Callable[[], bytes] | None = None,
    ) -> None:
        """single: the fp32 model that an fp16 plan was made of, where it is at hand. again: builds a cached
        plan anew, where the library refuses it."""
        self._library = library
        self._single = single
        self._again = again
        self._lock = threading.Lock()
        self._plan = plan
        self._facts = facts
        self.shapes = shapes
        self.key = key
        self.origin = origin
        self.target = " ".join(next(iter(library.conditions.items())))
        self.precision = key["precision"]
        self.producer = f"mimo_rt {key['mimo_rt']}"
        self.metadata: dict[str, str] = facts["metadata"]
        self.stride: int = facts["stride"]
        self.receptive_field: Pair = facts["receptive_field"]
        self.halo: int = facts["halo"]
        self.parameters: int = facts["parameters"]
        self.macs_per_pixel: float = facts["macs_per_pixel"]
        self.channels: Pair = facts["channels"]
        self.packed_bytes = len(plan)

    def layers(self) -> list[dict[str, Any]]:
        """Nothing: what the layers became is known on the GPU alone."""
        return []

    def save(self, path: str) -> None:
        """Sealed with this user's secret: it opens for the same user on the same machine."""
        sizes = (self.shapes.smallest, self.shapes.best, self.shapes.largest)
        fields = {**self.key, "facts": json.dumps(self._facts), "shapes": json.dumps(sizes)}
        data = _core.seal(fields, self._plan)
        try:
            replace_whole(Path(path), data)
        except OSError as error:
            raise make(
                PlanError, "plan.write_failed", f"cannot write {path!r}: {error.strerror or error}"
            ) from error

    def runner(
        self, *, threads: int, memory: int, ensemble: int, tiles: str, tile: Pair, halo: int
    ) -> ArrayRunner:
        """A runner of its own context and memory. BackendError where no GPU runs it."""
        del threads  # of the host; the work is the GPU's
        if self.channels != (CHANNELS, CHANNELS):
            raise make(
                ModelError,
                "model.not_an_image_network",
                "the model does not turn a 3-channel image into one of the same size",
            )
        return ArrayRunner(
            self._network(),
            memory=memory,
            ensemble=ensemble,
            tiles=tiles,
            tile=tile,
            halo=halo,
            why_non_finite=self._why_non_finite,
        )

    def _network(self) -> Network:
        plan = self._plan
        try:
            return self._library.network(plan, self._facts, self.shapes)
        except PlanError as error:
            with self._lock:
                if self._plan is plan:  # no other thread was here before
                    if self._again is None:
                        raise
                    self._plan, self._again = self._again(), None
                    self.packed_bytes = len(self._plan)
                    self.origin = f"built: the cached plan was refused: {error}"
        return self._library.network(self._plan, self._facts, self.shapes)

    def _why_non_finite(self) -> str:
        """A sentence on why a result is not finite, and what helps."""
        if self.precision != "fp16":
            return "the model itself computes them, or the plan is broken"
        if self._single is None:
            return (
                "half precision is too narrow for the model; build it again with keep_fp32 auto, which looks "
                "for the layers to keep in fp32, or with precision fp32"
            )
        from mimo_rt.half_range import advice

        return advice(self._single)


def library_of(backend: str) -> Library:
    """The library of a backend. BackendError where it is not to be had here."""
    if backend == "tensorrt-rtx":
        from mimo_rt.tensorrt_rtx import RtxLibrary

        return RtxLibrary()
    from mimo_rt.tensorrt import TensorRtLibrary

    return TensorRtLibrary()


def load(sealed: bytes) -> GpuCore:
    """An engine core of a plan file. PlanError where the seal is wrong, or the plan was made by another
    version of the library or for another GPU; BackendError where its library is not here."""
    fields, plan = _core.unseal(sealed)
    if "facts" not in fields:
        raise make(
            PlanError,
            "plan.not_a_plan",
            "the file is sealed by mimo_rt and no plan to run: a cache of its own",
        )
    facts = json.loads(fields.pop("facts"))
    for name in ("channels", "receptive_field"):
        facts[name] = tuple(facts[name])
    shapes = Shapes(*(tuple(size) for size in json.loads(fields.pop("shapes"))))
    library = library_of(fields["backend"])
    for name, value in library.conditions.items():
        if fields.get(name) != value:
            raise make(
                PlanError,
                "plan.other_conditions",
                f"the plan was made for {name} {fields.get(name)}, and here it is {value}; build it again "
                "from the ONNX file",
            )
    return GpuCore(library, plan, fields, facts, shapes, "plan file")
