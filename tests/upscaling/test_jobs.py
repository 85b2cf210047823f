import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from PIL import Image

from tfsr.cli import main
from tfsr.data import BenchmarkFolder, GaussianNoise, imresize
from tfsr.errors import InputError
from tfsr.files import replacing
from tfsr.models import carn_m, cmsc, single_scale, srresnet, vdsr
from tfsr.photos import read_photo
from tfsr.tflite.conversion import convert
from tfsr.tflite.quantization.aware import quantization_aware
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.jobs import (
    automatic_tile,
    tile_side,
    upscale,
    upscale_array,
)
from tfsr.upscaling.planning import Job
from tfsr.upscaling.tiling import tiles
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    SelfEnsemble,
    from_uint8,
    to_uint8,
)


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=(2, 4), filters=8, blocks=1)


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(scope="module")
def int8(model, photographs, tmp_path_factory):
    """The model in a file that takes images of every size."""
    file = tmp_path_factory.mktemp("int8") / "m.tflite"
    return convert(model, 2, "int8", [None], file, BenchmarkFolder(photographs, 2))[0]


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_tiles_equal_the_whole(tmp_path, model, int8, photo, kind):
    upscaler = KerasUpscaler(model, 2)
    if kind == "tflite":
        upscaler = TFLiteUpscaler(int8)
    results = []
    for tile in (40, 500):
        job = Job(photo, tmp_path / f"{tile}.png")
        upscale(upscaler, job, tile)
        results.append(read_photo(job.target).color.astype(int))
    difference = np.abs(results[0] - results[1])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


@pytest.mark.parametrize("kind", ["keras", "tflite"])
@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        (srresnet, {"conv": "ms3", "levels": 2, "filters": 8, "blocks": 1}),
        (srresnet, {"conv": "ms3", "levels": 3, "filters": 8, "blocks": 1}),
        (vdsr, {"layers": 3, "filters": 8}),
        (cmsc, {"stages": 2, "modules": 1, "filters": 4}),
    ],
)
def test_tiles_of_levels_and_of_luma(tmp_path, builder, arguments, kind):
    keras.utils.set_random_seed(0)
    model = builder(scale=2, **arguments)
    pixels = np.random.default_rng(0).integers(0, 256, (91, 123, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "odd.png")
    upscaler = KerasUpscaler(model, 2)
    if kind == "tflite":
        folder = BenchmarkFolder(tmp_path, 2)
        (file,) = convert(model, 2, "float32", [None], tmp_path / "m.tflite", folder)
        upscaler = TFLiteUpscaler(file)
    lr = pixels.astype(np.float32) / 255
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1) * 255
    job = Job(tmp_path / "odd.png", tmp_path / "tiled.png")
    upscale(upscaler, job, tile=2 * upscaler.radius + 19)
    assert np.abs(read_photo(job.target).color - expected).max() <= 0.51


def test_a_run_trained_for_8_bits_upscales(run, tmp_path, model, photo):
    lr = read_photo(photo).color
    aware = quantization_aware(single_scale(model, 2), [from_uint8(lr)])
    aware.save(file := tmp_path / "aware.keras")
    out = tmp_path / "out.png"
    arguments = ("upscale", photo, "-o", out, "--model", file, "--tile", 60)
    assert run(*arguments) == (0, "", f"tfsr: {out}: written.\n")
    expected = to_uint8(IntegerUpscaler(aware, 2)(from_uint8(lr)))
    np.testing.assert_array_equal(read_photo(out).color, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 1), (30, 41, 3)])
