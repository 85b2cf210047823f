"""Networks as users bring them: plain Keras models that tfsr has never seen.

Each comes with its mult-adds per input pixel, counted by hand.
"""

import keras
from keras import layers, ops


def conv(x, filters, side=3, activation=None):
    return layers.Conv2D(filters, side, padding="same", activation=activation)(x)


def prelu(x):
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(x)


def fsrcnn():
    """Dong et al., ECCV 2016: a transposed convolution at the end, x3."""
    lr = keras.Input((None, None, 3))
    x = prelu(conv(lr, 56, 5))
    x = prelu(conv(x, 12, 1))
    for _ in range(4):
        x = conv(x, 12)
    x = prelu(conv(prelu(x), 56, 1))
    sr = layers.Conv2DTranspose(3, 9, strides=3, padding="same")(x)
    return keras.Model(lr, sr)


def espcn():
    """Shi et al., CVPR 2016, x3."""
    lr = keras.Input((None, None, 3))
    x = conv(conv(lr, 64, 5, "tanh"), 32, activation="tanh")
    return keras.Model(lr, ops.depth_to_space(conv(x, 27), 3))


def abpn():
    """Du et al., CVPRW 2021: copies of the input as an anchor, and a clip, x2."""
    lr = keras.Input((None, None, 3))
    x = lr
    for _ in range(5):
        x = conv(x, 28, activation="relu")
    x = conv(conv(x, 12), 12) + ops.tile(lr, (1, 1, 1, 4))
    return keras.Model(lr, ops.clip(ops.depth_to_space(x, 2), 0.0, 1.0))


def span():
    """Wan et al., CVPRW 2024: SiLU, and gates of their own maps, x2."""
    lr = keras.Input((None, None, 3))
    x = head = conv(lr, 16)
    maps = [head]
    for _ in range(2):
        y = x
        for _ in range(3):
            y = layers.Activation("silu")(conv(y, 16))
        x = (y + x) * (ops.sigmoid(y) - 0.5)
        maps.append(x)
    x = conv(ops.concatenate(maps, axis=-1), 16, 1)
    return keras.Model(lr, ops.depth_to_space(conv(x, 12), 2))


def imdn():
    """Hui et al., ACM MM 2019: channels split off, and attention of the whole, x2."""
    lr = keras.Input((None, None, 3))
    x = head = conv(lr, 16)
    kept = []
    for filters in (16, 16, 16):
        x = layers.LeakyReLU(negative_slope=0.05)(conv(x, filters))
        part, x = x[..., :4], x[..., 4:]
        kept.append(part)
    x = ops.concatenate([*kept, conv(x, 4)], axis=-1)
    contrast = ops.std(x, axis=(1, 2), keepdims=True)
    contrast = contrast + layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = conv(conv(contrast, 4, 1, "relu"), 16, 1, "sigmoid")
    x = conv(x * gate, 16, 1) + head
    return keras.Model(lr, ops.depth_to_space(conv(x, 12), 2))


def unet():
    """Ronneberger et al., MICCAI 2015, made small: restores."""
    image = keras.Input((None, None, 3))
    first = conv(image, 8, activation="relu")
    second = conv(layers.MaxPooling2D()(first), 16, activation="relu")
    x = conv(layers.MaxPooling2D()(second), 32, activation="relu")
    x = layers.Conv2DTranspose(16, 2, strides=2)(x)
    x = conv(layers.Concatenate()([x, second]), 16, activation="relu")
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(x)
    x = conv(layers.Concatenate()([x, first]), 8, activation="relu")
    return keras.Model(image, layers.Add()([conv(x, 3), image]))


STRANGERS = {  # builder, scale, mult-adds per input pixel
    "fsrcnn": (fsrcnn, 3, 25 * 168 + 672 + 4 * 9 * 144 + 672 + 81 * 168),
    "espcn": (espcn, 3, 25 * 192 + 9 * 2048 + 9 * 864),
    "abpn": (abpn, 2, 9 * (84 + 4 * 784 + 336 + 144)),
    "span": (span, 2, 9 * (48 + 6 * 256) + 768 + 9 * 192),
    "imdn": (imdn, 2, 9 * (48 + 256 + 192 + 192 + 48) + 256 + 9 * 192),
    "unet": (
        unet,
        1,
        9 * (24 + 128 / 4 + 512 / 16 + 512 / 4 + 128 / 4 + 128 + 24) + 4 * 512 / 16,
    ),
}
