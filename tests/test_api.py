import inspect
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr import metrics
from tfsr.data import JPEG, BenchmarkFolder, read_image
from tfsr.errors import InputError
from tfsr.models import carn_m, scales
from tfsr.upscaling.upscalers import BicubicUpscaler, KerasUpscaler
from tfsr.zoo import released
from tfsr.zoo.summary import summarize

SMALL = {"filters": 8, "blocks": 1, "units": 1, "groups": 2}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    keras.utils.set_random_seed(0)
    file = tmp_path_factory.mktemp("models") / "small.keras"
    carn_m((2, 4), **SMALL).save(file)
    return file


def test_import_is_light_and_fast():
    code = (
        "import sys, time; start = time.perf_counter(); import tfsr\n"
        "print(time.perf_counter() - start)\n"
        "tfsr.load_upscaler, tfsr.metrics.psnr, tfsr.data.imresize\n"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        took, loaded = done.stdout.splitlines()
        seconds.append(float(took))
        assert loaded == "[]"
    assert min(seconds) < 0.2


def test_every_name_is_there():
    for name in tfsr.__all__:
        assert getattr(tfsr, name) is not None
    assert {*tfsr.__all__} <= {*dir(tfsr)}
    with pytest.raises(AttributeError, match="no attribute 'unscale'"):
        tfsr.unscale  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Patches'"):
        tfsr.data.Patches  # noqa: B018


def test_program_and_version():
    module = [sys.executable, "-m", "tfsr"]
    done = subprocess.run([*module, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"tfsr {tfsr.__version__}\n")
    done = subprocess.run([*module, "nothing"], capture_output=True, text=True)
    assert done.returncode == 2


@pytest.mark.parametrize("name", tfsr.MODELS)
def test_builders_show_their_defaults(name):
    parameters = inspect.signature(tfsr.MODELS[name]).parameters
    assert {"scale", "channels"} <= parameters.keys()
    for parameter in parameters.values():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameter.default is not inspect.Parameter.empty
    assert inspect.getdoc(tfsr.MODELS[name])


def test_models_of_one_scale(file):
    assert scales(tfsr.load_model(file)) == (2, 4)
    assert scales(tfsr.load_model(file, scale=4)) == (4,)
    with pytest.raises(InputError, match=r"small\.keras: has x2, x4; not x3"):
        tfsr.load_model(file, scale=3)


def test_mistakes_name_arguments_and_no_options(photographs):
    with pytest.raises(InputError, match="`uint8` and `seed` are for degraded LR"):
        tfsr.evaluate(BicubicUpscaler(2), photographs, seed=1)
    with pytest.raises(InputError, match="for x7; give a `model`"):
        tfsr.upscale(np.zeros((4, 4), np.uint8), scale=7)


def test_a_name_whose_scales_are_networks_of_their_own(monkeypatch, tmp_path, file):
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    for scale in (2, 3):
        (tmp_path / f"plain_x{scale}.npz").touch()
    released.write_digests()
    assert released.names() == ["plain"]
    assert released.find("plain", 3) == tmp_path / "plain_x3.npz"
    assert released.find("plain", smallest=True) == tmp_path / "plain_x2.npz"
    assert released.find("plain_x3") == tmp_path / "plain_x3.npz"
    assert released.find("other", 3) == Path("other")
    assert released.find(file, 3) == file
    choice = r"plain: has networks of x2, x3; choose one by `scale`, or as plain_x2\."
    with pytest.raises(InputError, match=choice):
        tfsr.load_model("plain")
    (tmp_path / "other_x2.npz").touch()
    released.write_digests()
    assert released.find("other") == tmp_path / "other_x2.npz"  # its only one
    with pytest.raises(InputError, match="plain: has networks of x2, x3; not x4"):
        tfsr.load_upscaler("plain", scale=4)


def test_upscale_takes_what_loads(file, photographs):
    image = read_image(photographs / "coffee.png")
    model = tfsr.load_model(file)
    expected = KerasUpscaler(model, 2)(image.astype(np.float32) / 255)
    expected = (np.clip(expected, 0, 1) * 255 + 0.5).astype(np.uint8)
    for given in (file, str(file), model, KerasUpscaler(model, 2)):
        sr = tfsr.upscale(image, model=given, scale=2)
        assert sr.dtype == np.uint8
        assert np.abs(sr.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(tfsr.upscale(image, file), sr)  # its smallest scale
    floats = image[:9, :8, 0] / 255
    listed = tfsr.upscale(floats.tolist(), "bicubic", scale=2)
    np.testing.assert_array_equal(listed, tfsr.upscale(floats, "bicubic", scale=2))
    with pytest.raises(InputError, match=r"must be a name.*Received: NoneType"):
        tfsr.load_upscaler(None)
    with pytest.raises(InputError, match="small: has x2; not x4"):
        tfsr.upscale(image, KerasUpscaler(model, 2, name="small"), scale=4)
    with pytest.raises(InputError, match="`image` must be uint8, uint16 or float"):
        tfsr.upscale(image.astype(int), model=file)


def test_the_default_of_uint8_is_int8(monkeypatch):
    asked = []

    def load_upscaler(model, scale, smallest):
        asked.append((model, scale))
        return BicubicUpscaler(scale)

    monkeypatch.setattr("tfsr.api.load_upscaler", load_upscaler)
    image = np.zeros((8, 9, 3))
    assert tfsr.upscale(image.astype(np.uint8)).shape == (16, 18, 3)
    tfsr.upscale(image.astype(np.uint8), scale=3)
    tfsr.upscale(image)
    tfsr.upscale(image.astype(np.uint16))
    assert asked == [
        ("sesr_m_x2_int8", 2),
        ("sesr_m_x3_int8", 3),
        ("sesr_m", 2),
        ("sesr_m", 2),
    ]


def test_evaluate_is_the_command(file, photographs, report):
    expected = report("evaluate", file, photographs, "--scale", "2")
    ours = tfsr.evaluate(file, photographs, scale=2)
    assert ours["mean"] == expected["mean"]
    bicubic = tfsr.evaluate("bicubic", photographs, scale=2)
    again = tfsr.evaluate(BicubicUpscaler(2), photographs)
    assert bicubic == again
    arguments = {"degradation": JPEG(10), "metrics": ["psnr"], "border": 4}
    degraded = tfsr.evaluate(file, photographs, scale=2, **arguments)
    jpeg = {"name": "jpeg", "quality": 10, "seed": 0}
    assert degraded["degradation"] == [{"name": "bicubic"}, jpeg]
    assert degraded["protocol"]["border"] == 4
    assert set(degraded["mean"]) == {"psnr_y", "psnr_rgb"}


@pytest.mark.usefixtures("untraced")
def test_train_and_convert(tmp_path, write_config, photographs):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda n, _: seen.append(n))
    config = write_config(tmp_path / "tiny.toml")
    made = tfsr.train(
        config, tmp_path / "run", [callback], overrides=["train.epochs=1"]
    )
    assert (made["epochs"], seen) == (1, [0])

    out = tmp_path / "m.tflite"
    report = tfsr.convert(
        tmp_path / "run",
        out,
        format="float32",
        size=(24, 32),
        calibrate=photographs,
        verify=photographs,
    )
    assert out.stat().st_size == report["size_bytes"]
    assert report["notes"] == []
    assert report["loss_db"] == pytest.approx(0, abs=1e-3)
    several = tfsr.convert(
        tfsr.load_model(tmp_path / "run"),
        out,
        format="float32",
        size=[(16, 16), None],
        verify=photographs,
    )
    names = [f["file"] for f in several["files"]]
    assert names == [str(tmp_path / f"m_{s}.tflite") for s in ("16x16", "dynamic")]
    with pytest.raises(InputError, match="must be a Keras model"):
        tfsr.convert(out, tmp_path / "again.tflite")


BUILT = carn_m(2, **SMALL)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tfsr.train({"model": {}}, "run"), "`config` must be a TOML file"),
        (lambda: tfsr.train("c.toml", None), "`out` must be a path. Received: out=No"),
        (
            lambda: tfsr.train("c.toml", "run", overrides="train.epochs=1"),
            "`overrides` must be a list of texts",
        ),
        (lambda: tfsr.convert(BUILT, "m.tflite", size="dynamic"), "or None for any"),
        (lambda: tfsr.convert(BUILT, "m.tflite", size=(9, 9, 3)), "`size` must be hei"),
        (
            lambda: tfsr.convert(BUILT, "m.tflite", size=[(9, 9), (9, 0)]),
            "`size` must be a whole number, 1 or more. Received: size=0",
        ),
        (
            lambda: tfsr.convert(BUILT, "missing/out.tflite"),
            "missing/out.tflite: there is no folder",
        ),
        (lambda: tfsr.convert(BUILT, "m.tflite", in_float="sum"), "`in_float` must be"),
        (lambda: summarize("carn_m", size="180x320"), "`size` must be height and wid"),
        (lambda: tfsr.benchmark("m.tflite", runs=0), "Received: runs=0"),
        (lambda: tfsr.benchmark("m.tflite", threads=[-1]), "Received: threads=-1"),
        (lambda: tfsr.benchmark("m.tflite", threads=2), "Received: threads=2"),
        (lambda: tfsr.upscale("a.png"), r"tfsr\.data\.read_image.*image='a\.png'"),
        (lambda: tfsr.load_model("carn_m_x2_int8"), "a TFLite model where a Ker"),
        (lambda: tfsr.benchmark([]), "`files` must name one or more"),
        (lambda: tfsr.evaluate("bicubic", 3, scale=2), "`folder` must be a path"),
        (lambda: tfsr.evaluate("bicubic", ".", scale="2"), "Received: scale='2'"),
        (
            lambda: tfsr.evaluate("bicubic", ".", scale=2, degradation="jpeg"),
            r"`degradation` must be one of tfsr.data, such as JPEG\(10\)",
        ),
        (
            lambda: tfsr.evaluate("bicubic", ".", scale=2, metrics="psnr"),
            "`metrics` must be a list",
        ),
        (
            lambda: tfsr.evaluate("bicubic", ".", scale=2, border=1.5),
            "`border` must be a whole number, 0 or more. Received: border=1.5",
        ),
        (lambda: metrics.psnr(*[np.ones((9, 9, 1))] * 2, -1), "Received: border=-1"),
        (lambda: metrics.PSNR(border=0.5), "Received: border=0.5"),
        (lambda: metrics.SSIM(border=-1), "Received: border=-1"),
        (lambda: tfsr.data.PatchDataset(".", scale="2"), "`scale` must be a list"),
        (lambda: tfsr.data.PatchDataset(".", patch=9.5), "Received: patch=9.5"),
        (lambda: tfsr.data.PatchDataset(".", batch="8"), "Received: batch='8'"),
        (lambda: tfsr.data.PatchDataset(3), "`folders` must be a path"),
        (lambda: tfsr.params(3), "`model`: not a Keras model"),
        (lambda: tfsr.mult_adds(BUILT, 9, "9"), "Received: size='9'"),
    ],
)
def test_mistakes_end_in_a_line(call, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_an_unknown_network_names_those_there_are():
    with pytest.raises(KeyError, match="'edsr' is no network; there are carn, carn_m"):
        tfsr.MODELS["edsr"]
    assert "edsr" not in tfsr.MODELS


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(12, 3, padding="same")

    def call(self, inputs):
        return keras.ops.depth_to_space(self.conv(inputs), 2)


def test_a_subclassed_model_is_counted():
    model = Subclassed()
    with pytest.raises(InputError, match="never built"):
        tfsr.mult_adds(model, 5, 7)
    model(np.zeros((1, 8, 8, 3)))
    assert tfsr.params(model) == 27 * 12 + 12
    assert tfsr.mult_adds(model, 5, 7) == 27 * 12 * 35


def test_patches_are_fresh_every_epoch(tmp_path, photographs):
    patches = tfsr.data.PatchDataset(
        photographs, scale=2, patch=8, batch=3, cache=tmp_path
    )
    assert patches.num_batches == 2  # of four photographs
    passes = [[patches[i] for i in range(2)] for _ in range(2)]
    for batches in passes:
        for lr, hr in batches:
            assert (lr.shape, hr.shape) == ((3, 8, 8, 3), (3, 16, 16, 3))
    firsts = [lr for batches in passes for lr, _ in batches]
    for i, lr in enumerate(firsts):
        assert all((lr != other).any() for other in firsts[:i])

    model = carn_m(2, **SMALL)
    psnr, ssim = tfsr.metrics.PSNR(border=2), tfsr.metrics.SSIM(border=2)
    model.compile("adam", "mean_absolute_error", metrics=[psnr, ssim])
    history = model.fit(patches, epochs=2, verbose=0).history
    assert len(history["psnr"]) == 2
    assert 0 < history["psnr"][-1] < 60

    endless = tfsr.data.PatchDataset(
        photographs, patch=8, batch=2, steps=None, cache=tmp_path
    )
    assert endless.num_batches is None
    model.fit(endless, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0)


def test_patches_of_pairs(tmp_path):
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    for folder, name, image in ((hr, "a", pixels), (lr, "ax2", 255 - pixels[::2, ::2])):
        folder.mkdir()
        Image.fromarray(image).save(folder / f"{name}.png")
    pairs = {"patch": 8, "batch": 2, "cache": tmp_path / "cache", "lr_folders": lr}
    for small, large in zip(*tfsr.data.PatchDataset(hr, **pairs)[0], strict=True):
        corners = [large[i::2, j::2] for i in (0, 1) for j in (0, 1)]  # by the turn
        assert min(np.abs(small - (1 - corner)).max() for corner in corners) < 1e-6
    (hr / "b.png").write_bytes((hr / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"lr/bx2\.png: missing"):
        tfsr.data.PatchDataset(hr, **pairs)
    with pytest.raises(InputError, match="Received: 1 for 2"):
        tfsr.data.PatchDataset([hr, hr], **pairs)
    with pytest.raises(InputError, match="Received: degradation=JPEG of quality 10"):
        tfsr.data.PatchDataset(hr, scale=1, degradation=JPEG(10), **pairs)


def test_patches_to_restore(tmp_path, photographs):
    patches = tfsr.data.PatchDataset(
        photographs, scale=1, patch=16, batch=2, degradation=JPEG(10), cache=tmp_path
    )
    lr, hr = patches[0]
    assert lr.shape == hr.shape == (2, 16, 16, 3)
    assert 0 < np.abs(lr - hr).mean() < 0.2
    with pytest.raises(ValueError, match="x1 needs the degradation noise or "):
        tfsr.data.PatchDataset(photographs, scale=1, cache=tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_metrics_are_those_of_evaluate(photographs, channels):
    pairs = list(BenchmarkFolder(photographs, 2, channels))
    for kind, figure in (("PSNR", metrics.psnr), ("SSIM", metrics.ssim)):
        metric, expected = getattr(metrics, kind)(border=2), []
        for pair in pairs:
            sr = tfsr.upscale(pair.lr, "bicubic", scale=2)
            metric.update_state(
                np.float32(pair.hr[None] / 255), np.float32(sr[None] / 255)
            )
            images = sr, pair.hr
            if channels == 3:
                images = map(metrics.luma, images)
            expected.append(figure(*images, 2))
        assert float(metric.result()) == pytest.approx(np.mean(expected), rel=1e-4)
        again = type(metric).from_config(metric.get_config())
        assert again.border == 2


def test_metrics_refuse_integers():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match=r"`y_true` must be floats.*dtype=uint8"):
        metrics.PSNR().update_state(image, image)


@pytest.mark.parametrize(
    ("metric", "side", "message"),
    [
        (metrics.SSIM(2), 14, "SSIM needs 11x11"),
        (metrics.PSNR(9), 18, "PSNR needs 1x1"),
    ],
)
def test_metrics_refuse_images_that_are_too_small(metric, side, message):
    image = np.zeros((1, side, side, 3), np.float32)
    with pytest.raises(ValueError, match=f"{message}.* Received: y_true of {side}x"):
        metric.update_state(image, image)


def test_files_load_with_keras_alone(file):
    script = (
        "import sys, keras\n"
        "if sys.argv[2:]: import tfsr.layers\n"
        "try: print(len(keras.saving.load_model(sys.argv[1]).inputs))\n"
        "except TypeError as error: print('Could not locate class' in str(error))"
    )
    for more, expected in ((["layers"], "2"), ([], "True")):
        done = subprocess.run(
            [sys.executable, "-c", script, file, *more],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]
