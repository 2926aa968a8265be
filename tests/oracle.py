"""What a Deblurrer must return, computed slowly and plainly with ONNX Runtime and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114])


class Oracle:
    """A network under ONNX Runtime, and the image-level rules around it."""

    def __init__(self, model: bytes, stride: int = 4) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._stride = stride

    def infer(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The raw network on (N, C, H, W)."""
        name = self._session.get_inputs()[0].name
        return np.concatenate([self._session.run(None, {name: image[None]})[0] for image in x])

    def deblur(self, image: NDArray[Any], strength: float = 1.0, ensemble: int = 1) -> NDArray[Any]:
        """RGB or grey (H, W, 3) or (H, W), uint8, uint16 or float32: what comes back, before rounding, in [0,
        1]. ensemble: 1, 4 or 8, how many turns and mirror images to take the mean of."""
        top = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
        scaled = (image / top).astype(np.float32)
        colour = np.repeat(scaled[:, :, None], 3, axis=2) if image.ndim == 2 else scaled
        turned = [np.rot90(colour[:, ::-1] if k >= 4 else colour, k % 4) for k in range(ensemble)]
        results = [np.rot90(self._network(t), -k % 4) for k, t in enumerate(turned)]
        y = np.mean([r[:, ::-1] if k >= 4 else r for k, r in enumerate(results)], axis=0)
        if image.ndim == 2:
            y = y @ LUMA
        return np.clip(scaled + strength * (y - scaled), 0.0, 1.0)

    def _network(self, colour: NDArray[np.float32]) -> NDArray[np.float64]:
        """(H, W, 3) of any size through the network: padded right and at the bottom, cropped again."""
        height, width = colour.shape[:2]
        padded = colour
        for axis, size in ((0, height), (1, width)):
            amount = -size % self._stride
            pads = [(0, amount if a == axis else 0) for a in range(3)]
            padded = np.pad(padded, pads, mode="reflect" if amount <= size - 1 else "edge")
        y = self.infer(np.ascontiguousarray(padded.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
        return y[:height, :width].astype(np.float64)
