"""Deblurring images that lie in a GPU's memory, without a copy to the host.

python examples/gpu_arrays.py torch IN OUT      (or pycuda)

Needs an NVIDIA GPU, `pip install 'mimo-rt[tensorrt]'`, and PyTorch or the extra `pycuda`. Whatever shows
itself by `__cuda_array_interface__` is taken the same way.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

import mimo_rt


def with_torch(deblurrer: mimo_rt.Deblurrer, photo: np.ndarray) -> np.ndarray:
    """On PyTorch's current stream: no synchronisation is needed before or after."""
    import torch

    image = torch.from_numpy(photo).cuda()
    sharp = deblurrer.run(image)  # a torch.Tensor on the GPU
    return sharp.cpu().numpy()


def with_pycuda(deblurrer: mimo_rt.Deblurrer, photo: np.ndarray) -> np.ndarray:
    """In the GPU's primary context, which mimo_rt works in too, on the default stream."""
    import pycuda.autoprimaryctx  # noqa: F401
    from pycuda import gpuarray

    image = gpuarray.to_gpu(photo)
    sharp = gpuarray.empty_like(image)
    deblurrer.run(image, out=sharp)
    return sharp.get()


def main() -> None:
    package, source, target = sys.argv[1:]
    with Image.open(source) as opened:
        photo = np.array(opened.convert("RGB"))
    engine = mimo_rt.build("mimo-unet-s", backend="tensorrt", precision="fp16")
    run = {"torch": with_torch, "pycuda": with_pycuda}[package]
    Image.fromarray(run(mimo_rt.Deblurrer(engine), photo)).save(target)


if __name__ == "__main__":
    main()
