"""Quality before and after, through mimo_rt itself: ``python benchmarks/quality.py --photos PHOTOS --json
quality.json``.

A thin entry to `train.evaluate`, which says what the sets are; needs the ``[train]`` extra for the
synthesis of blur.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train.evaluate import main

if __name__ == "__main__":
    main()
