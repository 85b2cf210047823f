"""`python -m tfsr` is `tfsr`."""

import sys

from tfsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
