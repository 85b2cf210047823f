import keras
import numpy as np
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D

KERNEL_SIZE = 3
FIXED = ("kernel_size", "groups", "lowering", "initializer", "use_bias")
EDGES = np.stack(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],  # Sobel's two
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],  # Laplace's
    ],
    axis=-1,
).astype("float32")


@keras.saving.register_keras_serializable(package="tfsr")
class CollapsibleConv2D(GroupedConv2D):
    """Convolves with a 3x3 kernel that is the product of two larger ones.

    In training it is a 3x3 convolution to many channels, then a 1x1 convolution, with a
    bias after both and nothing between. Each step multiplies the kernels and convolves
    once with the product, so it costs about as much as a plain convolution, whatever
    `expanded` is. The conversion to TFLite keeps only the product (`fold_kernels`).

    Both kernels start with normal values such that the product has the variance
    1 / (9 C), or with `skip` a tenth of that standard deviation.

    Args:
        filters: Channels of the output.
        expanded: Channels between the two convolutions, the paper's p.
        skip: Whether to add the input to the output, by a 1 in the kernel's centre.
            `filters` must then equal the input's channels.
        edges: Whether the kernel also has a learned mixture of Sobel's and Laplace's
            filters.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Bhardwaj et al., MLSys 2022, https://arxiv.org/abs/2103.09404; `edges` of
        Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution
        on Mobile Devices", ACM MM 2021, https://doi.org/10.1145/3474085.3475291
    """

    def __init__(self, filters, expanded=256, skip=False, edges=False, **kwargs):
        self._refuse(kwargs, FIXED)
        super().__init__(filters, KERNEL_SIZE, **kwargs)
        if type(expanded) is not int or expanded < 1:
            raise ValueError(
                f"`expanded` must be a positive integer. Received: expanded={expanded}."
            )
        self.expanded = expanded
        self.skip = skip
        self.edges = edges

    @property
    def kernel(self):
        """The `(3, 3, C, filters)` kernel that the layer convolves with."""
        expand, project = map(ops.convert_to_tensor, (self.expand, self.project))
        kernel = ops.tensordot(expand, project, axes=1)
        if self.skip:
            identity = np.zeros(kernel.shape, "float32")
            identity[1, 1] = np.eye(self.filters)
            kernel = kernel + identity
        if self.edges:
            mix, strength = map(ops.convert_to_tensor, (self.mix, self.strength))
            kernel = kernel + ops.tensordot(EDGES, mix * strength[:, None], axes=1)
        return ops.cast(kernel, self.compute_dtype)

    def build(self, input_shape):
        if self.skip and input_shape[-1] != self.filters:
            raise ValueError(
                "With `skip`, `filters` must be the input's channels. "
                f"Received: filters={self.filters}, input_shape={input_shape}."
            )
        super().build(input_shape)

    def get_config(self):
        config = super().get_config()
        for name in FIXED:
            del config[name]
        return {
            **config,
            "expanded": self.expanded,
            "skip": self.skip,
            "edges": self.edges,
        }

    def _add_weights(self, shape, uniform):
        def normal(deviation):
            return keras.initializers.RandomNormal(0.0, deviation)

        # In the weights' precision: in half, small values would vanish beside the 1.
        self.expand = self.add_weight(
            name="expand",
            shape=(*shape[:3], self.expanded),
            initializer=normal((KERNEL_SIZE**2 * shape[2]) ** -0.5),
            autocast=False,
        )
        self.project = self.add_weight(
            name="project",
            shape=(self.expanded, self.filters),
            initializer=normal(self.expanded**-0.5 * (0.1 if self.skip else 1)),
            autocast=False,
        )
        if self.edges:
            self.mix = self.add_weight(
                name="mix",
                shape=(EDGES.shape[-1], *shape[2:]),
                initializer=normal(shape[2] ** -0.5),
                autocast=False,
            )
            self.strength = self.add_weight(
                name="strength",
                shape=(EDGES.shape[-1], self.filters),
                initializer=normal(1e-3),  # as the authors' code has it
                autocast=False,
            )
        self.bias = self.add_weight(name="bias", shape=shape[-1:], initializer="zeros")
