"""Builds published networks as plain Keras models: RGB at x4, untrained.

The networks are as they run after training: branches that collapse are one convolution.
Activations are the authors', except where a docstring says otherwise. Each builder
takes the sides of LR; `(None, None)` leaves them open.
"""

from functools import partial

import keras
from keras import layers, ops

SIZE = (180, 320)  # of LR, of an output of 1280x720
SCALE = 4


def conv(x, filters, side=3, activation=None):
    return layers.Conv2D(filters, side, padding="same", activation=activation)(x)


def leaky(x):
    return layers.LeakyReLU(negative_slope=0.05)(x)


def prelu(x):
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(x)


def shuffled(lr, x):
    return keras.Model(lr, ops.depth_to_space(x, SCALE))


def image(size):
    return keras.Input((*size, 3))


def espcn(size=SIZE):
    """Shi et al., CVPR 2016; ReLU in place of tanh, as is usual since."""
    lr = image(size)
    x = conv(conv(lr, 64, 5, "relu"), 32, activation="relu")
    return shuffled(lr, conv(x, 48))


def fsrcnn(size=SIZE):
    """Dong et al., ECCV 2016: FSRCNN(56, 12, 4)."""
    lr = image(size)
    x = prelu(conv(prelu(conv(lr, 56, 5)), 12, 1))
    for _ in range(4):
        x = prelu(conv(x, 12))
    x = prelu(conv(x, 56, 1))
    sr = layers.Conv2DTranspose(3, 9, strides=SCALE, padding="same")(x)
    return keras.Model(lr, sr)


def sesr_paper(blocks, filters=16, size=SIZE):
    """Bhardwaj et al., MLSys 2022; ReLU in place of PReLU."""
    lr = image(size)
    x = head = conv(lr, filters, 5, "relu")
    for _ in range(blocks):
        x = conv(x, filters, activation="relu")
    return shuffled(lr, conv(x + head, 48, 5) + ops.tile(lr, (1, 1, 1, 16)))


def ecbsr(blocks, filters, size=SIZE):
    """Zhang et al., ACM MM 2021; ReLU in place of PReLU."""
    lr = image(size)
    x = lr
    for _ in range(blocks + 1):
        x = conv(x, filters, activation="relu")
    return shuffled(lr, conv(x, 48) + ops.tile(lr, (1, 1, 1, 16)))


def abpn(size=SIZE):
    """Du et al., CVPRW 2021: 28 channels, 5 convolutions before the two of 48."""
    lr = image(size)
    x = lr
    for _ in range(5):
        x = conv(x, 28, activation="relu")
    x = conv(conv(x, 48), 48) + ops.tile(lr, (1, 1, 1, 16))
    return keras.Model(lr, ops.clip(ops.depth_to_space(x, SCALE), 0.0, 1.0))


def quicksrnet(blocks, filters, size=SIZE):
    """Berger et al., CVPRW 2023: activations are clipped to [0, 1]."""
    lr = image(size)
    x = lr
    for _ in range(blocks + 1):
        x = ops.clip(conv(x, filters), 0.0, 1.0)
    return keras.Model(lr, ops.clip(ops.depth_to_space(conv(x, 48), SCALE), 0.0, 1.0))


def plainusr(filters, attention, size=SIZE):
    """Wang et al., ACCV 2024, as its authors' code for inference has it.

    Args:
        filters: Channels that each block works on, of those of the first block.
        attention: The block's attention, a function of its map.
        size: Height and width of LR.
    """
    lr = image(size)
    width = filters[0]
    x = conv(lr, width + 3)
    for count in filters:
        y = conv(leaky(conv(x[..., :count], count)), count)
        y = attention(y, count)
        x = ops.concatenate([y, x[..., count:]], axis=-1)
    return shuffled(lr, conv(x, 48))


def in_the_middle(y, count):
    """PlainUSR-T: only the middle block has attention, by a convolution."""
    if count == 32:
        return y
    return y * conv(y, count, activation="sigmoid") * ops.sigmoid(y[..., :1])


def local(y, count):
    """PlainUSR-S: attention by local importance, on a grid of a sixth.

    With open sides the grid is of a quarter, so they must be multiples of 4.
    """
    sides = y.shape[1:3]
    is_open = None in sides
    x = conv(y, 4, 1)
    weights = ops.exp(x)
    stride, padding = (2, "same") if is_open else (3, "valid")
    pool = layers.AveragePooling2D(7, stride, padding)
    x = pool(weights * x) / pool(weights)
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = conv(x, count, activation="sigmoid")
    if is_open:
        x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    else:
        x = ops.image.resize(x, sides, interpolation="bilinear")
    return y * x * ops.sigmoid(y[..., :1])


def safmn(filters=36, blocks=8, size=SIZE):
    """Sun et al., ICCV 2023. Sides left open must be multiples of 8."""
    lr = image(size)
    x = head = conv(lr, filters)
    for _ in range(blocks):
        x = x + modulation(layers.LayerNormalization()(x), filters, size)
        y = conv(layers.LayerNormalization()(x), 2 * filters, activation="gelu")
        x = x + conv(y, filters, 1)
    return shuffled(lr, conv(x + head, 48))


