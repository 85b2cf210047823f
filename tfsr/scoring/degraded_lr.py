"""Gains of upscalers over bicubic on degraded LR: compressed, noisy, or both."""

from collections.abc import Mapping

from tfsr.data import JPEG, BenchmarkFolder, Chain, GaussianNoise
from tfsr.data.degradation_type import BICUBIC, Degradation
from tfsr.metrics import key_of
from tfsr.scoring.evaluation import baseline, evaluate
from tfsr.upscaling.upscalers import Upscaler

NOISE = GaussianNoise(5).rounded()
DEGRADED_LR: dict[str, Degradation] = {
    **{f"JPEG of quality {q}": Chain((BICUBIC, JPEG(q))) for q in (95, 75, 60, 30)},
    "noise of sigma 5": Chain((BICUBIC, NOISE)),
    "both, 5 and 60": Chain((BICUBIC, NOISE, JPEG(60))),
}
BLIND: dict[str, dict[str, Degradation]] = {  # for blind restoration
    "jpeg": {f"quality {q}": JPEG(q) for q in (10, 20, 40, 75, 90)},
    "noise": {f"sigma {s}": GaussianNoise(s).rounded() for s in (15, 25, 50)},
}


def gains(
    upscalers: Mapping[str, Upscaler], images: BenchmarkFolder
) -> tuple[float, dict[str, float]]:
    """Returns the PSNR of bicubic and each upscaler's gain over it by name, in dB.

    Args:
        upscalers: Upscalers for the scale and the channels of the images.
        images: Pairs of LR and HR.
    """
    key = key_of("psnr", images.channels)

    def psnr(upscaler):
        return evaluate(upscaler, images, ("psnr",))["mean"][key]

    before = psnr(baseline(images))
    return before, {
        name: psnr(upscaler) - before for name, upscaler in upscalers.items()
    }
