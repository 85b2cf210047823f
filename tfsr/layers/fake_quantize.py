import keras
from keras import ops

# Factor on the learning rate of range bounds, in widths of the initial range. Adam and
# its like move every weight by about the learning rate, which suits small kernels.
SPEED = 10


@keras.saving.register_keras_serializable(package="tfsr")
class FakeQuantize(keras.layers.Layer):
    """Simulates the rounding of activations to integers, with gradients for training.

    With 8 bits, the output is one of 256 multiples of (high - low) / 255: those nearest
    to [low, high], 0 among them. With 16 bits, it is a multiple of m / 32767 between -m
    and m, or between 0 and m if low is 0; m is the larger of -low and high.

    An input inside the range gets the gradient; for a clipped input, the bound gets it.
    Rounding errors grow with the step, so they give both bounds a gradient too: the
    learned range trades clipping, which widens it, against rounding, which narrows it.

    Args:
        low: Initial lower bound, at most 0.
        high: Initial upper bound, at least 0.
        bits: 8 or 16.
        learned: Whether the bounds are trained until `freeze()` is called.

    Input shape:
        Any.

    Output shape:
        The same.

    Reference:
        Jacob et al., CVPR 2018, section 3, https://arxiv.org/abs/1712.05877; for the
        gradients Esser et al., ICLR 2020, equation (3),
        https://arxiv.org/abs/1902.08153
    """

    def __init__(self, low, high, bits=8, learned=True, **kwargs):
        super().__init__(**kwargs)
        if not low <= 0 <= high or low == high:
            raise ValueError(
                "`low` and `high` must differ and have 0 between. "
                f"Received: low={low}, high={high}."
            )
        if bits not in (8, 16):
            raise ValueError(f"`bits` must be 8 or 16. Received: bits={bits}.")
        self.low = low
        self.high = high
        self.bits = bits
        self.learned = learned

        self.unit = SPEED * float(high - low)

    def build(self, input_shape):
        def bounds(unit=1.0):
            return lambda shape, dtype: ops.array(
                [self.low / unit, self.high / unit], dtype
            )

        self.range = self.add_weight(
            name="range",
            shape=(2,),
            initializer=bounds(self.unit),
            trainable=self.learned,
        )
        self.frozen_range = self.add_weight(
            name="frozen_range", shape=(2,), initializer=bounds(), trainable=False
        )
        self.frozen = self.add_weight(
            name="frozen",
            shape=(),
            initializer="zeros" if self.learned else "ones",
            trainable=False,
        )

    def freeze(self):
        """Freezes the bounds at their current values."""
        self.frozen_range.assign(ops.stack(self.bounds()))
        self.frozen.assign(1.0)

    def bounds(self):
        """Returns the current `(low, high)`, two scalars with 0 between them."""
        frozen, frozen_range, learned_range = map(  # JAX takes no variables here
            ops.convert_to_tensor, (self.frozen, self.frozen_range, self.range)
        )
        bounds = ops.where(frozen > 0, frozen_range, learned_range * self.unit)
        low, high = bounds[0], bounds[1]
        return ops.where(low > 0, 0.0, low), ops.where(high < 0, 0.0, high)

    def call(self, inputs):
        low, high = self.bounds()
        if self.bits == 16:  # symmetric: the larger bound sets both sides
            high = ops.maximum(-low, high)
            low = ops.where(low < 0, -high, low)
        lowest, step, levels = _grid(low, high, self.bits)
        lowest, levels = map(ops.stop_gradient, (lowest, levels))
        width = ops.stop_gradient(step)
        low = low + ops.stop_gradient(lowest - low)
        high = high + ops.stop_gradient(lowest + levels * step - high)
        # Not `maximum`: for equal numbers, some backends share the gradient.
        clipped = ops.where(inputs < low, low, ops.where(inputs > high, high, inputs))
        steps = (clipped - lowest) / width
        return clipped + ops.stop_gradient(ops.floor(steps + 0.5) - steps) * step

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "low": self.low,
            "high": self.high,
            "bits": self.bits,
            "learned": self.learned,
        }


def _grid(low, high, bits):
    """Returns the lowest value, the step, and the number of steps above that value."""
    if bits == 8:
        step = ops.maximum(high - low, 1e-8) / 255
        return -ops.floor(-low / step + 0.5) * step, step, ops.cast(255, low.dtype)
    step = ops.maximum(ops.maximum(-low, high), 1e-8) / 32767
    below = ops.where(low < 0, 32768.0, 0.0)
    return -below * step, step, below + 32767
