import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class FakeQuantizedConv2D(keras.layers.Layer):
    """A convolution that simulates TFLite's rounding of its kernel, for training.

    The weights of an output channel take 2^bits - 1 values, symmetric around 0, up to
    the largest absolute weight. Gradients pass as if nothing were rounded. The bias is
    not rounded, since TFLite keeps it in 32 bits.

    Args:
        conv: The convolution, a `GroupedConv2D` or one of Keras'.
        bits: 8, or 4.

    Input shape:
        The input shape of `conv`.

    Output shape:
        The output shape of `conv`.

    Reference:
        Jacob et al., CVPR 2018, section 3, https://arxiv.org/abs/1712.05877
    """

    def __init__(self, conv, bits=8, **kwargs):
        super().__init__(**kwargs)
        if bits not in (4, 8):
            raise ValueError(f"`bits` must be 4 or 8. Received: bits={bits}.")
        self.conv = conv
        self.bits = bits

    def build(self, input_shape):
        if not self.conv.built:
            self.conv.build(input_shape)

    def call(self, inputs):
        conv = self.conv
        state = [(weight, ops.convert_to_tensor(weight)) for weight in conv.weights]
        state[0] = (conv.kernel, round_kernel(conv, self.bits))
        with keras.StatelessScope(state_mapping=state):
            return conv(inputs)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "conv": keras.saving.serialize_keras_object(self.conv),
            "bits": self.bits,
        }

    @classmethod
    def from_config(cls, config):
        conv = keras.saving.deserialize_keras_object(config.pop("conv"))
        return cls(conv, **config)


def round_kernel(conv: keras.layers.Layer, bits: int = 8) -> keras.KerasTensor:
    """Returns the rounded kernel of `conv`, in its shape and with its gradient.

    Args:
        conv: A built convolution.
        bits: Each output channel takes 2^bits - 1 values, symmetric around 0.
    """
    kernel = ops.convert_to_tensor(conv.kernel)
    axes = other_axes(conv)
    largest = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    step = ops.stop_gradient(ops.where(largest > 0, largest, 1)) / (2 ** (bits - 1) - 1)
    return kernel + ops.stop_gradient(ops.round(kernel / step) * step - kernel)


def other_axes(conv: keras.layers.Layer) -> tuple[int, ...]:
    """Returns all axes of a convolution's kernel except the axis of output channels."""
    # The output channels of a depthwise convolution span two axes.
    if isinstance(conv, keras.layers.DepthwiseConv2D):
        return (0, 1)
    transposed = isinstance(conv, keras.layers.Conv2DTranspose)
    return (0, 1, 3) if transposed else (0, 1, 2)