def test_arrays_keep_their_kind(dtype, shape):
    image = np.random.default_rng(0).random(shape)
    if dtype.startswith("uint"):
        image = image * np.iinfo(dtype).max
    image = image.astype(dtype)
    sr = upscale_array(BicubicUpscaler(2), image, tile=20)
    assert (sr.dtype, sr.shape) == (dtype, (60, 82, *shape[2:]))
    whole = upscale_array(BicubicUpscaler(2), image, tile=100)
    np.testing.assert_array_equal(sr, whole)
    if dtype == "uint8":
        difference = sr.astype(int) - imresize(image, 2)
        assert np.abs(difference).max() <= (1 if shape[2:] == (3,) else 2)


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"shape=\(4, 4, 4\)"),
        (np.zeros(4), r"shape=\(4,\)"),
        (np.full((4, 4), 3.0), "values from 3 to 3"),
        (np.full((4, 4), np.nan), "values from nan to nan"),
        (np.zeros((4, 4), int), "dtype=int64"),
    ],
)
def test_arrays_of_other_kinds_are_refused(image, received):
    with pytest.raises(InputError, match=rf"`image`.*Received: {received}"):
        upscale_array(BicubicUpscaler(2), image)


def test_self_ensemble_of_tflite_in_tiles(run, tmp_path, model, photo):
    file, out = tmp_path / "m.tflite", tmp_path / "out.png"
    convert(model, 2, "float32", [(24, 32)], file, BenchmarkFolder(tmp_path, 2))
    arguments = ("upscale", photo, "-o", out, "--model", file, "--tile", 60)
    assert run(*arguments, "--self-ensemble") == (0, "", f"tfsr: {out}: written.\n")
    sr = read_photo(out).color / 255
    lr = read_photo(photo).color / np.float32(255)
    upscaler = TFLiteUpscaler(file)
    np.testing.assert_allclose(sr, SelfEnsemble(upscaler)(lr), atol=0.51 / 255)
    assert np.abs(sr - upscaler(lr)).max() > 1 / 255


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "P", "1"])
def test_bicubic_of_every_mode_is_imresize(tmp_path, mode):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (20, 30, 4), np.uint8)
    values[..., 3] |= 128  # no pixel wholly transparent: colours stay as they are
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (20, 30), np.uint16))
    elif mode != "RGBA":
        image = image.convert(mode)
    source = tmp_path / "in.png"
    image.save(source)
    job = Job(source, tmp_path / "out.png")
    upscale(BicubicUpscaler(2), job, tile=64)
    before, after = read_photo(source), read_photo(job.target)
    assert after.color.dtype == before.color.dtype
    assert after.color.shape[-1] == before.color.shape[-1]
    peak = np.iinfo(before.color.dtype).max
    # the bicubic upscaler itself is 8-bit, alpha is not
    expected = imresize(before.color, 2).astype(int)
    assert np.abs(after.color - expected).max() <= 2 * peak // 255
    if before.alpha is not None:
        expected = np.clip(imresize(before.alpha / peak, 2), 0, 1) * peak
        assert np.abs(after.alpha - expected).max() <= 0.501


def test_transparent_parts_leave_no_fringe(tmp_path):
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[6:18, 6:18] = (250, 240, 230, 255)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    job = Job(tmp_path / "in.png", tmp_path / "out.png")
    upscale(BicubicUpscaler(2), job, tile=64)
    after = read_photo(job.target)
    visible = after.alpha > 0
    assert after.color[visible].min() >= 229


def test_memory_that_runs_out_halves_the_tile(tmp_path, photo):
    class Hungry(BicubicUpscaler):
        def __call__(self, lr):
            if lr.shape[0] > 40:
                raise MemoryError
            return super().__call__(lr)

    job = Job(photo, tmp_path / "out.png")
    notes = upscale(Hungry(2), job, tile=128)
    assert notes == [
        "memory ran out; went on with tiles of 64 pixels",
        "memory ran out; went on with tiles of 32 pixels",
    ]
    expected = imresize(read_photo(photo).color, 2)
    np.testing.assert_array_equal(read_photo(job.target).color, expected)
    far = Hungry(2)
    far.radius = 30
    with pytest.raises(InputError, match=r"photo\.png: too little memory"):
        upscale(far, Job(photo, tmp_path / "2.png"), tile=64)
    assert not (tmp_path / "2.png").exists()


