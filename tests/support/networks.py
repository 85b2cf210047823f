"""Every network of `MODELS`, as small as a test of what it does can have it."""

import keras

from tfsr.models import MODELS

SIZES = {
    "carn": {"filters": 8, "blocks": 1, "units": 1},
    "carn_m": {"filters": 16, "blocks": 1, "units": 1},
    "cmsc": {"stages": 2, "modules": 1, "filters": 4},
    "ffdnet": {
        "filters": 8,
        "blocks": 1,
        "colors": 8,
        "color_blocks": 1,
        "expanded": 16,
    },
    "ms3_carn": {"conv": "ms3", "filters": 8, "blocks": 1, "units": 1},
    "pmsc": {"modules": 2, "filters": 4},
    "scn": {"filters": 8, "blocks": 1},
    "scn_pspnet": {"filters": 8, "blocks": 1},
    "scn_unet": {"filters": 8, "blocks": 4},
    "sesr": {"filters": 8, "blocks": 1, "expanded": 16},
    "srresnet": {"filters": 8, "blocks": 1},
    "vdsr": {"layers": 3, "filters": 4},
}


def small(network, scale=None, **arguments):
    """Builds a network, with the same weights every time.

    `network` is a key of `SIZES` or the builder of one. The arguments add to those of
    `SIZES` or replace them; without a scale the network has its builder's.
    """
    name = getattr(network, "__name__", network)
    if scale is not None:
        arguments["scale"] = scale
    keras.utils.set_random_seed(0)
    return MODELS[name](**{**SIZES[name], **arguments})
