"""Joins batches of several scales before the body they share, and splits them after."""

import keras
from keras import ops

from tfsr.layers.lists import check_list


@keras.saving.register_keras_serializable(package="tfsr")
class JoinScales(keras.layers.Layer):
    """Stacks one batch per scale, all of one patch size, into a single batch.

    Input shape:
        A list of S tensors `(B, H, W, C)`.

    Output shape:
        `(S * B, H, W, C)`.
    """

    def build(self, input_shape):
        check_list(input_shape)

    def call(self, inputs):
        return ops.concatenate(inputs, axis=0)

    def compute_output_shape(self, input_shape):
        b, h, w, c = input_shape[0]
        return (b and b * len(input_shape), h, w, c)


@keras.saving.register_keras_serializable(package="tfsr")
class SplitScales(keras.layers.Layer):
    """Splits a batch that `JoinScales` stacked into one batch per scale.

    Args:
        scales: Number S of scales.

    Input shape:
        `(S * B, H, W, C)`.

    Output shape:
        A list of S tensors `(B, H, W, C)`.
    """

    def __init__(self, scales, **kwargs):
        super().__init__(**kwargs)
        self.scales = scales

    def call(self, inputs):
        return ops.split(inputs, self.scales, axis=0)

    def compute_output_shape(self, input_shape):
        b, h, w, c = input_shape
        return [(b and b // self.scales, h, w, c)] * self.scales

    def get_config(self):
        return {**super().get_config(), "scales": self.scales}
