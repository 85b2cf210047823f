import keras
import numpy as np
import pytest
from PIL import Image

from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.graph.graph import run_node
from tfsr.models import carn_m, sesr, srresnet
from tfsr.scoring.evaluation import psnr
from tfsr.tflite import export, metadata
from tfsr.tflite.conversion import convert, output_shift
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES
from tfsr.tflite.quantization.calibration import calibration_patches, with_saturated
from tfsr.tflite.runtime import TFLiteUpscaler, inspect
from tfsr.tflite.verification import verify
from tfsr.upscaling.upscalers import KerasUpscaler


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=(2, 4), filters=8, blocks=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(0, 256, (64, 48 + 40 * i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return BenchmarkFolder(folder, 2)


def test_a_size_that_a_network_does_not_take_is_told(tmp_path, folder):
    lr = keras.Input((None, None, 3))
    half = keras.layers.UpSampling2D()(keras.layers.MaxPooling2D()(lr))
    model = keras.Model(lr, keras.layers.UpSampling2D()(lr * half))
    with pytest.raises(InputError, match=r"size 7x8: \w+ does not run on such images"):
        convert(model, 2, "float32", [(7, 8)], tmp_path / "m.tflite", folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_channels_first_inside(tmp_path, folder, format):
    lr = keras.Input((16, 20, 3))
    x = keras.layers.Permute((3, 1, 2))(lr)
    x = keras.layers.Conv2D(4, 3, padding="same", data_format="channels_first")(x)
    x = keras.layers.BatchNormalization(axis=1)(x)
    x = keras.layers.Conv2DTranspose(
        3, 4, strides=2, padding="same", data_format="channels_first"
    )(x)
    model = keras.Model(lr, keras.layers.Permute((2, 3, 1))(x))
    (file,) = convert(model, 2, format, [None], tmp_path / "m.tflite", folder)
    lr = folder[0].lr[:16, :20] / np.float32(255)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 1 / 255


@pytest.mark.parametrize("format", ["int8", "int16x8"])
def test_a_network_without_convolution(tmp_path, folder, format):
    lr = keras.Input((16, 20, 3))
    sr = keras.layers.UpSampling2D(2, interpolation="bilinear")(lr)
    model = keras.Model(lr, sr)
    (file,) = convert(model, 2, format, [None], tmp_path / "m.tflite", folder)
    lr = folder[0].lr[:16, :20] / np.float32(255)
    expected = KerasUpscaler(model, 2)(lr)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).max() < 1.5 / 255


@pytest.mark.parametrize("keepdims", [True, False])
def test_what_black_divides_by_is_not_rounded_to_0(tmp_path, folder, keepdims):
    lr = keras.Input((None, None, 3))
    mean = keras.ops.mean(lr, axis=(1, 2), keepdims=True)
    deviation = keras.ops.std(lr, axis=(1, 2), keepdims=keepdims) + 1e-3
    if not keepdims:
        deviation = keras.ops.reshape(deviation, (-1, 1, 1, 3))
    normal = (lr - mean) / deviation
    model = keras.Model(lr, keras.layers.UpSampling2D()(lr + normal / 99))
    (file,) = convert(model, 2, "int8", [None], tmp_path / "m.tflite", folder)
    assert not TFLiteUpscaler(file)(np.zeros((24, 20, 3), np.float32)).any()


def test_several_sizes_get_their_names(tmp_path, model, folder):
    files = convert(
        model, 2, "int8", [(8, 12), (10, 6), None], tmp_path / "m.tflite", folder
    )
    names = ["m_8x12.tflite", "m_10x6.tflite", "m_dynamic.tflite"]
    assert [file.name for file in files] == names
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert TFLiteUpscaler(files[0]).size == (8, 12)


def test_metadata_tells_gray_from_color(tmp_path, photographs):
    gray = BenchmarkFolder(photographs, 2, channels=1)
    model = carn_m(scale=2, channels=1, filters=8, blocks=1)
    file = tmp_path / "m.tflite"
    convert(model, 2, "float32", [None], file, gray)
    assert metadata.read(file)["input"] == "float32 gray in [0, 1]"


def test_without_lowering_the_converter_calibrates(tmp_path, model, folder):
    (file,) = convert(
        model, 2, "int8", [(8, 12)], tmp_path / "m.tflite", folder, lowering=False
    )
    upscaler = TFLiteUpscaler(file)
    operators = [op["op_name"] for op in upscaler.interpreter._get_ops_details()]
    assert "SPLIT" in operators  # of the authors' pixel shuffle, which lowering removes
    lr = np.random.default_rng(0).random((8, 12, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(upscaler(lr) - expected).mean() < 4 / 255


def test_unknown_format_is_named(tmp_path, model, folder):
    with pytest.raises(InputError, match="int4: no such format; choose one of "):
        convert(model, 2, "int4", [None], tmp_path / "m.tflite", folder)
    assert not list(tmp_path.iterdir())


def test_a_size_below_the_coarsest_pixel_is_refused(tmp_path, folder):
    model = srresnet(scale=2, conv="ms3", levels=3, filters=8, blocks=1)
    sizes = [(8, 12), (3, 12)]
    with pytest.raises(InputError, match="size 3x12: each side must be 4 or more"):
        convert(model, 2, "float32", sizes, tmp_path / "m.tflite", folder)
    with pytest.raises(InputError, match="size 99999x99999: the output would have"):
        convert(model, 2, "int8", [(99999, 99999)], tmp_path / "m.tflite", folder)
    assert not list(tmp_path.iterdir())


def test_calibration_takes_all_images(folder, model):
    patches = with_saturated(calibration_patches(folder), model)
    assert {patch.shape for patch in patches[:32]} == {(32, 24, 3), (32, 44, 3)}
    assert {patch.shape for patch in patches[32:]} == {(72, 72, 3)}


@pytest.mark.parametrize("size", [(None, None), (24, 32), (5, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_calibration_takes_saturated_colours(photographs, channels, size):
    folder = BenchmarkFolder(photographs, 2, channels=channels)
    model = keras.Sequential([keras.Input((*size, channels)), keras.layers.ReLU()])
    patches = with_saturated(calibration_patches(folder), model)[32:]
    assert {(x.dtype.name, x.min(), x.max()) for x in patches} == {("float32", 0, 1)}
    ramp, *fields = patches
    assert np.isin(fields, (0, 1)).all()
    assert len(np.unique(np.reshape(fields, (-1, channels)), axis=0)) == 2**channels
    assert (ramp == ramp[..., :1]).all()
    assert len(np.unique(ramp)) >= (size[1] or 72)


def test_verify_measures_loss_and_bias(folder):
    class Constant:
        scale, channels, tiles = 2, 3, None

        def __init__(self, value):
            self.value = np.array(value, np.float32) / 255

        def __call__(self, lr):
            h, w, _ = lr.shape
            return np.broadcast_to(self.value, (2 * h, 2 * w, 3))

    report = verify(Constant([110, 100, 97]), Constant([100, 100, 100]), folder)
    assert report["channel_bias"] == [10, 0, -3]
    assert {*report["flat_field_error"].values()} == {10}
    assert {*report["gray_spread"].values()} == {13}
    assert [*report["flat_field_error"]][2] == "green"
    error = (10**2 + 3**2) / 3
    assert report["psnr_between"] == pytest.approx(10 * np.log10(255**2 / error))
    assert len(report["images"]) == 2
    assert report["loss_db"] == pytest.approx(
        report["psnr_float"] - report["psnr_quantized"]
    )
    pair = next(iter(folder))
    black = np.zeros_like(pair.hr)
    expected = pytest.approx(psnr(black + 100, pair.hr, 2))
    assert report["images"][0]["psnr_float"] == expected


def test_the_picture_is_the_worst_crop(tmp_path, folder):
    class Black:
        scale, channels, tiles = 2, 3, None

        def __call__(self, lr):
            return np.zeros((2 * lr.shape[0], 2 * lr.shape[1], 3), np.float32)

    class Flawed(Black):
        def __call__(self, lr):
            sr = super().__call__(lr)
            sr[:8] = 0.5  # worth most in the lower image
            return sr

    report = verify(Flawed(), Black(), folder, tmp_path / "worst.png")
    losses = {
        i["name"]: i["psnr_float"] - i["psnr_quantized"] for i in report["images"]
    }
    assert report["worst_image"] == max(losses, key=losses.get)
    with Image.open(tmp_path / "worst.png") as picture:
        width, height = picture.size
    assert width > 3 * height  # four crops in a row


@pytest.mark.parametrize("lowering", [True, False])
def test_int16x8_loses_next_to_nothing(tmp_path, model, folder, lowering):
    (file,) = convert(
        model, 2, "int16x8", [None], tmp_path / "m.tflite", folder, lowering
    )
    upscaler = TFLiteUpscaler(file)
    kinds = {d["dtype"] for d in upscaler.interpreter.get_tensor_details()}
    assert np.int16 in kinds
    report = verify(upscaler, KerasUpscaler(model, 2), folder)
    assert abs(report["loss_db"]) < 0.02
    assert report["psnr_between"] > 45


@pytest.mark.parametrize("conv", ["ms3", "pool_w_d2_d2u2"])
def test_multi_scale_networks_in_16_bit(tmp_path, folder, conv):
    model = srresnet(scale=2, conv=conv, filters=8, blocks=1)
    (file,) = convert(model, 2, "int16x8", [(24, 32)], tmp_path / "m.tflite", folder)
    lr = np.random.default_rng(0).random((24, 32, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 2 / 255


def quicksrnet(scale=2, filters=8, clip_last=True):
    """Berger et al., CVPRW 2023: clips to [0, 1] within and at the end."""
    lr = x = keras.Input((None, None, 3))
    for _ in range(3):
        x = keras.layers.Conv2D(filters, 3, padding="same")(x)
        x = keras.layers.ReLU(max_value=1)(x)
    x = keras.layers.Conv2D(3 * scale**2, 3, padding="same")(x)
    if not clip_last:
        x = keras.ops.clip(x, 0, 1)
    x = keras.ops.depth_to_space(x, scale)
    return keras.Model(lr, keras.ops.clip(x, 0.0, 1.0) if clip_last else x)


@pytest.mark.parametrize("clip_last", [True, False])
def test_clips_are_ranges_in_8_bit(tmp_path, photographs, clip_last):
    keras.utils.set_random_seed(0)
    model = quicksrnet(clip_last=clip_last)
    for layer in model.layers[1:]:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([3 * kernel, bias + 0.1])  # so that the clips clip
    images = BenchmarkFolder(photographs, 2)
    (file,) = convert(model, 2, "int8", [(24, 32)], tmp_path / "m.tflite", images)
    report = inspect(file)
    assert report["operators"] == {"QUANTIZE": 2, "CONV_2D": 4, "DEPTH_TO_SPACE": 1}
    assert (report["partitions"], report["float_operators"]) == (1, 0)
    lr = next(iter(images)).lr[:24, :32] / np.float32(255)
    expected = KerasUpscaler(model, 2)(lr)
    assert np.mean(expected == 1) > 0.05
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 2 / 255


@pytest.mark.parametrize("conv", ["ms3", "multigrid"])  # test_export.py has all
def test_multi_scale_networks_in_8_bit(tmp_path, folder, conv):
    keras.utils.set_random_seed(0)
    model = srresnet(scale=2, conv=conv, filters=8, blocks=1)
    (file,) = convert(model, 2, "int8", [(24, 32)], tmp_path / "m.tflite", folder)
    assert inspect(file)["float_operators"] == 0
    assert inspect(file)["partitions"] <= 2
    lr = np.random.default_rng(0).integers(0, 256, (24, 32, 3)) / np.float32(255)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 2 / 255


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_anchor_of_sesr_is_exact_in_8_bit(tmp_path, photographs, scale):
    model = sesr(scale, filters=8, blocks=1)
    for name in (f"tail_x{scale}", f"color_tail_{scale**2}"):
        tail = model.get_layer(name)
        tail.set_weights([np.zeros_like(w) for w in tail.get_weights()])
    images = BenchmarkFolder(photographs, scale)
    (file,) = convert(model, scale, "int8", [(16, 16)], tmp_path / "m.tflite", images)
    assert inspect(file)["float_operators"] == 0
    assert inspect(file)["partitions"] == 1
    levels = np.arange(256, dtype=np.float32).reshape(16, 16) / 255
    lr = np.stack([levels, levels[::-1], levels.T], axis=-1)
    nearest = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_allclose(TFLiteUpscaler(file)(lr), nearest, atol=1e-6)


def test_rounded_weights_do_not_shift_the_colours(tmp_path, folder):
    keras.utils.set_random_seed(0)
    model = carn_m(scale=2, filters=64, blocks=1)
    tail = model.get_layer("tail")
    kernel, bias = tail.get_weights()
    kernel[0, 0, 0, 2] = 4  # its channel's other weights take few steps
    tail.set_weights([kernel, bias])
    (file,) = convert(model, 2, "dynamic_int8", [None], tmp_path / "m.tflite", folder)
    report = verify(TFLiteUpscaler(file), KerasUpscaler(model, 2), folder)
    content = export.dynamic_int8(lower(model, FLOAT_RULES))
    facts = {"scale": 2, "format": "dynamic_int8"}
    file.write_bytes(metadata.with_metadata(content, facts))
    plain = verify(TFLiteUpscaler(file), KerasUpscaler(model, 2), folder)
    assert abs(report["channel_bias"][2]) < abs(plain["channel_bias"][2]) / 2


def test_what_is_beyond_white_is_no_shift():
    """Where nothing is rounded, of a network that makes white lighter and darker."""
    keras.utils.set_random_seed(0)
    graph = lower(sesr(2, filters=4, blocks=1, expanded=8), FLOAT_RULES)
    shift = output_shift(graph, run_node, [np.ones((16, 16, 3), np.float32)])
    np.testing.assert_array_equal(shift, 0)


def test_a_fixed_size_serves_images_that_the_levels_do_not_divide(tmp_path, folder):
    model = srresnet(scale=2, conv="ms3", levels=3, filters=8, blocks=1)
    (file,) = convert(model, 2, "float32", [(8, 16)], tmp_path / "m.tflite", folder)
    lr = np.random.default_rng(0).random((13, 11, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    np.testing.assert_allclose(TFLiteUpscaler(file)(lr), expected, atol=1e-5)


def test_converted_loses_little(tmp_path, model, folder):
    (file,) = convert(model, 2, "float32", [None], tmp_path / "m.tflite", folder)
    report = verify(TFLiteUpscaler(file), KerasUpscaler(model, 2), folder)
    assert abs(report["loss_db"]) < 0.001
    assert report["psnr_between"] > 60
