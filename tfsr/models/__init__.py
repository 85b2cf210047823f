from tfsr.models.carn import carn, carn_m
from tfsr.models.scales import pick_scale, scales, single_scale

MODELS = {
    "carn": carn,
    "carn_m": carn_m,
}

__all__ = ["MODELS", "carn", "carn_m", "pick_scale", "scales", "single_scale"]
