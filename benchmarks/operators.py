"""Shows what becomes of each operator in 8 bits, in a tiny network around it.

python benchmarks/operators.py [NAME ...]

Each network is converted, trained for 8 bits for two steps, and converted again.
"""

import argparse
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from PIL import Image

from tfsr.data import BenchmarkFolder, GaussianNoise
from tfsr.tflite.conversion import convert
from tfsr.tflite.quantization.aware import quantization_aware
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.quantization.sensitivity import measure_sensitivity
from tfsr.tflite.runtime import TFLiteUpscaler, inspect
from tfsr.upscaling.upscalers import to_uint8

SIDE, FILTERS = 8, 4


def attention(x):
    """Softmax of the products of channels, over the whole map."""
    q, k, v = (ops.reshape(layers.Conv2D(4, 1)(x), (-1, SIDE**2, 4)) for _ in range(3))
    weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / 2)
    return x + ops.reshape(ops.matmul(weights, v), (-1, SIDE, SIDE, 4))


def norm(layer):
    """Returns a layer of normalization that has learned something."""

    def call(x):
        y = layer(x)
        for weight in layer.weights:
            values = np.random.default_rng(0).uniform(0.5, 1.5, weight.shape)
            weight.assign(values)
        return y

    return call


def normalized(x):
    """Each channel less its mean, by its deviation, which may be 0."""
    mean, variance = ops.moments(x, axes=(1, 2), keepdims=True)
    return (x - mean) / ops.sqrt(variance + 1e-6)


@keras.saving.register_keras_serializable(package="operators")
class Conv(layers.Conv2D):
    """A convolution that users have given a name of their own."""


@keras.saving.register_keras_serializable(package="operators")
class Norm(layers.Layer):
    """Layer normalization as users write it, with weights of its own."""

    def build(self, shape):
        near_1 = keras.initializers.RandomUniform(0.5, 1.5)
        self.factor = self.add_weight(shape=shape[-1:], initializer=near_1)
        self.shift = self.add_weight(shape=shape[-1:], initializer=near_1)

    def call(self, x):
        mean, variance = ops.moments(x, axes=-1, keepdims=True)
        return self.factor * (x - mean) / ops.sqrt(variance + 1e-6) + self.shift


def by_heads(x, **options):
    """Attention by Keras' layer, over the whole map."""
    row = ops.reshape(x, (-1, SIDE**2, 4))
    y = layers.MultiHeadAttention(2, 2)(row, row, **options)
    return x + ops.reshape(y, (-1, SIDE, SIDE, 4))


def masked_by_hand(x):
    """As `attention`, of which each pixel sees those before it."""
    row = ops.reshape(x, (-1, SIDE**2, 4))
    logits = ops.matmul(row, ops.transpose(row, (0, 2, 1)))
    weights = ops.softmax(ops.where(np.tri(SIDE**2, dtype=bool), logits, -1e9))
    return x + ops.reshape(ops.matmul(weights, row), (-1, SIDE, SIDE, 4))


def in_windows(x):
    """Attention in shifted windows, as of Swin transformers."""
    half = SIDE // 2
    y = ops.reshape(ops.roll(x, (-2, -2), (1, 2)), (-1, 2, half, 2, half, 4))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, half**2, 4))
    y = ops.reshape(layers.MultiHeadAttention(2, 2)(y, y), (-1, 2, 2, half, half, 4))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, SIDE, SIDE, 4))
    return x + ops.roll(y, (2, 2), (1, 2))


def response_norm(x):
    """Global response normalization, as of ConvNeXt V2."""
    norm = ops.sqrt(ops.sum(x * x, axis=(1, 2), keepdims=True))
    return x * (norm / (ops.mean(norm, axis=-1, keepdims=True) + 1e-6)) + x


def by_channels_and_places(x):
    """Gates of channels, then of places, as of CBAM."""
    narrow, wide = layers.Dense(2, activation="relu"), layers.Dense(4)
    pools = ops.mean, ops.max
    of_maps = [wide(narrow(pool(x, (1, 2), keepdims=True))) for pool in pools]
    x = x * ops.sigmoid(ops.add(*of_maps))
    found = [pool(x, -1, keepdims=True) for pool in pools]
    gate = layers.Conv2D(1, 7, padding="same", activation="sigmoid")
    return x * gate(ops.concatenate(found, axis=-1))


def over_a_map(x):
    """As `by_heads`, of maps: a softmax over two axes."""
    y = x[:, :SIDE]
    return x + layers.MultiHeadAttention(2, 2, attention_axes=(1, 2))(y, y)


