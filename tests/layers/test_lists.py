import keras
import pytest

from tfsr.layers import (
    BranchedConv2D,
    JoinScales,
    MultiScaleConv2D,
    MultiScaleCross,
    ScaleWiseBlock,
    ScaleWiseConv2D,
    WeightedAverage,
)


@pytest.mark.parametrize(
    "layer",
    [
        BranchedConv2D((4, 4)),
        JoinScales(),
        MultiScaleConv2D((4, 4)),
        MultiScaleCross(3),
        ScaleWiseBlock(3),
        ScaleWiseConv2D(3),
        WeightedAverage(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_tensor_is_no_list(layer):
    with pytest.raises(ValueError, match=r"list of tensors.*Received: a tensor"):
        layer(keras.Input((8, 8, 3)))