def modulation(x, filters, size, levels=4):
    parts = []
    for level, part in enumerate(ops.split(x, levels, axis=-1)):
        factor = 2**level
        if level:
            part = layers.MaxPooling2D(factor, padding="same")(part)
        part = layers.DepthwiseConv2D(3, padding="same")(part)
        if level:
            part = layers.UpSampling2D(factor)(part)[:, : size[0], : size[1]]
        parts.append(part)
    return conv(ops.concatenate(parts, axis=-1), filters, 1, "gelu") * x


def xlsr(size=SIZE):
    """Ayazoglu, CVPRW 2021: grouped convolutions, and a clip at the end."""
    lr = image(size)
    x = conv(lr, 32, activation="relu")
    for _ in range(3):
        x = layers.Conv2D(32, 3, padding="same", groups=4, activation="relu")(x)
        x = conv(x, 32, 1)
    x = ops.concatenate([x, conv(lr, 16, activation="relu")], axis=-1)
    x = conv(conv(x, 32, 1, "relu"), 48)
    return keras.Model(lr, ops.clip(ops.depth_to_space(x, SCALE), 0.0, 1.0))


def imdn(filters=64, blocks=6, size=SIZE):
    """Hui et al., ACM MM 2019: channels split off, attention by their contrast."""
    return distilled(distillation, filters, blocks, size)


def rfdn(filters=50, blocks=4, size=SIZE):
    """Liu et al., ECCVW 2020; its attention's pooling has stride 2 in place of 3.

    So sides that are left open must be multiples of 4.
    """
    return distilled(residual_distillation, filters, blocks, size)


def distilled(block, filters, blocks, size):
    """What IMDN and RFDN have around their blocks, all of which one 1x1 reads."""
    lr = image(size)
    x = head = conv(lr, filters)
    found = []
    for _ in range(blocks):
        x = block(x, filters)
        found.append(x)
    x = leaky(conv(ops.concatenate(found, axis=-1), filters, 1))
    return shuffled(lr, conv(conv(x, filters) + head, 48))


def distillation(x, filters):
    y, kept = x, []
    for _ in range(3):
        y = leaky(conv(y, filters))
        kept.append(y[..., : filters // 4])
        y = y[..., filters // 4 :]
    y = ops.concatenate([*kept, conv(y, filters // 4)], axis=-1)
    contrast = ops.std(y, axis=(1, 2), keepdims=True)
    contrast = contrast + ops.mean(y, axis=(1, 2), keepdims=True)
    y = y * conv(conv(contrast, filters // 16, 1, "relu"), filters, 1, "sigmoid")
    return x + conv(y, filters, 1)


def residual_distillation(x, filters):
    y, kept = x, []
    for _ in range(3):
        kept.append(leaky(conv(y, filters // 2, 1)))
        y = leaky(conv(y, filters) + y)
    y = ops.concatenate([*kept, leaky(conv(y, filters // 2))], axis=-1)
    y = conv(y, filters, 1)
    few = filters // 4
    before = conv(y, few, 1)
    z = layers.Conv2D(few, 3, strides=2, padding="same")(before)
    z = layers.MaxPooling2D(7, strides=2, padding="same")(z)
    z = conv(conv(conv(z, few, activation="relu"), few, activation="relu"), few)
    z = layers.UpSampling2D(4, interpolation="bilinear")(z) + conv(before, few, 1)
    return y * conv(z, filters, 1, "sigmoid")


def span(filters=48, blocks=6, size=SIZE):
    """Wan et al., CVPRW 2024: SiLU, and gates of a map by itself."""
    lr = image(size)
    x = head = conv(lr, filters)
    found = []
    for _ in range(blocks):
        first = conv(x, filters)
        y = conv(conv(ops.silu(first), filters, activation="silu"), filters)
        x = (y + x) * (ops.sigmoid(y) - 0.5)
        found.append((first, x))
    maps = [head, conv(x, filters), found[0][1], found[-1][0]]
    return shuffled(lr, conv(conv(ops.concatenate(maps, axis=-1), filters, 1), 48))


NETWORKS = {
    "ECBSR-M4C16": partial(ecbsr, 4, 16),
    "ESPCN": espcn,
    "SESR-M5": partial(sesr_paper, 5),
    "SESR-M11": partial(sesr_paper, 11),
    "PlainUSR-T": partial(plainusr, (32, 16, 32), in_the_middle),
    "QuickSRNet-M": partial(quicksrnet, 5, 32),
    "XLSR": xlsr,
    "ABPN": abpn,
    "SESR-XL": partial(sesr_paper, 11, 32),
    "FSRCNN": fsrcnn,
    "QuickSRNet-L": partial(quicksrnet, 11, 64),
    "ECBSR-M16C64": partial(ecbsr, 16, 64),
    "PlainUSR-S": partial(plainusr, (32, 16, 8, 16, 32), local),
    "SPAN": span,
    "RFDN": rfdn,
    "IMDN": imdn,
    "SAFMN": safmn,
}
