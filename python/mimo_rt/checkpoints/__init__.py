"""Checkpoints of other programs, read with numpy alone: PyTorch's two formats, safetensors, MindSpore's.

Files are hostile until proven otherwise: nothing in one is executed, lengths are checked before anything is
allocated, and what is not understood is refused. The format is told by what is in a file, not by its name.
"""

from mimo_rt.checkpoints.read import MINDSPORE, Checkpoint, is_checkpoint, read

__all__ = ["MINDSPORE", "Checkpoint", "is_checkpoint", "read"]
