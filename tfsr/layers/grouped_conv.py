import functools
import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class GroupedConv2D(keras.layers.Layer):
    """Convolves each group of channels separately, with stride 1 and "same" padding.

    One group is an ordinary convolution. The kernel of g groups is a single
    `(k, k, C / g, filters)` tensor for either lowering, so both can load the same
    weights. By default, kernel and bias start uniform in +-1/sqrt(fan_in), where
    fan_in = k * k * C / g.

    Args:
        filters: Channels of the output.
        kernel_size: Side k of the square kernel.
        groups: Number of groups; must divide `filters` and the input's channels.
        lowering: `"split"` slices, convolves and concatenates, which trains fast on
            every backend; `"grouped"` is one native grouped convolution, which runs
            fast on the phone. Their results are identical.
        initializer: `"input_channels"` for uniform in +-1/sqrt(C) instead; or the name
            or config of a Keras initializer for the kernel, with a bias of 0.
        use_bias: Whether to add a bias.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H, W, filters)`.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        groups=1,
        lowering="split",
        initializer=None,
        use_bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if groups < 1 or filters % groups:
            raise ValueError(
                "`groups` must divide `filters`. "
                f"Received: groups={groups}, filters={filters}."
            )
        if lowering not in ("split", "grouped"):
            raise ValueError(
                '`lowering` must be "split" or "grouped". '
                f"Received: lowering={lowering}."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.lowering = lowering
        self.initializer = initializer
        self.use_bias = use_bias
        self.bias = None

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(
                "`groups` must divide the input's channels. "
                f"Received: groups={self.groups}, input_shape={input_shape}."
            )
        self.input_spec = keras.InputSpec(ndim=4, axes={-1: channels})
        shape = (self.kernel_size, self.kernel_size, channels // self.groups)
        limit = math.prod(shape) ** -0.5
        if self.initializer == "input_channels":
            limit = channels**-0.5
        uniform = functools.partial(keras.initializers.RandomUniform, -limit, limit)
        self._add_weights((*shape, self.filters), uniform)

    def call(self, inputs):
        if self.groups == 1 or self.lowering == "grouped":
            # Keras infers the number of groups from the kernel's input channels.
            return self._add_bias(ops.conv(inputs, self.kernel, padding="same"))
        groups = ops.split(inputs, self.groups, axis=-1)
        return ops.concatenate(self.convolve_groups(groups), axis=-1)

    def convolve_groups(self, inputs):
        """Returns the output's groups, computed from a list of the input's groups."""
        dtype = inputs[0].dtype
        kernels = ops.split(ops.cast(self.kernel, dtype), self.groups, axis=-1)
        outputs = [
            ops.conv(x, kernel, padding="same")
            for x, kernel in zip(inputs, kernels, strict=True)
        ]
        if not self.use_bias:
            return outputs
        biases = ops.split(ops.cast(self.bias, dtype), self.groups)
        return [ops.add(x, bias) for x, bias in zip(outputs, biases, strict=True)]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
            "lowering": self.lowering,
            "initializer": self.initializer,
            "use_bias": self.use_bias,
        }

    def _refuse(self, arguments, names):
        """Raises a `ValueError` for arguments of this class that a subclass lacks."""
        for name in names:
            if name in arguments:
                raise ValueError(
                    f"`{name}` does not apply to {type(self).__name__}. "
                    f"Received: {name}={arguments[name]}."
                )

    def _add_bias(self, outputs):
        return ops.add(outputs, self.bias) if self.use_bias else outputs

    def _add_weights(self, shape, uniform):
        given = self.initializer
        from_keras = given not in (None, "input_channels")
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=given if from_keras else uniform()
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=shape[-1:],
                initializer="zeros" if from_keras else uniform(),
            )
