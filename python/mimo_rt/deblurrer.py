"""Deblurrer: an engine plus working memory and everything about images; arrays and Pillow images in, the same
out."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mimo_rt import device_arrays, models, pixels, scale_choice
from mimo_rt import scale as scaling
from mimo_rt.array_runner import ArrayRunner
from mimo_rt.core import make_runner
from mimo_rt.engine import Engine, open_engine
from mimo_rt.errors import ImageError, ImageNote, make
from mimo_rt.scale_choice import ScaleChoice
from mimo_rt.sizes import parse_bytes

if TYPE_CHECKING:
    from PIL import Image

    Picture = TypeVar("Picture", NDArray[Any], Image.Image)

Model = Engine | str | os.PathLike[str] | bytes
Progress = Callable[[float], object]
"""Called with the fraction done in [0, 1]; returning False (not None) ends the run with ImageError."""

MAX_STRENGTH = 1.5
_NETWORK_SHARE = 0.95
"""Of the progress of a run at another scale than 1."""


@dataclass(frozen=True)
class Tiles:
    """Of one image size. height, width: of a tile, halo included; the padded image where count is 1."""

    height: int
    width: int
    halo: int
    count: int


class Deblurrer:
    """Removes motion blur from images, with one engine and one set of working memory.

    model: an Engine, a path to an ONNX or plan file, bytes of either, or a model's name. threads: 0
    for all cores that this process may use. memory: most bytes that a run may allocate, a number or a text
    such as "512M"; None for as much as is best. ensemble: 0 for one pass; 4 for the mean over the image's
    four rotations, 8 over their mirror images as well: a little better, as many times as slow, and one
    float32 frame (12 bytes a pixel) beside `memory`. order: channel order of colour arrays, "rgb" or "bgr"
    (Pillow images know their own). strength: 0 gives the input back bit for bit, 1 the network's result, up
    to 1.5 exaggerates it.

    tile: side of square tiles, or (height, width), halo included, that the network is run on one after
    another, instead of on bands of the whole frame; "auto" for as large as `memory` allows, the whole frame
    where it fits. For images so wide that even the lowest band takes more than `memory`; slower, since what
    lies in a halo is computed twice. halo: pixels beside a tile that are computed and thrown away; None for
    `engine.info.halo`, with which tiled equals untiled bit for bit on an engine of tactics "direct" and
    within 2e-5 on others. A smaller one leaves seams: `mimo_rt.seams.seam_error` tells how strong.

    Runs of one Deblurrer wait for each other; to run several images at once, make one a thread from a shared
    Engine. Raises ModelError, PlanError or BackendError where the model cannot be had, ImageError for options
    that make no sense.
    """

    def __init__(
        self,
        model: Model = "mimo-unet-s",
        *,
        threads: int = 0,
        memory: int | str | None = None,
        ensemble: int = 0,
        order: str = "rgb",
        strength: float = 1.0,
        tile: int | tuple[int, int] | str | None = None,
        halo: int | None = None,
    ) -> None:
        if order not in ("rgb", "bgr"):
            raise make(ImageError, "image.order", f'order must be "rgb" or "bgr", not {order!r}')
        if threads < 0:
            raise make(ImageError, "image.threads", f"threads must be 0 (all cores) or more, got {threads}")
        try:
            limit = 0 if memory is None else parse_bytes(memory)
        except ValueError as error:
            raise make(ImageError, "image.memory", f"memory: {error}") from None
        self._strength = _checked_strength(strength)
        self._bgr = order == "bgr"
        tiles, size = _checked_tile(tile, halo)
        self._engine = model if isinstance(model, Engine) else open_engine(model)
        self._core = make_runner(
            self._engine._core,
            threads=threads,
            memory=limit,
            ensemble=ensemble,
            tiles=tiles,
            tile=size,
            halo=-1 if halo is None else halo,
        )

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def threads(self) -> int:
        """How many threads a run uses."""
        return self._core.threads

    @property
    def last_times(self) -> dict[str, float]:
        """Seconds that the last run took: total, input (pixels to tensors), compute, output (tensors to
        pixels)."""
        return self._core.last_times

    @property
    def last_device_times(self) -> dict[str, float]:
        """On a GPU, milliseconds of the last run by its own events: to_device, compute, to_host (which may
        overlap) and the host's enqueue, summed over tiles. Empty on the processor, and where a backend does
        not tell."""
        return self._core.last_device_times if isinstance(self._core, ArrayRunner) else {}

    def device_profile(self, height: int, width: int, runs: int = 10) -> dict[str, list[float]]:
        """On a GPU, milliseconds of every layer of the plan in each of ``runs`` runs on one tile of an image
        of that size, by the library's names, which tell what it fused. It waits after each layer, so their
        sum is more than a run takes. Empty on the processor (see `last_layer_times`), and where a backend
        does not tell."""
        return self._core.profile(height, width, runs) if isinstance(self._core, ArrayRunner) else {}

    def device_layers(self) -> str:
        """On a GPU, the library's own description of the plan's layers, JSON; empty elsewhere, and where a
        backend does not tell."""
        return self._core.layers() if isinstance(self._core, ArrayRunner) else ""

    @property
    def last_layer_times(self) -> list[float]:
        """Seconds that each layer of `engine.layers()` took in the last run; empty before the first."""
        return self._core.last_layer_times

    def tiles_for(self, height: int, width: int) -> Tiles:
        """The tiles that an image of this size is run in. MemoryLimitError where none fits."""
        return Tiles(*self._core.tiles_for(height, width))

    def memory_for(self, height: int, width: int) -> int:
        """Bytes that a run at this size allocates at most, packed weights and the ensemble's frame included;
        the images themselves stand apart. MemoryLimitError where `memory` is too little for it."""
        return self._core.memory_for(height, width)

    @overload
    def run(
        self,
        image: NDArray[Any],
        *,
        out: NDArray[Any] | None = None,
        strength: float | None = None,
        scale: float | str = 1,
        progress: Progress | None = None,
    ) -> NDArray[Any]: ...
    @overload
    def run(
        self,
        image: Image.Image,
        *,
        out: None = None,
        strength: float | None = None,
        scale: float | str = 1,
        progress: Progress | None = None,
    ) -> Image.Image: ...
    def run(
        self,
        image: NDArray[Any] | Image.Image,
        *,
        out: NDArray[Any] | None = None,
        strength: float | None = None,
        scale: float | str = 1,
        progress: Progress | None = None,
    ) -> NDArray[Any] | Image.Image:
        """Deblur one image.

        image: an array (H, W) or (H, W, C) of uint8, uint16 or float32 (in [0, 1]; the result is
        clipped to it), where C = 1 is grey, 2 grey and alpha, 3 colour, 4 colour and alpha, any
        strides, any size from 1x1; or a Pillow image; or, where the backend is tensorrt, such an
        array on the GPU (PyTorch's, CuPy's, PyCUDA's: whatever shows itself by
        `__cuda_array_interface__` or DLPack), which is read and written where it lies, after what the
        caller's stream was given; the call returns when it is done, and where the result is not finite
        (a NaN in the image makes it so) raises BackendError and leaves `out` in parts. Returns the
        same kind, of the same size, type and channels; alpha is carried over untouched, grey comes
        back grey. Palette, 1-bit and CMYK images come back as RGB or RGBA, with an ImageNote warning.
        out: an array of the image's shape and dtype to put the result in; it may be the image itself.
        strength: overrides the Deblurrer's. scale: 0.5 or 0.25 run the network on the shrunk photo
        and add what it changes there, enlarged, for blur that is longer than the network sees; "auto"
        chooses by `choose_scale`. progress: called with the fraction done; returning False ends the
        run.

        Raises ImageError for anything else (another dtype, no pixels, NaN or infinity), MemoryLimitError
        where the run does not fit into the memory allowed. Releases the interpreter lock while it runs.
        """
        amount = self._strength if strength is None else _checked_strength(strength)
        size = scaling.checked(scale)
        if device_arrays.is_on_device(image):
            on_device: NDArray[Any] = self._run_on_device(image, out, amount, size)
            return on_device
        if isinstance(image, np.ndarray):
            return self._run_array(np.asarray(image), out, amount, size, self._bgr, progress)
        if not (hasattr(image, "mode") and hasattr(image, "getbands")):
            hint = "; open the file first" if isinstance(image, (str, os.PathLike)) else ""
            raise make(
                ImageError,
                "image.type",
                f"run takes an ndarray or a Pillow image, not {type(image).__name__}{hint}",
            )
        if out is not None:
            raise make(ImageError, "image.out", "out is for arrays; a Pillow image is always returned anew")
        return self._run_pil(image, amount, size, progress)

    def _run_on_device(self, image: Any, out: Any, strength: float, scale: float | None) -> Any:
        if not isinstance(self._core, ArrayRunner):
            raise make(
                ImageError,
                "image.device",
                "the image lies on a GPU and the engine runs on the processor: copy it to the host, or build "
                "the engine with backend tensorrt",
            )
        if scale != 1.0:
            raise make(ImageError, "image.scale", "an image on a GPU is run at scale 1")
        result = device_arrays.empty_like(image) if out is None else out
        if not device_arrays.is_on_device(result):
            raise make(ImageError, "image.out", "out must lie on the GPU as the image does")
        source, target = device_arrays.of_device(image), device_arrays.of_device(result, writable=True)
        if (source.shape, source.dtype) != (target.shape, target.dtype):
            raise make(ImageError, "image.out", "out must have the image's shape and dtype")
        if device_arrays.overlap(source, target):
            raise make(ImageError, "image.out", "an image on a GPU cannot be its own out")
        stream = device_arrays.stream_of(image)
        self._core.run_on_device(source, target, bgr=self._bgr, strength=strength, stream=stream)
        return result

    def _run_pil(
        self, image: Image.Image, strength: float, scale: float | None, progress: Progress | None
    ) -> Image.Image:
        from mimo_rt.pil import from_pil, to_pil

        try:
            converted = from_pil(image)
        except (OSError, SyntaxError, ValueError) as error:  # lazily opened files decode here
            raise make(ImageError, "image.decode", f"Pillow could not decode the image: {error}") from error
        for note in converted.notes:
            warnings.warn(note, ImageNote, stacklevel=3)
        result = self._run_array(converted.pixels, None, strength, scale, False, progress)
        sharp = to_pil(result, converted.mode)
        sharp.info = {k: v for k, v in image.info.items() if k != "transparency"}
        if not converted.keeps_profile:
            sharp.info.pop("icc_profile", None)
        return sharp

    def _run_array(
        self,
        image: NDArray[Any],
        out: NDArray[Any] | None,
        strength: float,
        scale: float | None,
        bgr: bool,
        progress: Progress | None,
    ) -> NDArray[Any]:
        pixels.check(image)
        if out is None:
            result: NDArray[Any] = np.empty(image.shape, image.dtype)
        else:
            pixels.check_out(out, image)
            result = np.asarray(out)
        source = pixels.readable(image)
        if out is not None and np.may_share_memory(source, result):
            source = source.copy()
        direct = result.dtype.isnative and result.flags.aligned
        work = result if direct else np.empty(image.shape, source.dtype)
        cancelled: list[BaseException] = []

        def tick(done: float) -> bool:
            # Ctrl-C arrives here, in the interpreter. What is raised ends the run, and again below.
            try:
                return progress is None or progress(done) is not False
            except BaseException as error:
                cancelled.append(error)
                return False

        try:
            # Without strength there is nothing to add, at any scale.
            size = 1.0 if strength == 0.0 else scale if scale is not None else self._choose(source, bgr).scale
            if size == 1.0:
                self._core.run(
                    pixels.colour(source), pixels.colour(work), bgr=bgr, strength=strength, progress=tick
                )
            else:
                self._run_shrunk(source, work, round(1 / size), strength, bgr, tick)
        except ImageError:
            if cancelled:
                raise cancelled[0] from None
            raise
        if image.ndim == 3 and image.shape[2] == 2:
            work[:, :, 1] = source[:, :, 1]
        if work is not result:
            result[...] = work
        return result if out is None else out

    def _run_shrunk(
        self,
        source: NDArray[Any],
        work: NDArray[Any],
        factor: int,
        strength: float,
        bgr: bool,
        tick: Callable[[float], bool],
    ) -> None:
        image, result = pixels.colour(source), pixels.colour(work)
        channels = 1 if image.shape[2] == 1 else 3
        small = scaling.shrink(image[:, :, :channels], factor)
        change = np.empty_like(small)
        self._core.run(small, change, bgr=bgr, progress=lambda done: tick(_NETWORK_SHARE * done))
        change -= small
        del small
        change *= np.float32(strength)

        def told(done: float) -> None:
            if not tick(_NETWORK_SHARE + (1 - _NETWORK_SHARE) * done):
                raise make(ImageError, "image.cancelled", "the run was ended before it was done")

        scaling.add_enlarged(image[:, :, :channels], change, factor, result[:, :, :channels], told)
        result[:, :, channels:] = image[:, :, channels:]

    def choose_scale(self, image: NDArray[Any]) -> ScaleChoice:
        """The scale that "auto" gives an array, and what it was chosen by (`mimo_rt.scale_choice`). It costs
        the network on at most four tiles of 512 x 512 pixels."""
        pixels.check(image)
        return self._choose(pixels.readable(np.asarray(image)), self._bgr)

    def _choose(self, source: NDArray[Any], bgr: bool) -> ScaleChoice:
        def network(small: scaling.Float) -> scaling.Float:
            result = np.empty_like(small)
            self._core.run(small, result, bgr=bgr)
            return result

        image = pixels.colour(source)
        return scale_choice.choose(image[:, :, : 1 if image.shape[2] == 1 else 3], network)

    def __repr__(self) -> str:
        return f"<mimo_rt.Deblurrer {self.threads} threads, {self._engine!r}>"


def _checked_strength(strength: float) -> float:
    if not 0.0 <= strength <= MAX_STRENGTH:
        raise make(
            ImageError, "image.strength", f"strength must be between 0 and {MAX_STRENGTH}, got {strength}"
        )
    return float(strength)


def _checked_tile(tile: int | tuple[int, int] | str | None, halo: int | None) -> tuple[str, tuple[int, int]]:
    """How tiles are chosen and their (height, width), as the compiled Deblurrer takes them."""
    if halo is not None and not 0 <= halo < 1 << 31:
        raise make(ImageError, "image.halo", f"halo must be a number of pixels from 0, or None, not {halo}")
    if halo is not None and tile is None:
        raise make(ImageError, "image.halo", "halo is for tiles: give tile as well")
    if tile is None:
        return "none", (0, 0)
    if tile == "auto":
        return "chosen", (0, 0)
    size = (tile, tile) if isinstance(tile, int) else tile
    sound = isinstance(size, tuple) and len(size) == 2 and all(isinstance(s, int) for s in size)
    if not sound or not all(0 < int(s) < 1 << 31 for s in size):
        raise make(
            ImageError,
            "image.tile",
            f'tile must be a number of pixels, (height, width) or "auto", not {tile!r}',
        )
    return "fixed", (int(size[0]), int(size[1]))


_KEPT = 4
_kept: OrderedDict[tuple[object, ...], Deblurrer] = OrderedDict()
_kept_lock = threading.Lock()


def deblur(
    image: Picture,
    model: Model = "mimo-unet-s",
    *,
    threads: int = 0,
    memory: int | str | None = None,
    ensemble: int = 0,
    order: str = "rgb",
    strength: float = 1.0,
    scale: float | str = 1,
    progress: Progress | None = None,
) -> Picture:
    """Deblur one image: `Deblurrer(model, ...).run(image)`, with the last few Deblurrers kept for the next
    call.

    Takes what Deblurrer and Deblurrer.run take, returns what Deblurrer.run returns, and raises what they
    raise.
    """
    key = (_identity(model), threads, memory, ensemble, order)
    with _kept_lock:
        deblurrer = _kept.get(key)
        if deblurrer is None:
            deblurrer = Deblurrer(model, threads=threads, memory=memory, ensemble=ensemble, order=order)
            _kept[key] = deblurrer
            while len(_kept) > _KEPT:
                _kept.popitem(last=False)
        else:
            _kept.move_to_end(key)
    return deblurrer.run(image, strength=strength, scale=scale, progress=progress)


def _identity(model: Model) -> object:
    """What tells one model from another; a file that has changed is another model."""
    if isinstance(model, (Engine, bytes)):
        return model
    if isinstance(model, str) and (known := models.find(model)) is not None:
        return known
    path = Path(model)
    try:
        status = path.stat()
    except OSError:
        return str(path)  # opening it gives the error
    return str(path.resolve()), status.st_mtime_ns, status.st_size
