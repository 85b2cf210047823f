import keras
import numpy as np
import pytest

from tfsr.data import BenchmarkFolder, imresize
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError, NotFiniteError
from tfsr.models import carn_m, scn, single_scale
from tfsr.tflite.conversion import convert
from tfsr.tflite.quantization.aware import quantization_aware
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    SelfEnsemble,
    Unchanged,
    Upscaler,
    from_uint8,
    to_uint8,
)


class Nearest:
    """Repeats pixels, which commutes with flips and turns, then adds `ramp(x)`."""

    name = "nearest"
    scale = 2
    channels = 3
    depth = 24
    alignment = 1
    radius = 0
    far_seeing = ()
    working_bytes = 64
    task = BICUBIC
    tiles = None

    def __init__(self, slope=0.0):
        self.slope = slope

    def __call__(self, lr):
        sr = lr.repeat(2, axis=0).repeat(2, axis=1)
        return sr + self.slope * np.arange(sr.shape[1], dtype=np.float32)[:, None]


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)


def test_self_ensemble_of_an_equivariant_upscaler_changes_nothing(lr):
    ensemble = SelfEnsemble(Nearest())
    np.testing.assert_allclose(ensemble(lr), Nearest()(lr), atol=1e-6)
    assert (ensemble.scale, ensemble.channels) == (2, 3)


def test_self_ensemble_averages_over_eight(lr):
    # Upright and flipped, the ramp runs along x either way: mean (W - 1) / 2 = 6.5;
    # turned, along y either way: mean (H - 1) / 2 = 4.5.
    result = SelfEnsemble(Nearest(slope=1.0))(lr)
    np.testing.assert_allclose(result, Nearest()(lr) + 5.5, atol=1e-5)


def test_self_ensemble_of_a_model_is_equivariant(lr):
    keras.utils.set_random_seed(0)
    model = carn_m(2, filters=8, blocks=1, units=1, groups=2)
    upscaler = KerasUpscaler(model, 2)
    ensemble = SelfEnsemble(upscaler)
    turned = np.rot90(lr[:, ::-1])
    expected = np.rot90(ensemble(lr)[:, ::-1])
    np.testing.assert_allclose(ensemble(turned), expected, atol=1e-5)
    alone = np.rot90(upscaler(lr)[:, ::-1])
    assert np.abs(upscaler(turned) - alone).max() > 1e-3


def test_self_ensemble_pads_before_it_turns(lr):
    keras.utils.set_random_seed(0)
    ensemble = SelfEnsemble(KerasUpscaler(scn(1, levels=2, filters=4, blocks=1), 1))
    padded = np.pad(lr, ((0, 1), (0, 1), (0, 0)), "edge")
    np.testing.assert_allclose(ensemble(lr), ensemble(padded)[:5, :7], atol=1e-6)


def test_keras_upscaler(lr):
    keras.utils.set_random_seed(0)
    model = carn_m((2, 3), filters=8, blocks=1, units=1, groups=2)
    upscaler = KerasUpscaler(model, 3)
    sr = upscaler(lr)
    assert (upscaler.scale, upscaler.channels) == (3, 3)
    assert (sr.shape, sr.dtype) == ((15, 21, 3), np.float32)
    np.testing.assert_allclose(sr, single_scale(model, 3)(lr[None])[0], atol=1e-5)
    with pytest.raises(ValueError, match=r"Received: scale=4\."):
        KerasUpscaler(model, 4)


def test_a_layer_that_cannot_run_is_named(lr):
    x = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 3, padding="same")
    model = keras.Model(x, layer(x), name="odd")
    layer.dilation_rate = (2**31, 1)  # as a damaged file may have it
    with pytest.raises(InputError, match=r"odd: cannot be run on \d+x\d+ \(Exc.*int32"):
        KerasUpscaler(model, 1)(lr)


def test_bicubic_upscaler(lr):
    image = to_uint8(lr)
    sr = BicubicUpscaler(3)(from_uint8(image))
    np.testing.assert_array_equal(to_uint8(sr), imresize(image, 3))


def test_bytes_survive_the_way_through_floats():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    floats = from_uint8(levels)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    np.testing.assert_array_equal(to_uint8(floats), levels)


def test_to_uint8_clips_and_rounds_halves_up():
    values = np.array([-0.3, 0, 0.49, 0.5, 1.5, 2.5, 254.4, 254.5, 300]) / 255
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 2, 3, 254, 255, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_uint8_refuses_what_is_not_finite(value):
    with pytest.raises(NotFiniteError, match=r"Received: 1 of 6 values not so\."):
        to_uint8(np.array([[0, 1, value], [0, 1, 0]]))


def test_every_upscaler_is_one(tmp_path, photographs):
    keras.utils.set_random_seed(0)
    model = carn_m(2, filters=8, blocks=1, units=1, groups=2)
    images = BenchmarkFolder(photographs, 2)
    aware = quantization_aware(model, [from_uint8(pair.lr) for pair in images])
    (file,) = convert(model, 2, "float32", [None], tmp_path / "m.tflite", images)
    upscalers = [
        KerasUpscaler(model, 2),
        IntegerUpscaler(aware, 2),
        TFLiteUpscaler(file),
        BicubicUpscaler(2),
        Unchanged(),
        SelfEnsemble(KerasUpscaler(model, 2)),
        Nearest(),
    ]
    for upscaler in upscalers:
        assert isinstance(upscaler, Upscaler)
        assert upscaler.radius % upscaler.alignment == 0
        assert upscaler.working_bytes > 0
        assert not upscaler.far_seeing
    ours, integers, converted, *_ = upscalers
    assert integers.radius >= ours.radius == converted.radius > 0
    assert ours.task == converted.task == BICUBIC


@pytest.mark.parametrize("upscaler", [BicubicUpscaler(2), Unchanged()])
def test_integers_are_refused_in_a_line(upscaler):
    with pytest.raises(InputError, match=r"takes floats in \[0, 1\].*dtype=uint8"):
        upscaler(np.zeros((4, 4, 3), np.uint8))
