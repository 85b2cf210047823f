"""PSNR and SSIM as Keras metrics, for `compile` and `fit`."""

import keras
import numpy as np
from keras import ops

from tfsr.arguments import whole
from tfsr.data.bt601 import LUMA_BLACK, LUMA_WEIGHTS

WINDOW, SIGMA = 11, 1.5


class _OnLuma(keras.metrics.Mean):
    """The mean over images of a figure that is computed on the luma in 8 bits.

    As in `tfsr evaluate`, SR is clipped and rounded to 8 bits, and Y is that of BT.601,
    16 to 235. An image of one channel is used as it is.

    Attributes:
        window: Side of the smallest image, without its border, that can be scored.
    """

    window = 1

    def __init__(self, border: int = 0, name: str | None = None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.border = whole("border", border, least=0)

    def update_state(self, y_true, y_pred, sample_weight=None):
        hr, sr = (
            self._luma(*item) for item in (("y_true", y_true), ("y_pred", y_pred))
        )
        return super().update_state(self.figure(sr, hr), sample_weight)

    def get_config(self):
        return {**super().get_config(), "border": self.border}

    def _luma(self, name, image):
        """Returns `(B, h, w, 1)` without its border, on the scale of 8 bits."""
        image = ops.convert_to_tensor(image)
        kind = keras.backend.standardize_dtype(image.dtype)
        if "float" not in kind:
            raise ValueError(
                f"`{name}` must be floats in [0, 1]. Received: dtype={kind}."
            )
        image = ops.round(ops.clip(ops.cast(image, "float32"), 0, 1) * 255)
        if image.shape[-1] == 3:
            weights = np.float32(LUMA_WEIGHTS) / 255
            image = LUMA_BLACK + ops.sum(image * weights, axis=-1, keepdims=True)
        height, width = ops.shape(image)[1:3]
        n = self.border
        least = self.window
        known = [side for side in (height, width) if isinstance(side, int)]
        if min(known, default=least + 2 * n) < least + 2 * n:
            raise ValueError(
                f"{type(self).__name__} needs {least}x{least} pixels inside the "
                f"border. Received: {name} of {height}x{width}, border={n}."
            )
        return image[:, n : height - n, n : width - n]


@keras.saving.register_keras_serializable(package="tfsr")
class PSNR(_OnLuma):
    """Peak signal-to-noise ratio on the luma in dB, the mean over images.

    Args:
        border: Pixels shaved from each side; the scale in super-resolution.
        name: Shown by `fit`.
    """

    def __init__(self, border: int = 0, name: str = "psnr", **kwargs):
        super().__init__(border, name, **kwargs)

    def figure(self, sr, hr):
        error = ops.mean(ops.square(sr - hr), axis=(1, 2, 3))
        return 10 * ops.log10(255**2 / error)


@keras.saving.register_keras_serializable(package="tfsr")
class SSIM(_OnLuma):
    """Structural similarity on the luma, the mean over images.

    11x11 Gaussian window of sigma 1.5, as `tfsr.metrics.ssim`.

    Args:
        border: Pixels shaved from each side; the scale in super-resolution.
        name: Shown by `fit`.
    """

    window = WINDOW

    def __init__(self, border: int = 0, name: str = "ssim", **kwargs):
        super().__init__(border, name, **kwargs)

    def figure(self, sr, hr):
        # Around 128, so that float32 loses little where squares are subtracted.
        x, y = sr - 128, hr - 128
        mean_x, mean_y, xx, yy, xy = map(_blurred, (x, y, x * x, y * y, x * y))
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        variances = xx - mean_x**2 + yy - mean_y**2
        covariance = xy - mean_x * mean_y
        mean_x, mean_y = mean_x + 128, mean_y + 128
        similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
        return ops.mean(similarity, axis=(1, 2, 3))


def _blurred(image):
    """Returns `(B, h - 10, w - 10, 1)`, the Gaussian mean of every whole window."""
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    taps = np.float32(taps / taps.sum())
    rows = ops.conv(image, taps.reshape(-1, 1, 1, 1), padding="valid")
    return ops.conv(rows, taps.reshape(1, -1, 1, 1), padding="valid")