def placed(x):
    values = np.random.default_rng(0).normal(0, 0.3, (1, SIDE, SIDE, 4))
    return x + values.astype("float32")


def halved(enlarged):
    return layers.AveragePooling2D(2)(enlarged)


CONSTRUCTS: dict[str, Callable] = {  # from a map of 4 channels to one of the same sides
    "convolution": lambda x: layers.Conv2D(4, 3, padding="same")(x),
    "a user's convolution": lambda x: Conv(4, 3, padding="same")(x),
    "without bias": lambda x: layers.Conv2D(4, 3, padding="same", use_bias=False)(x),
    "grouped": lambda x: layers.Conv2D(4, 3, padding="same", groups=2)(x),
    "1x3 and 3x1": lambda x: layers.Conv2D(4, (3, 1), padding="same")(
        layers.Conv2D(4, (1, 3), padding="same")(x)
    ),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "depthwise, doubled": lambda x: layers.DepthwiseConv2D(
        3, padding="same", depth_multiplier=2
    )(x),
    "separable": lambda x: layers.SeparableConv2D(4, 3, padding="same")(x),
    "dilated": lambda x: layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x),
    "strided": lambda x: layers.UpSampling2D()(
        layers.Conv2D(4, 3, strides=2, padding="same")(x)
    ),
    "transposed 3x3": lambda x: halved(
        layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    ),
    "transposed 2x2": lambda x: halved(layers.Conv2DTranspose(4, 2, strides=2)(x)),
    "transposed, wide": lambda x: halved(
        layers.Conv2DTranspose(32, 3, strides=2, padding="same")(x)
    ),
    "dense": lambda x: layers.Dense(4)(x),
    "PReLU": lambda x: layers.PReLU(
        shared_axes=[1, 2], alpha_initializer=keras.initializers.RandomUniform(0, 0.3)
    )(x),
    "LeakyReLU": lambda x: layers.LeakyReLU(negative_slope=0.1)(x),
    "ReLU6": ops.relu6,
    "clip": lambda x: ops.clip(x, -0.25, 0.5),
    "hard tanh": lambda x: ops.hard_tanh(x),
    "hard sigmoid": ops.hard_sigmoid,
    "hard swish": ops.hard_silu,
    "hard swish within": lambda x: layers.Conv2D(4, 1, activation="hard_swish")(x),
    "mish": lambda x: layers.Activation("mish")(x),
    "negative": lambda x: ops.relu(-x) + x,
    "where": lambda x: ops.where(x > 0, x, 0.1 * x),
    "square root": lambda x: ops.sqrt(ops.abs(x)),
    "dense of a row": lambda x: ops.reshape(
        layers.Dense(4)(ops.reshape(x, (-1, SIDE**2, 4))), (-1, SIDE, SIDE, 4)
    ),
    "constant matrix": lambda x: ops.matmul(x, np.eye(4, 6, dtype="float32") / 2),
    "einsum layer": lambda x: layers.EinsumDense(
        "...c,cd->...d", 4, bias_axes="d", activation="relu"
    )(x),
    "einsum": lambda x: ops.einsum("bhwc,cd->bhwd", x, np.eye(4, dtype="float32")),
    "constant kernel": lambda x: ops.depthwise_conv(
        x, ops.ones((3, 3, 4, 1)) / 8, padding="same"
    ),
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "SiLU": ops.silu,
    "GELU": ops.gelu,
    "ELU": ops.elu,
    "activation within": lambda x: layers.Conv2D(4, 1, activation="tanh")(x),
    "softplus": ops.softplus,
    "abs": ops.abs,
    "sign": lambda x: x + 0.1 * ops.sign(x),
    "square": ops.square,
    "gate": lambda x: x * layers.Conv2D(4, 1, activation="sigmoid")(x),
    "blend": lambda x: (lambda gate: gate * x + (1 - gate) * layers.Conv2D(4, 1)(x))(
        layers.Conv2D(4, 1, activation="sigmoid")(x)
    ),
    "gate of channels": lambda x: (
        x
        * layers.Conv2D(4, 1, activation="sigmoid")(
            layers.GlobalAveragePooling2D(keepdims=True)(x)
        )
    ),
    "gate by dense layers": lambda x: (
        x
        * layers.Reshape((1, 1, 4))(
            layers.Dense(4, activation="sigmoid")(
                layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(x))
            )
        )
    ),
    "gate by neighbouring channels": lambda x: (
        x
        * ops.reshape(
            layers.Conv1D(1, 3, padding="same", activation="sigmoid")(
                ops.expand_dims(ops.mean(x, axis=(1, 2)), -1)
            ),
            (-1, 1, 1, 4),
        )
    ),
    "scaled": lambda x: x * 0.2,
    "shifted": lambda x: x + 0.5,
    "shifted by place": placed,
    "rescaling": lambda x: layers.Rescaling(2.0, -0.5)(x),
    "normalization of data": lambda x: layers.Normalization(
        mean=[0.1, 0, 0, 0.2], variance=[0.5, 1, 1, 2]
    )(x),
    "scale by channel": lambda x: x * np.float32([0.5, 1, 2, 1.5]),
    "mean": lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True),
    "mean of channels": lambda x: x - ops.mean(x, axis=-1, keepdims=True),
    "mean beside the map": lambda x: ops.concatenate(
        [x, ops.mean(x, axis=-1, keepdims=True)], axis=-1
    ),
    "max": lambda x: x - ops.max(x, axis=-1, keepdims=True),
    "std": lambda x: x * ops.std(x, axis=(1, 2), keepdims=True),
    "variance": lambda x: x * ops.var(x, axis=-1, keepdims=True),
    "moments": normalized,
    "max pooling": lambda x: layers.UpSampling2D()(layers.MaxPooling2D()(x)),
    "average pooling": lambda x: layers.UpSampling2D()(layers.AveragePooling2D(2)(x)),
    "pooling 3x3": lambda x: layers.AveragePooling2D(3, 1, "same")(x),
    "nearest": lambda x: halved(layers.UpSampling2D()(x)),
    "nearest x3": lambda x: layers.AveragePooling2D(3)(layers.UpSampling2D(3)(x)),
    "bilinear": lambda x: halved(layers.UpSampling2D(interpolation="bilinear")(x)),
    "bicubic": lambda x: halved(layers.UpSampling2D(interpolation="bicubic")(x)),
    "resizing": lambda x: halved(ops.image.resize(x, (2 * SIDE, 2 * SIDE))),
    "Resizing": lambda x: halved(layers.Resizing(2 * SIDE, 2 * SIDE)(x)),
    "zero padding": lambda x: layers.Conv2D(4, 3)(layers.ZeroPadding2D()(x)),
    "reflected padding": lambda x: layers.Conv2D(4, 3)(
        ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    ),
    "symmetric padding": lambda x: layers.Conv2D(4, 3)(
        ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric")
    ),
    "slicing": lambda x: layers.Conv2D(4, 1)(x[..., :2]) + x,
    "split": lambda x: ops.add(*(layers.Conv2D(4, 1)(y) for y in ops.split(x, 2, -1))),
    "tile": lambda x: ops.tile(x, (1, 1, 1, 2)),
    "repeat": lambda x: ops.repeat(x, 2, axis=-1),
    "concatenation": lambda x: layers.Concatenate()([x, layers.Conv2D(2, 1)(x)]),
    "stack": lambda x: ops.reshape(
        ops.stack([x, layers.Conv2D(4, 1)(x)], -1), (-1, SIDE, SIDE, 8)
    ),
    "channel shuffle": lambda x: ops.reshape(
        ops.transpose(ops.reshape(x, (-1, SIDE, SIDE, 2, 2)), (0, 1, 2, 4, 3)),
        (-1, SIDE, SIDE, 4),
    ),
    "space to depth": lambda x: ops.depth_to_space(
        layers.Conv2D(16, 1)(ops.space_to_depth(x, 2)), 2
    ),
    "add": lambda x: x + layers.Conv2D(4, 1)(x),
    "add layer": lambda x: layers.Add()([x, layers.Conv2D(4, 1)(x), x]),
    "subtract": lambda x: x - layers.Conv2D(4, 1)(x),
    "maximum": lambda x: ops.maximum(x, layers.Conv2D(4, 1)(x)),
    "average": lambda x: layers.Average()([x, layers.Conv2D(4, 1)(x)]),
    "divide": lambda x: x / (ops.abs(x) + 1.0),
    "divide by little": lambda x: x / (ops.abs(x) + 1e-3),
    "attention": attention,
    "multi-head attention": by_heads,
    "multi-head attention of a map": over_a_map,
    "causal attention": lambda x: by_heads(x[:, :SIDE], use_causal_mask=True),
    "masked attention": lambda x: by_heads(
        x, attention_mask=np.tri(SIDE**2, dtype=bool)[None]
    ),
    "attention masked by hand": masked_by_hand,
    "attention in windows": in_windows,
    "softmax": lambda x: ops.softmax(x),
    "softmax of the map": lambda x: layers.Softmax(axis=(1, 2))(x),
    "layer normalization": norm(layers.LayerNormalization()),
    "a user's layer normalization": lambda x: Norm()(x),
    "batch normalization": norm(layers.BatchNormalization()),
    "normalization first": lambda x: norm(layers.BatchNormalization())(
        layers.Activation("relu")(x)
    ),
    "group normalization": norm(layers.GroupNormalization(2)),
    "instance normalization": norm(layers.GroupNormalization(-1)),
    "response normalization": response_norm,
    "gates of channels and places": by_channels_and_places,
}


