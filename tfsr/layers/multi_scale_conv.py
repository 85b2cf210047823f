import functools

import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D
from tfsr.layers.lists import check_list

INTRA = ("own", "shared", "identity")
PATHS = ("none", "both", "high_to_low", "low_to_high", "neighbours")
DOWN = {
    "average": keras.layers.AveragePooling2D,
    "max": keras.layers.MaxPooling2D,
    "nearest": functools.partial(keras.layers.MaxPooling2D, 1),
}
UP = ("nearest", "bilinear")
MAX_LEVELS = 4


@keras.saving.register_keras_serializable(package="tfsr")
class MultiScaleConv2D(keras.layers.Layer):
    """Convolves feature maps of several levels, level i at 1 / 2^i of the resolution.

    Output level j is the sum over all input levels i of f_ij(x_i):

        i = j, within a level: the convolution W_jj;
        i < j, to a lower resolution: downsampling by 2^(j-i), then W_ij;
        i > j, to a higher resolution: W_ij, then upsampling by 2^(i-j).

    The defaults are MS2-Conv's. The numbers of input and output levels may differ: the
    layer can split one level into several or aggregate several into one. With one level
    in and out it is an ordinary convolution. Each W_ij is a `GroupedConv2D`.

    Args:
        filters: Channels of each output level, 1 to 4 levels, the finest first.
        kernel_size: Side of the kernels within a level.
        intra: Convolution within a level: its `"own"`, one `"shared"` by all levels, or
            the `"identity"` (an own convolution where the numbers of channels differ).
            One of these for all levels, or a tuple with one for each output level.
        paths: Directions between levels: `"none"`, `"both"`, `"high_to_low"`,
            `"low_to_high"`, or `"neighbours"`, which is both between adjacent levels.
        path_kernel_size: Side of the kernels between levels; `kernel_size` by default.
        down: Downsampling: the `"average"` or `"max"` of 2^d x 2^d pixels, or
            `"nearest"`, the top left one of them.
        up: Upsampling: `"nearest"`, or `"bilinear"` with half-pixel centers.
        down_first: Whether downsampling comes before the convolution.
        up_first: Whether upsampling comes before the convolution.
        initializer: Initial values as for `GroupedConv2D`. By default each output level
            starts like a single convolution of all its inputs: kernels are uniform in
            +-1/sqrt(n), where n counts the inputs of all its kernels; biases start
            at 0.

    Input shape:
        A list of `(B, H / 2^i, W / 2^i, C_i)`, H and W multiples of the coarsest
        level's 2^i.

    Output shape:
        A list of `(B, H / 2^j, W / 2^j, filters[j])`.

    Reference:
        Feng et al., ECCV 2020, equation (1), https://arxiv.org/abs/2008.00239
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        intra="own",
        paths="both",
        path_kernel_size=None,
        down="average",
        up="nearest",
        down_first=True,
        up_first=False,
        initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        counts = isinstance(filters, tuple | list)
        if not counts or not 1 <= len(filters) <= MAX_LEVELS or min(filters) < 1:
            raise ValueError(
                f"`filters` must be a positive number for each of 1 to {MAX_LEVELS} "
                f"levels. Received: filters={filters}."
            )
        levels = len(filters)
        self._intra = (intra,) * levels if isinstance(intra, str) else tuple(intra)
        if len(self._intra) != levels or not set(self._intra) <= set(INTRA):
            raise ValueError(
                f"`intra` must be one of {INTRA}, or one for each level. "
                f"Received: intra={intra}, filters={filters}."
            )
        for name, value, allowed in (
            ("paths", paths, PATHS),
            ("down", down, tuple(DOWN)),
            ("up", up, UP),
        ):
            if value not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {allowed}. Received: {name}={value}."
                )
        shared = {f for f, i in zip(filters, self._intra, strict=True) if i == "shared"}
        if len(shared) > 1:
            raise ValueError(
                "`filters` must be the same where levels share their convolution. "
                f"Received: filters={filters}, intra={intra}."
            )
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.intra = intra
        self.paths = paths
        self.path_kernel_size = path_kernel_size
        self.down = down
        self.up = up
        self.down_first = down_first
        self.up_first = up_first
        self.initializer = initializer

    def build(self, input_shape):
        check_list(input_shape)
        shares = self._intra.count("shared") > 1
        if shares and len({shape[-1] for shape in input_shape}) > 1:
            raise ValueError(
                "Levels that share their convolution must have the same channels. "
                f"Received: input_shape={input_shape}."
            )
        sources = range(len(input_shape))
        self.convs = []  # each convolution of the matrix once, so that Keras saves it
        self._shared = None
        self._kernel_inputs = [  # of all kernels of an output level
            sum(self._fan_in(i, j, input_shape[i][-1]) for i in sources)
            for j in range(len(self.filters))
        ]
        self.matrix = [  # equation (1): the layers of each f_ij, None where it is 0
            [self._entry(i, j, input_shape) for i in sources]
            for j in range(len(self.filters))
        ]
        for row in self.matrix:
            if row.count(None) == len(row):
                raise ValueError(
                    "`paths` must lead to every level. Received: "
                    f"paths={self.paths}, filters={self.filters}, {len(row)} inputs."
                )

    def call(self, inputs):
        outputs = []
        for row in self.matrix:  # equation (1)
            terms = [
                functools.reduce(lambda x, layer: layer(x), entry, x)
                for entry, x in zip(row, inputs, strict=True)
                if entry is not None
            ]
            outputs.append(functools.reduce(ops.add, terms))
        return outputs

    def compute_output_shape(self, input_shape):
        b, h, w, _ = input_shape[0]
        return [
            (b, h and h // 2**j, w and w // 2**j, filters)
            for j, filters in enumerate(self.filters)
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "intra": self.intra,
            "paths": self.paths,
            "path_kernel_size": self.path_kernel_size,
            "down": self.down,
            "up": self.up,
            "down_first": self.down_first,
            "up_first": self.up_first,
            "initializer": self.initializer,
        }

    def _entry(self, i, j, input_shape):
        """Returns the layers of f_ij in order, or None where `paths` has no path."""
        if self._is_zero(i, j):
            return None
        channels = input_shape[i][-1]
        if i == j:
            return self._within(j, channels)
        return self._between(i, j, channels)

    def _is_zero(self, i, j):
        """Returns whether `paths` has no path from level i to level j."""
        absent = {
            "none": i != j,
            "both": False,
            "high_to_low": i > j,
            "low_to_high": i < j,
            "neighbours": abs(i - j) > 1,
        }
        return absent[self.paths]

    def _is_identity(self, j, channels):
        return self._intra[j] == "identity" and channels == self.filters[j]

    def _fan_in(self, i, j, channels):
        """Returns the number of inputs of W_ij; 0 where there is none."""
        if self._is_zero(i, j) or (i == j and self._is_identity(j, channels)):
            return 0
        between = self.path_kernel_size or self.kernel_size
        return (self.kernel_size if i == j else between) ** 2 * channels

    def _between(self, i, j, channels):
        """Returns the layers of f_ij for i != j."""
        size = self.path_kernel_size or self.kernel_size
        conv = self._conv(j, size, channels, f"conv_{i}_{j}")
        if i < j:
            down = DOWN[self.down](2 ** (j - i), name=f"down_{i}_{j}")
            return [down, conv] if self.down_first else [conv, down]
        up = keras.layers.UpSampling2D(
            2 ** (i - j), interpolation=self.up, name=f"up_{i}_{j}"
        )
        return [up, conv] if self.up_first else [conv, up]

    def _within(self, j, channels):
        """Returns the layers of f_jj."""
        if self._is_identity(j, channels):
            return []
        if self._intra[j] != "shared":
            return [self._conv(j, self.kernel_size, channels, f"conv_{j}_{j}")]
        if self._shared is None:
            self._shared = self._conv(j, self.kernel_size, channels, "conv")
        return [self._shared]

    def _conv(self, j, kernel_size, channels, name):
        limit = self._kernel_inputs[j] ** -0.5
        uniform = {"minval": -limit, "maxval": limit}
        initializer = self.initializer or {
            "class_name": "RandomUniform",
            "config": uniform,
        }
        conv = GroupedConv2D(
            self.filters[j], kernel_size, initializer=initializer, name=name
        )
        conv.build((None, None, None, channels))
        self.convs.append(conv)
        return conv