def test_memory_that_runs_out_at_the_only_size_of_a_file():
    upscaler = Mock(
        side_effect=MemoryError, tiles=Mock(size=(16, 16)), alignment=1, radius=2
    )
    upscaler.configure_mock(name="m", scale=2, channels=3, working_bytes=9)
    with pytest.raises(InputError, match="too little memory even for tiles of 16x16"):
        upscale_array(upscaler, np.zeros((32, 32, 3), np.float32))


def test_memory_that_runs_out_in_the_comparison_of_tiles(tmp_path, photo):
    class Far(BicubicUpscaler):
        far_seeing = ("norm",)
        runs = 0

        def __call__(self, lr):
            self.runs += 1
            if self.runs == in_tiles + 1:
                raise MemoryError
            return super().__call__(lr)

    in_tiles = tiles(*read_photo(photo).color.shape[:2], 64, Far(2).radius)
    assert in_tiles > 1
    job = Job(photo, tmp_path / "out.png")
    out_of_memory, compared = upscale(Far(2), job, tile=64)
    assert out_of_memory == "memory ran out; went on with tiles of 32 pixels"
    assert compared.startswith("the network may see the whole image (norm), tiles do")
    expected = imresize(read_photo(photo).color, 2)
    np.testing.assert_array_equal(read_photo(job.target).color, expected)


def test_a_tile_too_small_says_why():
    assert tile_side(BicubicUpscaler(2), 7) == 7
    said = "must have 7 pixels or more, not 6; they overlap by 3 on each side"
    with pytest.raises(InputError, match=said):
        tile_side(BicubicUpscaler(2), 6)


def test_automatic_tile_follows_the_footprint(monkeypatch):
    monkeypatch.setattr("tfsr.upscaling.jobs.available_memory", lambda: 2**33)
    assert automatic_tile(2**30, 21) == 58
    assert automatic_tile(1, 21) == 512
    assert automatic_tile(1, 50) == 1200
    assert automatic_tile(4000, 21) > automatic_tile(16000, 21)
    plenty = automatic_tile(16000, 21)
    monkeypatch.setattr("tfsr.upscaling.jobs.available_memory", lambda: 2**29)
    assert automatic_tile(16000, 21) == plenty // 2


def test_a_folder_goes_on_past_a_bad_file(tmp_path, capsys, photo):
    folder = tmp_path / "folder"
    folder.mkdir()
    photo.rename(folder / "good.png")
    (folder / "bad.png").write_text("not a picture")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    arguments = ["upscale", str(folder), "-o", str(tmp_path / "out")]
    code = main([*arguments, "--model", "bicubic", "--scale", "2"])
    error = capsys.readouterr().err
    assert code == 1
    assert "bad.png" in error
    assert "phone.HEIC: HEIC" in error
    assert "2 of 3 files failed" in error
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_photo_that_is_refused_is_in_no_ones_way(tmp_path, run, photo):
    (folder := tmp_path / "folder").mkdir()
    photo.rename(folder / "phone.png")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    out = tmp_path / "out"
    arguments = ("upscale", folder, "-o", out, "--model", "bicubic", "--scale", 2)
    code, _, _ = run(*arguments, "--format", "webp")
    assert (code, [f.name for f in out.iterdir()]) == (1, ["phone.webp"])
    (folder / "phone.HEIC").unlink()
    assert run(*arguments, "--overwrite") == (0, "", f"tfsr: {out}: written: 1.\n")


@pytest.mark.parametrize(
    ("content", "name", "out"),
    [
        (b"", "empty.png", "out.png"),
        (b"text", "text.png", "out.png"),
        (None, "missing.png", "out.png"),
        (..., "photo.png", "out.gif"),
        (..., "photo.png", "nowhere"),
        (..., "photo.png", "photo.png"),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_written(
    tmp_path, capsys, photo, content, name, out
):
    if content not in (None, ...):
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    arguments = ["upscale", str(tmp_path / name), "-o", str(tmp_path / out)]
    code = main([*arguments, "--model", "bicubic", "--scale", "2"])
    error = capsys.readouterr().err
    assert code == 2
    assert error.strip().count("\n") == 0
    assert str(tmp_path) in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("shape", [(1, 1), (3, 200)])
def test_tiny_and_narrow_images(tmp_path, model, shape):
    source = tmp_path / "in.png"
    Image.fromarray(np.full((*shape, 3), 90, np.uint8)).save(source)
    upscale(KerasUpscaler(model, 2), Job(source, tmp_path / "o.png"), 64)
    expected = tuple(2 * side for side in shape)
    assert read_photo(tmp_path / "o.png").color.shape[:2] == expected


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, photo):
    limited = (
        "import resource, sys; from tfsr.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out.png"
    arguments = ["upscale", photo, "-o", out, "--model", "bicubic", "--scale", "4"]
    result = subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True
    )
    assert result.returncode == 2
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("tfsr:")]
    assert f"{out}: cannot be written" in line
    assert list(tmp_path.iterdir()) == [photo]


