"""Losses by name: an entry of `LOSSES`, a Keras loss, is all that one needs.

Configs are checked by this table before Keras is loaded.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

EPSILON = 1e-3  # in the Charbonnier loss, as in LapSRN


def charbonnier(
    y_true: "keras.KerasTensor", y_pred: "keras.KerasTensor"
) -> "keras.KerasTensor":
    """Returns sqrt(difference^2 + epsilon^2) averaged over channels, `(B, H, W)`.

    Reference:
        Lai et al., CVPR 2017, https://arxiv.org/abs/1704.03915
    """
    from keras import ops

    return ops.mean(ops.sqrt(ops.square(y_true - y_pred) + EPSILON**2), axis=-1)


def squared_error_sum(
    y_true: "keras.KerasTensor", y_pred: "keras.KerasTensor"
) -> "keras.KerasTensor":
    """Returns half the sum of squared errors of each image, `(B,)`.

    Reference:
        Hu et al., 2018, equation (8), https://arxiv.org/abs/1802.08808
    """
    from keras import ops

    return ops.sum(ops.square(y_true - y_pred), axis=(1, 2, 3)) / 2


LOSSES = {
    "l1": "mae",
    "l2": "mse",
    "l2_sum": squared_error_sum,
    "charbonnier": charbonnier,
}