@dataclass(frozen=True)
class Outcome:
    """What became of an operator in 8 bits.

    Attributes:
        operators: Names of TFLite's operators in the trained network's file.
        in_float: How many of them compute in float32.
        apart: Largest difference of the integers simulated from the file, in levels.
        unequal: Share of the values that differ.
    """

    operators: dict
    in_float: int
    apart: int
    unequal: float

    @property
    def arithmetic(self) -> str:
        """8 bit, or float32 where an operator is left in it."""
        return "float32" if self.in_float else "8 bit"

    @property
    def simulated(self) -> str:
        """How the simulation meets the file."""
        if not self.apart:
            return "equal"
        return f"{self.apart} level{'s' * (self.apart > 1)} in {self.unequal:.1%}"


def network(constructs: list[Callable]) -> keras.Model:
    """Returns a network from image to image, with a convolution before each construct.

    Args:
        constructs: Values of `CONSTRUCTS`.
    """
    keras.utils.set_random_seed(0)
    fixed = any("SIDE" in construct.__code__.co_names for construct in constructs)
    sides = SIDE if fixed else None
    x = lr = keras.Input((sides, sides, 3))
    for construct in constructs:
        x = construct(layers.Conv2D(FILTERS, 3, padding="same")(x))
    return keras.Model(lr, layers.Conv2D(3, 3, padding="same")(x) + lr)


