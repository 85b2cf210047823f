"""How a chain that works on luma, as SESR's and FFDNet's do, gives an image in colour.

R, G and B share the residual of luma. What else they get is computed from differences
of colours without a bias, so it is 0 where those are: gray pixels stay gray to the bit,
in 8 bits too.
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
        luma: The residual that they share, `(B, H, W, n)` of n pixels.
        differences: Differences of colours, 0 where there is no colour, `(B, H, W, d)`.
        features: Features of the chain, `(B, H, W, c)`. A 1x1 convolution of them
            multiplies those of the colours, as details of both lie at the same places.
        filters: Channels of the features of the colours.
        blocks: Convolutions with ReLU of the colours before that product.
    """
    x = differences
    for b in range(blocks):
        x = _without_bias(filters, f"colors_{b}", initializer="he_normal")(x)
        x = keras.layers.ReLU(name=f"colors_relu_{b}")(x)
    x = _without_bias(filters, "colors")(x)
    gate = GroupedConv2D(filters, 1, name="color_gate")(features)
    x = keras.layers.Multiply(name="gated_colors")([x, gate])
    pixels = luma.shape[-1]  # another scale's are others, not more of them
    x = _without_bias(3 * pixels, f"color_tail_{pixels}")(x)
    shared = ops.repeat(luma, 3, axis=-1)
    return keras.layers.Add(name="color_skip")([shared, x])


def _without_bias(filters, name, **arguments):
    """Returns a 3x3 convolution that gives zeros for zeros."""
    return GroupedConv2D(filters, 3, use_bias=False, name=name, **arguments)