def test_what_a_killed_run_left_is_removed(tmp_path, photo):
    for name in ("out.png", "b.png"):  # the other of another run, perhaps
        with replacing(tmp_path / name) as temporary:
            stale = temporary.name.replace(str(os.getpid()), "999999999")
            (tmp_path / stale).touch()
            temporary.touch()
        (tmp_path / name).unlink()
    upscale(BicubicUpscaler(2), Job(photo, tmp_path / "out.png"), 64)
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        stale,
        "out.png",
        "photo.png",
    ]


def test_memory_that_litert_lacks_halves_the_tile(int8):
    upscaler = TFLiteUpscaler(int8)
    whole = upscaler(np.zeros((30, 30, 3), np.float32))
    resize = upscaler._resize

    def failing(size):
        raise RuntimeError("XNNPack delegate failed to reshape runtime")

    upscaler._resize = failing
    with pytest.raises(MemoryError, match="failed to reshape"):
        upscaler(np.zeros((80, 80, 3), np.float32))
    upscaler._resize = resize
    np.testing.assert_array_equal(upscaler(np.zeros((30, 30, 3), np.float32)), whole)


def test_a_kernel_that_refuses_values_is_not_a_lack_of_memory(int8):
    upscaler = TFLiteUpscaler(int8)
    reason = "div.cc:262 data[i] != zero_point was not true.Node number 32 (DIV) failed"
    upscaler._resize = Mock(side_effect=RuntimeError(f"{reason} to invoke."))
    with pytest.raises(InputError, match=r"cannot run it at 80x80 .*\(DIV\) failed"):
        upscaler(np.zeros((80, 80, 3), np.float32))


def test_a_size_that_an_operator_does_not_take_is_told(tmp_path, photographs):
    lr = keras.Input((16, 16, 3))
    places = np.random.default_rng(0).random((16, 16, 3), np.float32)
    model = keras.Model(lr, lr + places / 9)
    folder = BenchmarkFolder(photographs, 1, degradation=GaussianNoise(10))
    (file,) = convert(model, 1, "float32", [None], tmp_path / "m.tflite", folder)
    upscaler, refused = TFLiteUpscaler(file), r"at 20x24 \(.*ADD"
    with pytest.raises(InputError, match=refused):
        upscaler._run(np.zeros((20, 24, 3), np.float32))
    assert upscaler(np.zeros((20, 24, 3), np.float32)).shape == (20, 24, 3)


