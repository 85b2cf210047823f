"""Times the degradations, in patches per second: each kind, and chains of all kinds.

LR patches are 48x48. The chains apply every step to every patch; configs apply steps
with a probability, and are faster. Other programs slow the rates down, but hardly
change the CPU time, which is printed too.

python benchmarks/degradations.py FOLDER [--scale 2] [--steps 20]
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tfsr.data import (
    JPEG,
    Bicubic,
    Blur,
    Chain,
    GaussianNoise,
    ImageCache,
    PatchSampler,
    PoissonNoise,
    Resize,
)
from tfsr.data.degradation_type import after_bicubic
from tfsr.data.resize import KERNELS

BLUR = Blur([0.2, 2.0], ratio=[0.5, 1])
FILE = JPEG([30, 95], subsampling=["4:2:0", "4:4:4"])
NOISES = GaussianNoise([0, 6], gray=0.4), PoissonNoise([0, 6], gray=0.4)
RESIZE = Resize(list(KERNELS), antialias=0.8)
CHAINS = {
    "bicubic": Bicubic(),
    "resize": RESIZE,
    "bicubic, blur": Chain((Bicubic(), BLUR)),
    "bicubic, noise": Chain((Bicubic(), NOISES[0])),
    "bicubic, poisson": Chain((Bicubic(), NOISES[1])),
    "bicubic, jpeg": Chain((Bicubic(), FILE)),
    "one round": Chain((BLUR, RESIZE, *NOISES, FILE)),
    "two rounds": Chain((BLUR, *NOISES, FILE, RESIZE, BLUR, *NOISES, FILE)),
}


def main():
    """Prints the rates by one thread and by two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="of 16 patches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        for name, degradation in CHAINS.items():
            kept = after_bicubic(degradation) is not None
            images = ImageCache([options.folder], (options.scale,), cache, with_lr=kept)
            sampler = PatchSampler(images, 48, 16, degradation=degradation)
            used = time.process_time()
            one = rate(sampler, options.steps, 1)
            used = (time.process_time() - used) / (options.steps + 1) / sampler.batch
            two = rate(sampler, options.steps, 2)
            print(
                f"{name:18}{one:8.0f} patches/s by one thread, {two:6.0f} by two; "
                f"{used * 1e3:5.2f} ms of the processor each"
            )


def rate(sampler, steps, threads):
    """Returns patches a second."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(sampler.__getitem__, range(threads)))
        started = time.perf_counter()
        list(pool.map(sampler.__getitem__, range(steps)))
        return steps * sampler.batch / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
