"""`python -m mimo_rt` is the command line `mimo-rt`."""

import sys

from mimo_rt.cli import main

if __name__ == "__main__":
    sys.exit(main())