def test_output_that_is_not_finite_is_refused(tmp_path, photo):
    class Broken(BicubicUpscaler):
        def __call__(self, lr):
            return super().__call__(lr) * np.nan

    with pytest.raises(InputError, match=r"photo\.png: the model's output is not"):
        upscale(Broken(2), Job(photo, tmp_path / "out.png"), 64)
    assert not (tmp_path / "out.png").exists()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, with a photo in 8 bits, as a JPEG, and in 16."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10), np.uint8)
    Image.fromarray(pixels).convert("RGB").save("photo.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save("deep.png")
    for quality in (10, 90):
        Image.fromarray(pixels).save(f"jpeg_{quality}.jpg", quality=quality)
    return tmp_path


@pytest.mark.parametrize(
    ("photo", "model"), [("photo.png", "sesr_m_x2_int8"), ("deep.png", "sesr_m")]
)
def test_the_default_is_int8_but_for_16_bits(here, monkeypatch, photo, model):
    asked = []

    def load_upscaler(model, scale, smallest):
        asked.append(Path(model).stem)
        return BicubicUpscaler(2)

    monkeypatch.setattr("tfsr.zoo.upscalers.load_upscaler", load_upscaler)
    assert main(["upscale", photo]) == 0
    assert asked == [model]


def test_without_o_the_result_lies_beside(here):
    (here / "holiday").mkdir()
    (here / "photo.png").rename("holiday/photo.png")
    assert main(["upscale", "holiday/photo.png"]) == 0
    with Image.open("holiday/photo_x2.png") as large:
        assert large.size == (20, 16)
    assert main(["upscale", "holiday/", "--model", "bicubic", "--scale", "3"]) == 0
    assert len(list(here.glob("holiday_x3/*.png"))) == 2
    assert main(["upscale", "holiday/photo.png"]) == 2  # there already


@pytest.mark.parametrize("command", ["upscale", "restore"])
def test_several_files_are_refused_with_advice(run, command):
    """As a shell gives them for *.jpg."""
    code, out, error = run(command, "a.jpg", "b.jpg", "c.jpg")
    assert (code, out) == (2, "")
    assert error.startswith("tfsr: 3 inputs: give one photo, or the folder of all (")


@pytest.mark.parametrize("command", ["upscale", "restore"])
def test_what_is_no_photo_is_one_line(here, capsys, command):
    Path("raw.cr2").write_bytes(b"II*\0CR")
    assert main([command, "raw.cr2"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tfsr: raw.cr2: not an image of a supported kind")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["upscale", "restore"])
def test_without_a_photo_it_alone_is_asked_for(run, command):
    code, _, error = run(command)
    assert code == 2
    assert error.startswith("tfsr: the following arguments are required: input (see ")


@pytest.mark.parametrize(
    ("photo", "model", "warned"),
    [
        ("jpeg_10.jpg", "sesr_s_x2_int8", True),
        ("jpeg_10.jpg", "photo_x2_int8", False),
        ("photo.png", "sesr_s_x2_int8", False),
        ("jpeg_10.jpg", "bicubic", False),
    ],
)
def test_a_model_for_clean_files_is_taken_with_a_warning(
    here, capsys, photo, model, warned
):
    assert main(["upscale", photo, "--model", model, "--scale", "2"]) == 0
    said = capsys.readouterr().err
    assert (f"{photo}: {model} is for clean files" in said) == warned
    assert said.count("\n") == 1 + warned


def test_restore_chooses_only_where_it_can_tell(here, capsys):
    assert main(["restore", "jpeg_10.jpg"]) == 0
    assert Path("jpeg_10_restored.jpg").is_file()
    said = capsys.readouterr().err
    assert "jpeg_10.jpg: a JPEG of quality 10; by restore_jpeg_int8." in said
    assert main(["restore", "photo.png"]) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"photo\.png: noise of sigma \d+, for which tfsr has no model", said
    )
    assert "denoise (noise of sigma 0 to 50" in said
    assert "restore_jpeg (JPEG of quality 5 to 95" in said
    assert said.count("\n") == 1


def test_of_a_folder_each_file_gets_its_model(here, monkeypatch, capsys):
    monkeypatch.setattr(
        "tfsr.zoo.upscalers.load_upscaler", lambda *args, **kwargs: BicubicUpscaler(2)
    )
    assert main(["upscale", ".", "-o", "out"]) == 0
    said = capsys.readouterr().err
    assert "1 by sesr_m.\n" in said
    assert "1 by sesr_m_x2_int8.\n" in said
    assert "2 by photo_x2_int8.\n" in said
    assert main(["upscale", ".", "-o", "out", "--scale", "3", "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert "3 by sesr_m_x3_int8.\n" in said
    assert said.count("comes out sharper") == 1
    assert main(["upscale", "photo.png"]) == 0
    said = capsys.readouterr().err
    assert "photo.png: a file without loss; by sesr_m_x2_int8.\n" in said
    assert "sharper" not in said
