"""Draws the README's picture of the zoo: quality against int8 latency.

python tools/zoo_picture.py -o docs/pictures/zoo.png
"""

import argparse

from tfsr.report import zoo

SCALES = (2, 4)
PANEL = (6.5, 5.2)  # inches


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", required=True)
    print(zoo.draw(parser.parse_args().out, SCALES, PANEL))


if __name__ == "__main__":
    main()
