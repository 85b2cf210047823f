import keras

from tfsr.layers.conv_norm import ConvNorm, leaky_relu
from tfsr.layers.lists import check_list


@keras.saving.register_keras_serializable(package="tfsr")
class MultiScaleCross(keras.layers.Layer):
    """Two residual branches of different kernel size, joined by merge-and-run.

    Each branch is convolution, batch normalization and LeakyReLU, twice. The average of
    the two inputs is added before the last LeakyReLU (Fig. 3):

        o_j = LeakyReLU(h_j(x_j) + (x_1 + x_2) / 2)                        (1)

    where h_j is branch j up to its last normalization. The last module of a row sums
    both branches into one map (2). That a LeakyReLU follows this sum too is our reading
    of the paper.

        o = LeakyReLU(h_1(x_1) + h_2(x_2) + (x_1 + x_2) / 2)               (2)

    Args:
        filters: Channels of the inputs and outputs.
        kernel_sizes: Sides of the kernels in the two branches.
        last: Whether to sum the branches into one map, as in (2).

    Input shape:
        A list of two `(B, H, W, filters)`.

    Output shape:
        A list of two `(B, H, W, filters)`; a single one if `last`.

    Reference:
        Hu et al., 2018, equations (1) and (2), https://arxiv.org/abs/1802.08808
    """

    def __init__(self, filters, kernel_sizes=(3, 5), last=False, **kwargs):
        super().__init__(**kwargs)
        sizes = kernel_sizes if isinstance(kernel_sizes, tuple | list) else ()
        if [type(size) for size in sizes] != [int, int] or min(sizes) < 1:
            raise ValueError(
                "`kernel_sizes` must be a positive integer for each of two branches. "
                f"Received: kernel_sizes={kernel_sizes}."
            )
        self.filters = filters
        self.kernel_sizes = tuple(kernel_sizes)
        self.last = last
        self.branches = [
            [ConvNorm(filters, size, name=f"branch_{j}_conv_{i}") for i in range(2)]
            for j, size in enumerate(self.kernel_sizes)
        ]

    def build(self, input_shape):
        check_list(input_shape)
        for (first, second), shape in zip(self.branches, input_shape, strict=True):
            first.build(shape)
            second.build((*shape[:-1], self.filters))

    def call(self, inputs):
        average = (inputs[0] + inputs[1]) * 0.5
        residuals = [
            second(leaky_relu(first(x)))
            for (first, second), x in zip(self.branches, inputs, strict=True)
        ]
        if self.last:
            return leaky_relu(residuals[0] + residuals[1] + average)
        return [leaky_relu(residual + average) for residual in residuals]

    def compute_output_shape(self, input_shape):
        return input_shape[0] if self.last else input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_sizes": self.kernel_sizes,
            "last": self.last,
        }
