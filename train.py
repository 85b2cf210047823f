"""`python train.py` is `tfsr train`."""

import sys

from tfsr.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
