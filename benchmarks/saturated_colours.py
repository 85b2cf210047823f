"""Runs colours that calibration did not see through every released int8 file.

python benchmarks/saturated_colours.py [NETWORK ...]

Calibration sees the corners of the colour cube in fields of 36 pixels. Training for 8
bits sees the corners and edges of the cube in fields of 8 pixels and more. The images
here are flat fields of colours between these, and fields of 3, 5 and 13 pixels of
random corners. It prints the largest difference from the float network in 8-bit levels
and, for the fields, the share of values that differ by more than 4 levels.
"""

import argparse
import itertools
import json

import numpy as np

from tfsr.tflite.quantization.saturation import CORNERS, flat_field
from tfsr.tflite.verification import FIELD
from tfsr.upscaling.upscalers import to_uint8
from tfsr.zoo import catalogue, released
from tfsr.zoo.upscalers import load_upscaler

LEVELS = (0, 0.5, 1)  # of each channel: 27 colours, 19 of them no corners
WIDTHS = (3, 5, 13)  # pixels
LIMIT = 4  # levels, as for `tfsr verify`


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    wanted = parser.parse_args().networks
    widths = [f"fields of {width}" for width in WIDTHS]
    print(f"| network | flat mixtures | {' | '.join(widths)} |")
    print("| --- | --- |" + " --- |" * len(widths))
    for network, scale in networks():
        if wanted and network not in wanted:
            continue
        pair = upscalers(network, scale)
        found = [str(mixture_error(pair))]
        for width in WIDTHS:
            errors = differences(pair, corners(pair[0].channels, width))
            found.append(f"{errors.max()}, {np.mean(errors > LIMIT):.1%}")
        print(f"| {network} x{scale} | {' | '.join(found)} |", flush=True)


def networks():
    """Returns name and scale of every released network."""
    entries = json.loads((released.FOLDER / catalogue.INDEX).read_text())["models"]
    return [(entry["network"], entry["scale"]) for entry in entries]


def upscalers(network, scale):
    """Returns the upscalers of a network's int8 file and of its floats."""
    return (
        load_upscaler(released.int8_name(network, scale)),
        load_upscaler(network, scale),
    )


def mixture_error(pair):
    """Returns the largest difference of two upscalers on a mixture, in levels."""
    return max(
        differences(pair, flat_field(color, *FIELD)).max()
        for color in itertools.product(LEVELS, repeat=pair[0].channels)
        if {*color} - {0, 1}
    )


def corners(channels, width, side=72):
    """Returns an image of random corners, `(side, side, C)` in [0, 1]."""
    count = -(-side // width)
    colors = np.array([*CORNERS[channels].values()], np.float32)
    fields = colors[np.random.default_rng(0).integers(len(colors), size=(count, count))]
    return fields.repeat(width, 0).repeat(width, 1)[:side, :side]


def differences(pair, image):
    """Returns how far two upscalers are apart on an image, away from its borders."""
    ours, theirs = (to_uint8(upscaler(image)).astype(int) for upscaler in pair)
    thirds = [side // 3 for side in ours.shape[:2]]
    middle = tuple(slice(third, 2 * third) for third in thirds)
    return np.abs(ours - theirs)[middle]


if __name__ == "__main__":
    main()
