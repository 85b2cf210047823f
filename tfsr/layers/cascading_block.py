import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D
from tfsr.layers.residual_block import ResidualBlock
from tfsr.layers.residual_e_block import ResidualEBlock


@keras.saving.register_keras_serializable(package="tfsr")
class CascadingBlock(keras.layers.Layer):
    """Residual units whose outputs cascade into 1x1 fusions (local cascading).

    As in the authors' code a fusion sees the input and the outputs of all units so far,
    and a ReLU follows it; equation (3) has the outputs of earlier fusions, and no ReLU.

    Args:
        filters: Channels of every unit and of the input.
        units: Number U of residual units.
        groups: Groups of residual-E units; `None` takes plain residual units.
        recursive: Whether all units share one set of weights (Fig. 3 (d)).
        cascading: Whether to fuse; otherwise each unit only feeds the next one
            (CARN-NL in Table 2).
        initializer: As for `GroupedConv2D`.

    Input shape:
        `(B, H, W, filters)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Ahn et al., ECCV 2018, equation (3), https://arxiv.org/abs/1803.08664
    """

    def __init__(
        self,
        filters,
        units=3,
        groups=None,
        recursive=False,
        cascading=True,
        initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.units = units
        self.groups = groups
        self.recursive = recursive
        self.cascading = cascading
        self.initializer = initializer
        self.residuals = [
            ResidualBlock(filters, initializer, name=f"unit_{u}")
            if groups is None
            else ResidualEBlock(filters, groups, initializer, name=f"unit_{u}")
            for u in range(1 if recursive else units)
        ]
        self.fuses = [
            GroupedConv2D(filters, 1, initializer=initializer, name=f"fuse_{u}")
            for u in range(units if cascading else 0)
        ]

    def build(self, input_shape):
        for residual in self.residuals:
            residual.build(input_shape)
        for u, fuse in enumerate(self.fuses):
            fuse.build((*input_shape[:-1], self.filters * (u + 2)))

    def call(self, inputs):
        x, cascade = inputs, [inputs]
        for u in range(self.units):
            x = self.residuals[0 if self.recursive else u](x)
            if self.cascading:
                cascade.append(x)
                x = ops.relu(self.fuses[u](ops.concatenate(cascade, axis=-1)))
        return x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "units": self.units,
            "groups": self.groups,
            "recursive": self.recursive,
            "cascading": self.cascading,
            "initializer": self.initializer,
        }
