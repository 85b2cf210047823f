import keras
import numpy as np
import pytest


@pytest.fixture
def check_step():
    """Checks that a step has a finite loss, and a gradient for every weight."""

    def check(model, lr, hr):
        before = [weight.copy() for weight in model.get_weights()]
        loss = dict.fromkeys(hr, "mae") if isinstance(hr, dict) else "mae"
        model.compile(optimizer="adam", loss=loss, run_eagerly=True)
        history = model.fit(lr, hr, epochs=1, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        pairs = zip(before, model.get_weights(), strict=True)
        assert min(np.abs(a - b).max() for a, b in pairs) > 0

    return check


@pytest.fixture
def check_saved(tmp_path):
    """Checks that a model gives the same once saved, whole or by its weights."""

    def check(model, lr):
        model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")
        reloaded = keras.saving.load_model(tmp_path / "model.keras")
        expected = np.asarray(model(lr))
        np.testing.assert_array_equal(reloaded(lr), expected)
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        model.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_array_equal(model(lr), expected)

    return check
