import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class Upsampler(keras.layers.Layer):
    """Enlarges a feature map by convolution, ReLU and pixel shuffle; x4 is x2 twice.

    The pixel shuffle works within each group of the convolution, so that a group's
    channels stay together as in CARN-M. In a group that gives C' channels, channel
    (i * s + j) * C' + c of the convolution is channel c at pixel (i, j) of s x s.

    Args:
        filters: Channels of the output and of the input.
        scale: Upscaling factor, 2, 3 or 4.
        groups: Groups of the convolutions; must divide `filters`.
        initializer: As for `GroupedConv2D`.

    Input shape:
        `(B, H, W, filters)`.

    Output shape:
        `(B, H * scale, W * scale, filters)`.

    Reference:
        Shi et al., CVPR 2016, https://arxiv.org/abs/1609.05158
    """

    def __init__(self, filters, scale, groups=1, initializer=None, **kwargs):
        super().__init__(**kwargs)
        if scale not in (2, 3, 4):
            raise ValueError(f"`scale` must be 2, 3 or 4. Received: scale={scale}.")
        self.filters = filters
        self.scale = scale
        self.groups = groups
        self.initializer = initializer
        self.steps = (2, 2) if scale == 4 else (scale,)
        self.convs = [
            GroupedConv2D(
                filters * step**2, 3, groups, initializer=initializer, name=f"conv_{i}"
            )
            for i, step in enumerate(self.steps)
        ]

    def build(self, input_shape):
        for conv in self.convs:
            conv.build((*input_shape[:-1], self.filters))

    def call(self, inputs):
        x = inputs
        for conv, step in zip(self.convs, self.steps, strict=True):
            x = self._shuffle(ops.relu(conv(x)), step)
        return x

    def compute_output_shape(self, input_shape):
        b, h, w, _ = input_shape
        return (b, h and h * self.scale, w and w * self.scale, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "scale": self.scale,
            "groups": self.groups,
            "initializer": self.initializer,
        }

    def _shuffle(self, x, step):
        if self.groups == 1:
            return ops.depth_to_space(x, step)
        parts = ops.split(x, self.groups, axis=-1)
        return ops.concatenate([ops.depth_to_space(p, step) for p in parts], axis=-1)