def patches() -> list[np.ndarray]:
    """Returns smooth images, float32 `(SIDE, SIDE, 3)` in [0, 1]."""
    rng = np.random.default_rng(0)
    walks = rng.standard_normal((2, SIDE, SIDE, 3)).cumsum(1).cumsum(2)
    low, high = walks.min(), walks.max()
    return [np.float32((walk - low) / (high - low)) for walk in walks]


def outcome(model: keras.Model, scratch: Path) -> Outcome:
    """Returns what becomes of a network, which is converted, measured and trained.

    Args:
        model: What `network` returned.
        scratch: Folder for what is written.
    """
    images, file, size = patches(), scratch / "int8.tflite", [(SIDE, SIDE)]
    for i, image in enumerate(images):
        Image.fromarray(to_uint8(image)).save(scratch / f"{i}.png")
    noise = GaussianNoise(10).rounded()
    folder = BenchmarkFolder(scratch, 1, degradation=noise)
    convert(model, 1, "int8", size, file, folder)
    measure_sensitivity(model, 1, folder, images)
    aware = quantization_aware(model, images)
    train(aware, np.stack(images))
    convert(aware, 1, "int8", size, file, folder)
    simulated, run = IntegerUpscaler(aware, 1), TFLiteUpscaler(file)
    both = [[to_uint8(x).astype(int) for x in map(f, images)] for f in (simulated, run)]
    facts = inspect(file)
    return Outcome(
        facts["operators"], facts["float_operators"], *differences(*map(np.array, both))
    )


def differences(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, float]:
    """Returns the largest difference of integers and the share of those that differ."""
    apart = np.abs(ours.astype(int) - theirs)
    return int(apart.max()), float(np.mean(apart > 0))


def train(model: keras.Model, x: np.ndarray, steps: int = 2) -> None:
    """Trains a model to give back `x`."""
    model.compile("adam", "mean_absolute_error", run_eagerly=True)
    for _ in range(steps):
        loss = model.train_on_batch(x, x)
    if not np.isfinite(loss):
        raise ValueError(f"the loss must be finite. Received: loss={loss}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--traceback", action="store_true")
    options = parser.parse_args()
    print("| operator | arithmetic | simulated against the file | TFLite's operators |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.names or CONSTRUCTS:
            try:
                found = outcome(network([CONSTRUCTS[name]]), Path(scratch))
                names = ", ".join(found.operators)
                row = f"{found.arithmetic} | {found.simulated} | {names}"
            except Exception as error:  # one more row of the table
                row = f"{type(error).__name__} | {str(error).splitlines()[0][:80]} |"
                if options.traceback:
                    traceback.print_exc()
            print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
