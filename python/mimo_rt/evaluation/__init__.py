"""PSNR and SSIM of a model on a data set, in a way that others can check: the protocol, the files and the
model are written down beside every figure, and a subset never passes for the benchmark.

`evaluate` does it all and leaves a folder with images.csv, summary.json and report.html;
`mimo-rt eval` is its command line. See docs/evaluation.md.
"""

from mimo_rt.evaluation.backends import Backend, open_backend
from mimo_rt.evaluation.evaluate import Evaluation, evaluate, select
from mimo_rt.evaluation.metrics import psnr, ssim
from mimo_rt.evaluation.run import Failure

__all__ = ["Backend", "Evaluation", "Failure", "evaluate", "open_backend", "psnr", "select", "ssim"]
