import keras
import numpy as np
import pytest

from tfsr.models import carn, carn_m, cmsc, ms3_carn, srresnet
from tfsr.training.unjoined_groups import UnjoinedGroups

TINY = {"filters": 8, "blocks": 2, "units": 2}


@pytest.mark.parametrize(
    "model",
    [
        lambda: carn_m(4, groups=2, **TINY),
        lambda: carn_m((2, 3), groups=4, **TINY),
        lambda: carn(3, **TINY),
        lambda: ms3_carn(2, filters=8, blocks=1, units=1),
        lambda: srresnet(2, "w_d2", filters=8, blocks=1),
        lambda: cmsc(stages=2, modules=1, filters=8),  # with batch normalization
    ],
    ids=["x4", "two_scales", "no_groups", "ms3", "dilated", "cmsc"],
)
def test_results_and_gradients_are_those_of_the_model(model):
    keras.utils.set_random_seed(0)
    model = model()
    apart = UnjoinedGroups(model.input, model.output, name=model.name)
    rng = np.random.default_rng(0)
    lr = keras.tree.map_structure(
        lambda x: rng.random((2, 6, 8, x.shape[-1]), np.float32), model.input
    )
    hr = keras.tree.map_structure(np.zeros_like, model(lr))
    weights = model.get_weights()
    trained = []
    for network in (model, apart):
        network.set_weights(weights)
        for ours, theirs in zip(
            keras.tree.flatten(network(lr)), keras.tree.flatten(model(lr)), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        loss = "mse" if len(model.outputs) == 1 else dict.fromkeys(model.output, "mse")
        network.compile("sgd", loss)
        network.train_on_batch(lr, hr)
        trained.append(network.get_weights())
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert any((a != b).any() for a, b in zip(weights, trained[0], strict=True))


def test_groups_are_joined_only_where_needed(monkeypatch):
    model = carn_m(4, groups=2, filters=8, blocks=1, units=1)
    apart = UnjoinedGroups(model.input, model.output)
    joined = []
    concatenate = keras.ops.concatenate

    def counting(parts, axis):
        joined.append(len(parts))
        return concatenate(parts, axis=axis)

    monkeypatch.setattr(keras.ops, "concatenate", counting)
    apart(np.zeros((1, 6, 8, 3), np.float32))
    # For the pointwise convolution, the two fusions and the tail; not between the
    # grouped ones of the unit, nor those of the upsampler.
    assert len(joined) == 4
