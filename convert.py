"""`python convert.py` is `tfsr convert`."""

import sys

from tfsr.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
