"""Names of layers and weights, by which files hold them."""

import pytest

from networks import small
from tfsr.models import MODELS


@pytest.mark.parametrize("network", MODELS)
def test_every_layer_is_named_by_its_builder(network):
    """Keras would give a layer without a name another one each time."""
    names, again = (
        ([layer.name for layer in model.layers], [w.path for w in model.weights])
        for model in (small(network), small(network))
    )
    assert names == again
