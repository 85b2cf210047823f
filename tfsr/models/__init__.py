from collections.abc import Callable
from pkgutil import resolve_name

import keras

from tfsr.models.carn import carn, carn_m
from tfsr.models.cmsc import cmsc, pmsc, supervision_weights
from tfsr.models.ffdnet import ffdnet
from tfsr.models.luminance import in_color, luminance_scales, stages
from tfsr.models.ms3_carn import ms3_carn
from tfsr.models.scaling import scales, single_scale, training_scales
from tfsr.models.scn import scn, scn_pspnet, scn_unet, with_levels
from tfsr.models.sesr import sesr
from tfsr.models.srresnet import srresnet
from tfsr.models.vdsr import vdsr
from tfsr.networks import NETWORKS, Builders

MODELS: dict[str, Callable[..., keras.Model]] = Builders(
    {name: resolve_name(where) for name, where in NETWORKS.items()}
)

__all__ = [
    "MODELS",
    "carn",
    "carn_m",
    "cmsc",
    "ffdnet",
    "in_color",
    "luminance_scales",
    "ms3_carn",
    "pmsc",
    "scales",
    "scn",
    "scn_pspnet",
    "scn_unet",
    "sesr",
    "single_scale",
    "srresnet",
    "stages",
    "supervision_weights",
    "training_scales",
    "vdsr",
    "with_levels",
]
