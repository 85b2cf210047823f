"""Published networks as plain Keras models, x4 of RGB, untrained, to time them.

As they run after training: branches that collapse are one convolution, the
activations are the authors' but where a docstring says otherwise.
"""

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


def image():
    return keras.Input((*SIZE, 3))


def espcn():
    """Shi et al., CVPR 2016; ReLU in place of tanh, as is usual since."""
    lr = image()
    x = conv(conv(lr, 64, 5, "relu"), 32, activation="relu")
    return shuffled(lr, conv(x, 48))


def fsrcnn():
    """Dong et al., ECCV 2016: FSRCNN(56, 12, 4)."""
    lr = image()
    x = prelu(conv(prelu(conv(lr, 56, 5)), 12, 1))
    for _ in range(4):
        x = prelu(conv(x, 12))
    x = prelu(conv(x, 56, 1))
    sr = layers.Conv2DTranspose(3, 9, strides=SCALE, padding="same")(x)
    return keras.Model(lr, sr)


def sesr_paper(blocks, filters=16):
    """Bhardwaj et al., MLSys 2022; ReLU in place of PReLU."""
    lr = image()
    x = head = conv(lr, filters, 5, "relu")
    for _ in range(blocks):
        x = conv(x, filters, activation="relu")
    return shuffled(lr, conv(x + head, 48, 5) + ops.tile(lr, (1, 1, 1, 16)))


def ecbsr(blocks, filters):
    """Zhang et al., ACM MM 2021; ReLU in place of PReLU."""
    lr = image()
    x = lr
    for _ in range(blocks + 1):
        x = conv(x, filters, activation="relu")
    return shuffled(lr, conv(x, 48) + ops.tile(lr, (1, 1, 1, 16)))


def abpn():
    """Du et al., CVPRW 2021: 28 channels, 5 convolutions before the two of 48."""
    lr = image()
    x = lr
    for _ in range(5):
        x = conv(x, 28, activation="relu")
    x = conv(conv(x, 48), 48) + ops.tile(lr, (1, 1, 1, 16))
    return keras.Model(lr, ops.clip(ops.depth_to_space(x, SCALE), 0.0, 1.0))


def quicksrnet(blocks, filters):
    """Berger et al., CVPRW 2023: activations are clipped to [0, 1]."""
    lr = image()
    x = lr
    for _ in range(blocks + 1):
        x = ops.clip(conv(x, filters), 0.0, 1.0)
    return keras.Model(lr, ops.clip(ops.depth_to_space(conv(x, 48), SCALE), 0.0, 1.0))


def plainusr(filters, attention):
    """Wang et al., ACCV 2024, as its authors' code for inference has it.

    Args:
        filters: Channels that each block works on, of those of the first block.
        attention: The block's attention, a function of its map.
    """
    lr = image()
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
    """PlainUSR-S: attention by local importance, on a grid of a sixth."""
    x = conv(y, 4, 1)
    weights = ops.exp(x)
    pool = layers.AveragePooling2D(7, strides=3)
    x = pool(weights * x) / pool(weights)
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = conv(x, count, activation="sigmoid")
    x = ops.image.resize(x, SIZE, interpolation="bilinear")
    return y * x * ops.sigmoid(y[..., :1])


def safmn(filters=36, blocks=8):
    """Sun et al., ICCV 2023."""
    lr = image()
    x = head = conv(lr, filters)
    for _ in range(blocks):
        x = x + modulation(layers.LayerNormalization()(x), filters)
        y = conv(layers.LayerNormalization()(x), 2 * filters, activation="gelu")
        x = x + conv(y, filters, 1)
    return shuffled(lr, conv(x + head, 48))


def modulation(x, filters, levels=4):
    parts = []
    for level, part in enumerate(ops.split(x, levels, axis=-1)):
        factor = 2**level
        if level:
            part = layers.MaxPooling2D(factor, padding="same")(part)
        part = layers.DepthwiseConv2D(3, padding="same")(part)
        if level:
            part = layers.UpSampling2D(factor)(part)[:, : SIZE[0], : SIZE[1]]
        parts.append(part)
    return conv(ops.concatenate(parts, axis=-1), filters, 1, "gelu") * x


NETWORKS = {
    "ECBSR-M4C16": lambda: ecbsr(4, 16),
    "ESPCN": espcn,
    "SESR-M5": lambda: sesr_paper(5),
    "SESR-M11": lambda: sesr_paper(11),
    "PlainUSR-T": lambda: plainusr((32, 16, 32), in_the_middle),
    "QuickSRNet-M": lambda: quicksrnet(5, 32),
    "ABPN": abpn,
    "SESR-XL": lambda: sesr_paper(11, 32),
    "FSRCNN": fsrcnn,
    "QuickSRNet-L": lambda: quicksrnet(11, 64),
    "ECBSR-M16C64": lambda: ecbsr(16, 64),
    "PlainUSR-S": lambda: plainusr((32, 16, 8, 16, 32), local),
    "SAFMN": safmn,
}
