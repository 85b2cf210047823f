import keras
import numpy as np
import pytest
from keras import layers

from tfsr.config import read_config
from tfsr.data import BenchmarkFolder
from tfsr.data.degradations import GaussianNoise
from tfsr.models import carn_m
from tfsr.tflite.conversion import output_shift
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization import training
from tfsr.tflite.quantization.aware import is_quantization_aware
from tfsr.tflite.quantization.calibration import fitted
from tfsr.tflite.quantization.sensitivity import measure_sensitivity


def pooled(levels=4):
    """A network whose pools and skip take multiples of 2^levels alone."""
    lr = x = keras.Input((None, None, 3))
    x = layers.MaxPooling2D(2**levels)(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.UpSampling2D(2**levels)(x)
    x = layers.Add()([layers.Conv2D(3, 1)(x), lr])
    return keras.Model(lr, layers.Conv2D(3, 1, name="tail")(x))


def ramp(height, width):
    return np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)


def test_patches_are_cut_to_multiples():
    one, two = fitted([ramp(35, 72), ramp(10, 40)], pooled())
    np.testing.assert_array_equal(one, ramp(35, 72)[:32, :64])
    np.testing.assert_array_equal(
        two[:, :, 0], np.resize(ramp(10, 40), (16, 40, 3))[:, :32, 0]
    )
    assert fitted([ramp(35, 71)], carn_m(2, 8, 1, 1, 2))[0].shape == (35, 71, 3)


def test_patches_fill_the_one_size_of_a_network():
    model = keras.Sequential([keras.Input((5, 3, 3)), layers.Conv2D(3, 1)])
    (patch,) = fitted([ramp(4, 6)], model)
    np.testing.assert_array_equal(patch, ramp(4, 6)[[0, 1, 2, 3, 0], :3])


def test_networks_that_need_multiples_are_trained_in_8_bits(
    write_config, tmp_path, monkeypatch
):
    pooled().save(tmp_path / "float.keras")
    config = write_config(
        tmp_path / "qat.toml",
        model={"name": str(tmp_path / "float.keras")},
        data={"degradation": "noise", "sigma": 10},
        quantize={},
    )
    monkeypatch.setattr(training, "train", lambda config, *_: config.builder())
    run = tmp_path / "float.keras"
    aware = training.quantize_train(run, read_config(config), tmp_path / "run")
    assert is_quantization_aware(aware)


def test_networks_that_need_multiples_are_measured(photographs):
    folder = BenchmarkFolder(photographs, 1, degradation=GaussianNoise(10)).first(1)
    patches = fitted([np.ones((72, 72, 3), np.float32)], pooled())
    report = measure_sensitivity(pooled(), 1, folder, patches)
    assert np.isfinite(report["loss_db"])


def test_the_shift_of_networks_that_need_multiples():
    graph = lower(pooled(), INT8_RULES)

    def brighter(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        last = node.outputs[0] is graph.outputs[0]
        return outputs + np.array([0.1, 0.2, 0.3]) if last else outputs

    patches = [np.zeros((72, 72, 3), np.float32)]
    shift = output_shift(graph, brighter, fitted(patches, pooled()))
    assert shift == pytest.approx([0.1, 0.2, 0.3], abs=1e-5)
