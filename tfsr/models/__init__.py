from tfsr.models.carn import carn, carn_m
from tfsr.models.ms3_carn import ms3_carn
from tfsr.models.scales import pick_scale, scales, single_scale
from tfsr.models.scn import scn, scn_pspnet, scn_unet, with_levels
from tfsr.models.srresnet import srresnet

MODELS = {
    "carn": carn,
    "carn_m": carn_m,
    "ms3_carn": ms3_carn,
    "scn": scn,
    "scn_pspnet": scn_pspnet,
    "scn_unet": scn_unet,
    "srresnet": srresnet,
}

__all__ = [
    "MODELS",
    "carn",
    "carn_m",
    "ms3_carn",
    "pick_scale",
    "scales",
    "scn",
    "scn_pspnet",
    "scn_unet",
    "single_scale",
    "srresnet",
    "with_levels",
]
