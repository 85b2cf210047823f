import keras
from keras import ops

from tfsr.layers.lists import check_list


@keras.saving.register_keras_serializable(package="tfsr")
class WeightedAverage(keras.layers.Layer):
    """Sums S tensors, each times a learned weight that starts at 1 / S.

    Input shape:
        A list of S tensors `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`.

    Reference:
        Hu et al., 2018, equation (7), https://arxiv.org/abs/1802.08808
    """

    def build(self, input_shape):
        check_list(input_shape)
        count = len(input_shape)
        self.shares = self.add_weight(
            name="shares",
            shape=(count,),
            initializer=keras.initializers.Constant(1 / count),
        )

    def call(self, inputs):
        shares = ops.unstack(self.shares, len(inputs))
        return sum(w * x for w, x in zip(shares, inputs, strict=True))

    def compute_output_shape(self, input_shape):
        return input_shape[0]
