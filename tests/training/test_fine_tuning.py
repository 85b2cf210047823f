import keras
import numpy as np
import pytest

from tfsr.models import sesr
from tfsr.training.fine_tuning import start_from


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = sesr(2, filters=4, blocks=1, expanded=8)
    model.save(tmp_path_factory.mktemp("narrow") / "sesr.keras")
    return model, tmp_path_factory.getbasetemp() / "narrow0" / "sesr.keras"


def output(model):
    return np.asarray(model(np.random.default_rng(0).random((1, 9, 8, 3), np.float32)))


def test_a_wide_chain_starts_as_the_narrow_one(narrow):
    model, file = narrow
    keras.utils.set_random_seed(1)
    wide = sesr(2, filters=6, blocks=1, expanded=12)
    before = wide.get_layer("block_0").get_weights()
    line = start_from(wide, str(file))
    assert line == (
        f"init_from {file}: taken colors, color_tail_4; "
        "widened head, block_0, color_gate, tail_x2."
    )
    np.testing.assert_allclose(output(wide), output(model), atol=1e-6)
    expand, project, _ = wide.get_layer("block_0").get_weights()
    np.testing.assert_array_equal(project[:, 4:], before[1][:, 4:])
    np.testing.assert_array_equal(
        expand[:, :, :, 8:][:, :, 4:], before[0][:, :, 4:, 8:]
    )
    assert (expand[:, :, 4:, :8] == 0).all()


def test_a_deep_chain_starts_near_the_shallow_one(narrow):
    _, file = narrow
    deep = sesr(2, filters=4, blocks=2, expanded=8)
    assert start_from(deep, str(file)).endswith("; new block_1 (not there).")


def test_a_narrow_chain_takes_nothing_of_a_wide_one(narrow):
    small = sesr(2, filters=2, blocks=1, expanded=8)
    assert "new head (other shapes), block_0 (other shapes)" in start_from(
        small, str(narrow[1])
    )


def test_another_scale_has_last_convolutions_of_its_own(narrow):
    wide = sesr(4, filters=6, blocks=1, expanded=8)
    new = "; new tail_x4 (not there), color_tail_16 (not there)."
    assert start_from(wide, str(narrow[1])).endswith(new)
