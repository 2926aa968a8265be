"""Time a model: the same as `mimo-rt bench`, whose options it takes.

python benchmarks/bench.py --onnx=mimo-unet.onnx --shapes=720x1280 --threads=2
"""

import sys

from mimo_rt.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
