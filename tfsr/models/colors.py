"""The colour residual of networks whose main chain works on luma: SESR and FFDNet.

R, G and B share the residual of luma. Another residual is computed from colour
differences without biases, so it is 0 where they are 0: gray pixels stay exactly gray,
also in int8.
"""

import keras
from keras import ops

from tfsr.layers import GroupedConv2D


def color_residual(
    luma: keras.KerasTensor,
    differences: keras.KerasTensor,
    features: keras.KerasTensor,
    filters: int,
    blocks: int = 0,
) -> keras.KerasTensor:
    """Returns the residual of R, G and B, `(B, H, W, 3n)`, pixel by pixel.

    Args:
        luma: The residual that R, G and B share, `(B, H, W, n)` for n pixels.
        differences: Colour differences, 0 where there is no colour, `(B, H, W, d)`.
        features: Features of the chain, `(B, H, W, c)`. A 1x1 convolution of them
            multiplies the colour features, as both have details at the same positions.
        filters: Channels of the colour features.
        blocks: Convolutions with ReLU of the colour features before that product.
    """
    x = differences
    for b in range(blocks):
        x = _without_bias(filters, f"colors_{b}", initializer="he_normal")(x)
        x = keras.layers.ReLU(name=f"colors_relu_{b}")(x)
    x = _without_bias(filters, "colors")(x)
    gate = GroupedConv2D(filters, 1, name="color_gate")(features)
    x = keras.layers.Multiply(name="gated_colors")([x, gate])
    pixels = luma.shape[-1]  # other scales need other weights
    x = _without_bias(3 * pixels, f"color_tail_{pixels}")(x)
    shared = ops.repeat(luma, 3, axis=-1)
    return keras.layers.Add(name="color_skip")([shared, x])


def _without_bias(filters, name, **arguments):
    """Returns a 3x3 convolution without bias, which maps zeros to zeros."""
    return GroupedConv2D(filters, 3, use_bias=False, name=name, **arguments)
