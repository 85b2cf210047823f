"""Every command takes plain Keras models that tfsr has never seen."""

import json

import keras
import numpy as np
import pytest
import skimage.data
from keras import layers, ops
from PIL import Image

import tfsr
from strangers import STRANGERS
from tfsr.data import imresize
from tfsr.errors import InputError
from tfsr.models import scales
from tfsr.tflite.runtime import inspect
from tfsr.training.gradients import check_gradients

DENOISE = {"degradation": "noise", "sigma": 10}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The strangers as `.keras` files, by name."""
    folder = tmp_path_factory.mktemp("strangers")
    for name, (build, *_) in STRANGERS.items():
        keras.utils.set_random_seed(0)
        build().save(folder / f"{name}.keras")
    return folder


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(skimage.data.chelsea()[50:190, 100:250]).save(
        tmp_path / "photo.png"
    )
    return tmp_path / "photo.png"


@pytest.mark.parametrize("name", STRANGERS)
def test_every_command(name, files, tmp_path, write_config, photographs, photo, run):
    _, scale, per_pixel = STRANGERS[name]
    file, out = files / f"{name}.keras", tmp_path / "run"
    restores = ("--noise", "10") if scale == 1 else ()

    code, text, _ = run("summary", file, "--size", "32x32", "--json")
    of_gate = 128 if name == "imdn" else 0
    assert code == 0
    assert json.loads(text)["mult_adds"] == per_pixel * 32**2 + of_gate
    assert bool(json.loads(text)["far_seeing"]) == (name == "imdn")

    config = write_config(
        tmp_path / "stranger.toml",
        model={"name": str(file)},
        data=DENOISE if scale == 1 else {},
        train={"epochs": 1, "steps_per_epoch": 3, "patch": 16, "learning_rate": 1e-3},
    )
    code, _, error = run("train", config, "--out", out)
    assert code == 0, error
    before, after = (tfsr.load_model(m).get_weights() for m in (file, out))
    assert any((a != b).any() for a, b in zip(before, after, strict=True))

    code, text, error = run("evaluate", out, photographs, *restores, "--json")
    assert code == 0, error
    assert np.isfinite(json.loads(text)["mean"]["psnr_y"])

    tflite = tmp_path / f"{name}.tflite"
    convert = ("convert", out, "--format", "float32", "--size", "24x32", *restores)
    code, text, error = run(*convert, "--verify", photographs, "-o", tflite, "--json")
    assert code == 0, error
    assert json.loads(text)["psnr_between"] in ("inf",) or (
        json.loads(text)["psnr_between"] > 90
    )
    code, text, error = run("benchmark", tflite, "--runs", "1", "--json")
    assert code == 0, error


@pytest.mark.parametrize("name", STRANGERS)
def test_int8(name, files, tmp_path, photographs, run):
    restores = ("--noise", "10") if STRANGERS[name][1] == 1 else ()
    convert = ("convert", files / f"{name}.keras", "--format", "int8", *restores)
    folders = ("--calibrate", photographs, "--verify", photographs)
    out = ("--size", "24x32", "-o", tmp_path / "m.tflite", "--json")
    code, text, error = run(*convert, *folders, *out)
    assert code == 0, error
    report = json.loads(text)
    assert report["psnr_between"] > 40
    assert abs(report["loss_db"]) < 0.1
    operators = inspect(tmp_path / "m.tflite")["operators"]
    assert not {"MINIMUM", "MAXIMUM"} & {*operators}


@pytest.mark.parametrize("name", STRANGERS)
def test_tiles_give_what_the_whole_gives(name, files, tmp_path, photo, run):
    scale = STRANGERS[name][1]
    command = "restore" if scale == 1 else "upscale"
    model = ("--model", files / f"{name}.keras")
    images = []
    for tile in (68, 1024):
        out = tmp_path / f"tile_{tile}.png"
        code, _, error = run(command, photo, *model, "-o", out, "--tile", tile)
        assert code == 0, error
        if name == "imdn" and tile == 68:
            assert "see the whole image" in error
        images.append(np.asarray(Image.open(out)).astype(int))
    difference = np.abs(images[0] - images[1]).max()
    assert difference <= (1 if name != "imdn" else 64)


@keras.saving.register_keras_serializable(package="tests")
class Kernel(layers.Layer):
    """Convolves with a kernel that it multiplies from two weights."""

    def __init__(self, once=False, **kwargs):
        super().__init__(**kwargs)
        self.once = once

    def build(self, input_shape):
        self.a = self.add_weight(name="a", shape=(27, 8), initializer="he_normal")
        self.b = self.add_weight(name="b", shape=(8, 12), initializer="he_normal")
        self.kernel = ops.matmul(ops.copy(self.a), ops.copy(self.b))

    def call(self, inputs):
        kernel = self.kernel if self.once else ops.matmul(self.a, self.b)
        return ops.conv(inputs, ops.reshape(kernel, (3, 3, 3, 12)), padding="same")

    def get_config(self):
        return {**super().get_config(), "once": self.once}


def composed(once=False):
    lr = keras.Input((None, None, 3))
    return keras.Model(lr, ops.depth_to_space(Kernel(once, name="kernel")(lr), 2))


def test_a_kernel_of_two_weights_is_trained(tmp_path, write_config, run):
    file, out = tmp_path / "composed.keras", tmp_path / "run"
    composed().save(file)
    config = write_config(tmp_path / "c.toml", model={"name": str(file)})
    code, _, error = run("train", config, "--out", out)
    assert code == 0, error
    before, after = (tfsr.load_model(m).get_weights() for m in (file, out))
    for weight, trained in zip(before, after, strict=True):
        assert (weight != trained).any()


def test_a_weight_that_no_gradient_reaches_ends_the_training():
    with pytest.raises(InputError, match=r"no gradient reaches kernel/a, kernel/b"):
        check_gradients(composed(once=True), 8)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(8, 3, padding="same", activation="relu")
        self.last = keras.Sequential([layers.Conv2D(12, 3, padding="same")])

    def call(self, inputs):
        return ops.depth_to_space(self.last(self.first(inputs)), 2)


def test_subclassed_models_and_fixed_sizes(tmp_path):
    subclassed, image = Subclassed(), np.random.default_rng(0).random((1, 9, 7, 3))
    subclassed(keras.Input((None, None, 3)))
    expected = subclassed(image)
    subclassed.save(tmp_path / "subclassed.keras")
    model = tfsr.load_model(tmp_path / "subclassed.keras")
    np.testing.assert_allclose(model(image), expected, atol=1e-6)
    assert tfsr.graph.complexity.mult_adds(model, 10, 10) == 100 * 9 * (24 + 96)

    built_by_a_call = Subclassed()  # whose Sequential is shown this size alone
    expected_there = built_by_a_call(image)
    built_by_a_call.save(tmp_path / "called.keras")
    model = tfsr.load_model(tmp_path / "called.keras")
    np.testing.assert_allclose(model(image), expected_there, atol=1e-6)
    assert tfsr.graph.complexity.mult_adds(model, 10, 10) == 100 * 9 * (24 + 96)

    lr = keras.Input((16, 24, 3))
    keras.Model(lr, subclassed(lr)).save(tmp_path / "fixed.keras")
    model = tfsr.load_model(tmp_path / "fixed.keras")
    assert model.input.shape[1:3] == (None, None)
    np.testing.assert_allclose(model(image), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(None, None), (16, 24)])
@pytest.mark.parametrize("begins", [True, False])
def test_sequential_models(tmp_path, photo, run, size, begins):
    model = keras.Sequential([keras.Input((*size, 3))] if begins else [])
    model.add(layers.Conv2D(8, 3, padding="same", activation="relu"))
    model.add(layers.Conv2DTranspose(3, 4, strides=2, padding="same"))
    image = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    expected = model(image)
    model.save(tmp_path / "m.keras")
    loaded = tfsr.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(image), expected, atol=1e-6)
    code, _, error = run("upscale", photo, "--model", tmp_path / "m.keras")
    assert code == 0, error
    assert tfsr.upscale(image[0], model=model).shape == (32, 48, 3)


@keras.saving.register_keras_serializable(package="tests")
class Doubling(keras.Sequential):
    def call(self, inputs, **options):
        return layers.UpSampling2D()(super().call(inputs, **options))


def test_a_sequential_model_that_does_more_than_keras_sees_is_refused():
    model = Doubling([keras.Input((None, None, 3)), layers.Conv2D(3, 1)])
    with pytest.raises(InputError, match="doubling: does not run on images"):
        tfsr.load_upscaler(model)


def test_a_model_of_uint8_is_refused():
    lr = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(lr, layers.Rescaling(1 / 255)(lr))
    with pytest.raises(InputError, match=r"takes uint8; must take floats in \[0, 1\]"):
        tfsr.load_upscaler(model)


def flattening():
    """A model that runs at one size alone."""
    lr = keras.Input((12, 16, 3))
    x = layers.Dense(12 * 16 * 3)(layers.Flatten()(lr))
    x = layers.Reshape((12, 16, 3))(x) * 0.1 + lr
    return keras.Model(lr, layers.UpSampling2D(2, interpolation="bilinear")(x))


def test_a_model_of_one_size_takes_any_image_by_tiles(tmp_path, photo, run):
    file, out = tmp_path / "fixed.keras", tmp_path / "out.png"
    flattening().save(file)
    assert scales(tfsr.load_model(file)) == (2,)
    code, _, error = run("upscale", photo, "--model", file, "-o", out)
    assert code == 0, error
    assert "tiles of 12x16, all that the model takes" in error
    lr, sr = (np.asarray(Image.open(f)).astype(float) for f in (photo, out))
    assert sr.shape[:2] == (2 * lr.shape[0], 2 * lr.shape[1])
    bicubic = imresize(lr, 2)
    assert np.abs(sr - bicubic).mean() < 40


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda x: layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), "gives"),
        (lambda x: layers.Conv2D(3, 3)(x), "gives 46x46 pixels for 48x48"),
        (lambda x: layers.Conv2D(1, 1)(x), "takes 3 channels and gives 1"),
        (lambda x: [x + 1, x + 2], "has 1 inputs and 2 outputs"),
    ],
)
def test_what_is_not_from_image_to_image_is_refused(build, said, tmp_path):
    x = keras.Input((None, None, 3))
    keras.Model(x, build(x)).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match=rf"other\.keras: {said}"):
        tfsr.load_model(tmp_path / "other.keras")


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: keras.Model([x], [y]),
        lambda x, y: keras.Model({"luma_in": x}, {"sr": y}),
    ],
)
def test_one_image_in_a_list_or_a_dict(build, tmp_path):
    x = keras.Input((None, None, 3), name="luma_in")
    y = layers.UpSampling2D(2)(layers.Conv2D(3, 3, padding="same")(x))
    build(x, y).save(tmp_path / "packed.keras")
    model = tfsr.load_model(tmp_path / "packed.keras")
    assert scales(model) == (2,)
    assert model(np.zeros((1, 6, 8, 3), "float32")).shape == (1, 12, 16, 3)


def test_resizing_to_a_number_of_pixels_is_of_one_size(tmp_path, photo, run):
    lr = keras.Input((40, 40, 3))
    x = layers.Resizing(80, 80)(lr) + layers.UpSampling2D(2)(lr)
    keras.Model(lr, x).save(tmp_path / "resizing.keras")
    model = tfsr.load_model(tmp_path / "resizing.keras")
    assert model.input.shape[1:3] == (40, 40)
    large, small = (tmp_path / f"{tile}.png" for tile in (1024, 128))
    for out in (large, small):
        options = ("--model", tmp_path / "resizing.keras", "--tile", out.stem)
        assert run("upscale", photo, *options, "-o", out)[0] == 0
    np.testing.assert_array_equal(Image.open(large), Image.open(small))


def test_a_file_that_cannot_be_resized_comes_in_tiles(tmp_path, photo, run):
    lr = keras.Input((24, 32, 3))
    x = layers.Conv2D(12, 3, padding="same")(lr)
    x = layers.GroupNormalization(3, name="norm")(x)
    keras.Model(lr, ops.depth_to_space(x, 2)).save(tmp_path / "norm.keras")
    tflite = tmp_path / "norm.tflite"
    convert = ("convert", tmp_path / "norm.keras", "--format", "float32")
    code, _, error = run(*convert, "--size", "24x32", "-o", tflite)
    assert code in (0, 1), error  # tiles of what sees the whole shift colours
    assert "may see the whole image (norm), the file 24x32 pixels: 2 of 2" in error
    assert (code == 0) or "above 0.5, with 2 of 2 images in tiles or padded." in error
    code, _, error = run("upscale", photo, "--model", tflite, "-o", tmp_path / "o.png")
    assert code == 0, error
    assert "may show: the network may see the whole image (norm)" in error


def test_what_is_no_model_is_refused_in_a_line():
    with pytest.raises(InputError, match=r"Received: name=3"):
        tfsr.load_model(3)
    with pytest.raises(InputError, match="no such file"):
        tfsr.zoo.keras_models.read_keras("nowhere.keras")
