"""Training takes whatever operations a network is made of."""

import keras
from keras import layers, ops

import tfsr


@keras.saving.register_keras_serializable(package="tests")
class Gain(layers.Layer):
    """A layer that no table knows."""

    def build(self, input_shape):
        self.gain = self.add_weight(name="gain", shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.gain


def everything():
    """A network of many operations, each between convolutions, x2."""
    lr = keras.Input((None, None, 3))
    x = layers.Rescaling(2.0, -1.0)(lr)
    for operation in (
        *(ops.tanh, ops.sigmoid, ops.gelu, ops.silu, ops.relu6, ops.elu),
        lambda x: ops.clip(x, -1.0, 1.0),
        lambda x: ops.tile(x, (1, 1, 1, 2)),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Activation("hard_silu"),
        layers.SeparableConv2D(4, 3, padding="same"),
        layers.DepthwiseConv2D(3, padding="same", dilation_rate=2),
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.Dropout(0.1),
        Gain(name="gain"),
    ):
        x = operation(layers.Conv2D(4, 3, padding="same")(x))
    x = x * layers.GlobalAveragePooling2D(keepdims=True)(x)
    sr = layers.Conv2DTranspose(3, 4, strides=2, padding="same")(x)
    return keras.Model(lr, sr)


def test_a_network_of_everything_is_trained(tmp_path, write_config, run):
    keras.utils.set_random_seed(0)
    file, out = tmp_path / "everything.keras", tmp_path / "run"
    everything().save(file)
    train = {"epochs": 1, "steps_per_epoch": 1, "patch": 8}
    config = write_config(tmp_path / "c.toml", model={"name": str(file)}, train=train)
    code, _, error = run("train", config, "--out", out)
    assert code == 0, error
    before, after = (tfsr.load_model(model).trainable_weights for model in (file, out))
    same = [
        weight.path
        for weight, trained in zip(before, after, strict=True)
        if (keras.ops.convert_to_numpy(weight == trained)).all()
    ]
    assert same == []
