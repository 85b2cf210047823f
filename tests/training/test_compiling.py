import dataclasses

import keras
import numpy as np
import pytest

from tfsr.config import Config, DataConfig, TrainConfig
from tfsr.models import carn_m
from tfsr.networks import build_model
from tfsr.training import compiling
from tfsr.training.compiling import build_trainee, compile_model, copy_trained_weights

RATE = 0.5
TINY = {"scale": 2, "filters": 8, "blocks": 1, "units": 1, "groups": 2}


def config_of(**train):
    """A config of 2 epochs of 3 steps."""
    sizes = {"epochs": 2, "steps_per_epoch": 3, "batch": 2, "patch": 8}
    options = TrainConfig(**sizes, **{"learning_rate": RATE, **train})
    data = DataConfig(train=["images"], val="val")
    return Config({"name": "carn_m", **TINY}, data, options, "", "tiny.toml")


def optimizer_of(**train):
    model = carn_m(**TINY)
    compile_model(model, config_of(**train))
    return model.optimizer


def batch():
    rng = np.random.default_rng(0)
    return rng.random((2, 8, 8, 3), np.float32), rng.random((2, 16, 16, 3), np.float32)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return carn_m(**TINY)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"name": "constant"}, {0: 1, 5: 1, 9: 1}),
        ({"name": "constant", "warmup": 4}, {0: 0, 1: 1 / 4, 4: 1, 5: 1, 9: 1}),
        (
            {"name": "halve", "every": 2, "after": 1},
            {0: 1, 1: 1, 2: 1, 3: 1 / 2, 4: 1 / 2, 5: 1 / 4},
        ),
        ({"name": "halve", "every": 2}, {0: 1, 1: 1, 2: 1 / 2, 3: 1 / 2, 4: 1 / 4}),
        ({"name": "step", "every": 2, "factor": 0.1}, {1: 1, 2: 0.1, 3: 0.1, 4: 0.01}),
        ({"name": "cosine"}, {0: 1, 2: 3 / 4, 3: 1 / 2, 6: 0, 9: 0}),
        ({"name": "cosine", "warmup": 2}, {0: 0, 1: 1 / 2, 2: 1, 4: 1 / 2, 6: 0}),
    ],
    ids=lambda value: str(value) if "name" in value else "",
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_schedules_count_steps(schedule, rates, accumulate):
    optimizer = optimizer_of(schedule=schedule, accumulate=accumulate)
    for step, rate in rates.items():
        optimizer._iterations.assign(step * accumulate)  # Keras counts batches
        assert int(optimizer.iterations) == step
        assert float(optimizer.learning_rate) == pytest.approx(RATE * rate, abs=1e-7)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("l1", np.abs),
        ("l2", np.square),
        ("charbonnier", lambda d: np.sqrt(d**2 + 1e-6)),
    ],
)
@pytest.mark.parametrize("scale", [3, (2, 3)])
def test_the_loss_is_averaged_over_scales(loss, formula, scale):
    keras.utils.set_random_seed(0)
    model = carn_m(**{**TINY, "scale": scale})
    compile_model(model, config_of(loss=loss))
    rng = np.random.default_rng(0)
    scales = (scale,) if isinstance(scale, int) else scale
    lr = {f"lr_x{s}": rng.random((2, 5, 5, 3), dtype="float32") for s in scales}
    hr = {f"sr_x{s}": rng.random((2, 5 * s, 5 * s, 3), dtype="float32") for s in scales}
    if len(scales) == 1:
        lr, hr = lr["lr_x3"], hr["sr_x3"]
        expected = formula(model(lr) - hr).mean()
    else:
        sr = model(lr)
        expected = np.mean([formula(sr[k] - hr[k]).mean() for k in hr])
    found = model.test_on_batch(lr, hr, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


def steps(optimizer, weights, gradients):
    """Returns `weights` after a step of each of `gradients`."""
    variable = keras.Variable(weights)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


WEIGHTS = np.array([1.0, -2.0, 3.0], np.float32)
GRADIENTS = np.array([[0.3, -0.9, 6.0], [-0.1, 0.2, 0.5]], np.float32)


@pytest.mark.parametrize(
    ("options", "clip", "penalty", "decay"),
    [
        ({}, lambda g: g, 0, 0),
        ({"clip_value": 0.4}, lambda g: np.clip(g, -0.4, 0.4), 0, 0),
        ({"clip_norm": 1}, lambda g: g / max(1, np.linalg.norm(g)), 0, 0),
        ({"weight_decay": 0.1}, lambda g: g, 0, 0.1),
        (
            {"clip_value": 0.4, "l2_penalty": 0.1},
            lambda g: np.clip(g, -0.4, 0.4),
            0.1,
            0,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_sgd_has_momentum_clipping_and_decay(options, clip, penalty, decay):
    w, velocity = WEIGHTS, 0
    for gradient in GRADIENTS:
        velocity = 0.9 * velocity - RATE * (clip(gradient) + penalty * w)
        w = w - RATE * decay * w + velocity
    # Keras decays first and adds the penalty to what is left; here only one is there.
    found = steps(optimizer_of(optimizer="sgd", **options), WEIGHTS, GRADIENTS)
    np.testing.assert_allclose(found, w, rtol=1e-5)


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_adam_has_the_papers_constants(penalty):
    w, m, v = WEIGHTS.astype(float), 0, 0
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient + (penalty or 0) * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    found = steps(optimizer_of(l2_penalty=penalty), WEIGHTS, GRADIENTS)
    np.testing.assert_allclose(found, w, rtol=1e-4)


def test_accumulated_gradients_make_one_step():
    found = steps(optimizer_of(accumulate=2, clip_norm=1), WEIGHTS, GRADIENTS)
    expected = steps(optimizer_of(clip_norm=1), WEIGHTS, [GRADIENTS.mean(0)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found != WEIGHTS).all()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_averages_of_the_weights(model, accumulate):
    trainee = build_trainee(
        model, config_of(ema=0.81, accumulate=accumulate, learning_rate=1e-2)
    )
    momentum = 0.81 ** (1 / accumulate)  # twice a step, it weighs as much
    for i in range(3 * accumulate):
        trainee.train_on_batch(*batch())
        now = trainee.get_weights()
        if i < accumulate:  # the average begins after the first step
            averages = now
        averages = [
            momentum * a + (1 - momentum) * w
            for a, w in zip(averages, now, strict=True)
        ]
    copy_trained_weights(trainee, model)
    for found, expected in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for found, expected in zip(trainee.get_weights(), now, strict=True):
        np.testing.assert_array_equal(found, expected)
    moved = [
        np.abs(a - w).max() for a, w in zip(averages, now, strict=True) if a.ndim == 4
    ]
    assert min(moved) > 1e-4  # so that the averages are other weights


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision(model, precision, monkeypatch):
    monkeypatch.setattr(compiling, "is_fast", lambda precision: True)
    plain = build_trainee(model, config_of())
    mixed = build_trainee(model, config_of(mixed_precision=precision))
    assert keras.config.dtype_policy().name == "float32"
    assert mixed.get_layer("head").compute_dtype == precision
    assert {w.dtype for w in mixed.trainable_variables} == {"float32"}
    scaled = isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "float16")
    losses = [float(m.train_on_batch(*batch())) for m in (plain, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    before = model.get_weights()
    copy_trained_weights(mixed, model)
    assert model(batch()[0]).dtype == "float32"
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "network",
    [
        {"name": "cmsc", "stages": 2, "modules": 1},
        {"name": "cmsc", "stages": 2, "modules": 1, "reconstruction": "shared"},
        {"name": "cmsc", "stages": 2, "modules": 1, "supervision": "last"},
        {"name": "pmsc", "modules": 1},
        {"name": "vdsr", "layers": 3},
    ],
    ids=["cmsc", "cmsc_sr", "cmsc_ns", "pmsc", "vdsr"],
)
def test_mixed_precision_does_not_round_the_image(network, precision, monkeypatch):
    monkeypatch.setattr(compiling, "is_fast", lambda precision: True)
    config = dataclasses.replace(
        config_of(mixed_precision=precision), model={**network, "filters": 4}
    )
    trainee = build_trainee(build_model(config.model, "tiny.toml"), config)
    for weight in trainee.weights:
        if "tail" in weight.path:
            weight.assign(np.zeros(weight.shape))
    lr = np.random.default_rng(0).random((2, 8, 9, 1), np.float32)
    for prediction in keras.tree.flatten(trainee(lr, training=True)):
        np.testing.assert_array_equal(prediction, lr)


def test_cascaded_supervision_is_equation_8():
    rng = np.random.default_rng(0)
    lr, hr = rng.random((2, 2, 6, 7, 1), np.float32)
    config = dataclasses.replace(
        config_of(loss="l2_sum"),
        model={"name": "cmsc", "stages": 3, "modules": 1, "filters": 2},
    )
    model = build_model(config.model, "cmsc.toml")
    trainee = build_trainee(model, config)
    loss = trainee.test_on_batch(lr, hr, return_dict=True)["loss"]

    predictions = {name: np.asarray(y) for name, y in model(lr).items()}
    halves = {
        name: np.square(hr - y).sum() / (2 * len(hr)) for name, y in predictions.items()
    }
    alpha = 2 / (3 + 2)
    stages = (halves["stage_1"] + halves["stage_2"] + halves["stage_3"]) / 3
    expected = alpha * halves["sr"] + (1 - alpha) * stages
    assert loss == pytest.approx(expected, rel=1e-5)
