"""Networks of luma through every command, and the protocol of their papers."""

import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr import metrics
from tfsr.cli import main
from tfsr.data import BenchmarkFolder, ImageCache, ImageSurvey, imresize, read_image
from tfsr.data.degradations import Enlarged
from tfsr.data.sampler import degraded_patch
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    SelfEnsemble,
    from_uint8,
    to_uint8,
)


@pytest.fixture(scope="module")
def trained(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("luminance")
    network = {"name": "cmsc", "stages": 2, "modules": 1, "filters": 4}
    rule = {"optimizer": "sgd", "loss": "l2_sum", "clip_norm": 0.4}
    config = write_config(
        folder / "cmsc.toml",
        model={"scale": [2, 3], **network},
        data={"val_images": 2, "channels": "y", "downscale": [0.7]},
        train={"batch": 4, "patch": 21, **rule},
    )
    assert main(["train", str(config), "--out", str(folder / "run")]) in (None, 0)
    return folder / "run"


def test_luma_of_files(tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    y = read_image(tmp_path / "rgb.png", "y")
    np.testing.assert_array_equal(y, np.floor(metrics.luma(rgb) + 0.5))
    gray = read_image(tmp_path / "gray.png", "y")
    np.testing.assert_array_equal(gray, rgb[..., :1])


def test_pairs_of_luma_round_nothing_but_hr(photographs):
    pair = BenchmarkFolder(photographs, 3, "y")[0]
    assert pair.hr.dtype == np.uint8
    assert pair.hr.shape == (60, 69, 1)
    expected = imresize(pair.hr.astype(np.float32), 1 / 3)
    np.testing.assert_array_equal(pair.lr, expected)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("place", [(0, 0), (31, 40), (50, 29), (59, 79)])
def test_an_enlarged_patch_is_that_of_the_whole_image(factor, place):
    hr = np.random.default_rng(0).integers(0, 256, (100, 120, 1)).astype(np.uint8)
    enlarged = Enlarged((factor,))
    whole = enlarged(hr, 1, np.random.default_rng(0))
    assert whole.shape == hr.shape
    y, x = place
    patch = degraded_patch(enlarged, hr, y, x, 41, np.random.default_rng(0))
    np.testing.assert_allclose(patch, whole[y : y + 41, x : x + 41], atol=1e-3)


def test_every_scale_is_drawn():
    hr = np.random.default_rng(0).integers(0, 256, (24, 24, 1)).astype(np.uint8)
    enlarged, rng = Enlarged((2, 3)), np.random.default_rng(0)
    drawn = {enlarged(hr, 1, rng).tobytes() for _ in range(20)}
    assert len(drawn) == 2


def test_images_come_shrunk_too(photographs, tmp_path):
    data = ([photographs], (1,))
    images = ImageCache(*data, tmp_path, "y", downscale=[0.7, 0.5])
    assert len(images) == 3 * 4
    whole, shrunk, half = (images.pair(i, 1).hr for i in range(3))
    np.testing.assert_array_equal(shrunk, imresize(whole, 0.7))
    np.testing.assert_array_equal(half, imresize(whole, 0.5))
    survey = ImageSurvey(*data, "y", downscale=[0.7, 0.5])
    assert survey.shapes(1) == images.shapes(1)


def test_a_cascade_logs_its_stages(trained):
    rows = read_log(trained)
    assert len(rows) == 2
    levels = {key for key in rows[0] if key.startswith("val_psnr_x")}
    stages = ("", "_stage_1", "_stage_2")
    assert levels == {f"val_psnr_x{s}{stage}" for s in (2, 3) for stage in stages}
    assert {"sr_loss", "stage_1_loss", "stage_2_loss"} <= rows[0].keys()


def test_evaluate_scores_luma_or_colour(report, trained, photographs):
    command = ("evaluate", trained, photographs, "--scale", 2)
    colour = report(*command)
    assert colour["protocol"]["name"] == "sr_y"
    assert set(colour["mean"]) == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    pair = BenchmarkFolder(photographs, 2, "y")[0]
    upscaler = KerasUpscaler(tfsr.load_model(trained), 2, "y")
    for options, run in (
        ((), upscaler),
        (("--self-ensemble",), SelfEnsemble(upscaler)),
    ):
        luma = report(*command, "--protocol", "luma", *options)
        assert luma["protocol"]["name"] == "luma"
        assert set(luma["mean"]) == {"psnr", "ssim"}
        sr = np.clip(run(from_uint8(pair.lr)), 0, 1) * 255
        expected = metrics.psnr(sr, pair.hr, 2)
        assert luma["images"][0]["psnr"] == pytest.approx(expected, abs=1e-4)


def test_a_network_of_colours_has_no_luma_protocol(run, tmp_path, photographs):
    file = tmp_path / "model.keras"
    tfsr.models.carn(2, filters=4, blocks=1, units=1).save(file)
    code, _, err = run("evaluate", file, photographs, "--protocol", "luma")
    assert code == 2
    assert "only networks of luma" in err


def test_converts_to_int8_in_colour(
    run, report, trained, photographs, tmp_path, monkeypatch
):
    # Of a network that is hardly trained, saturated colours are not asked for.
    monkeypatch.setattr("tfsr.cli.verification.MAX_FLAT_FIELD_ERROR", 255)
    file = tmp_path / "cmsc.tflite"
    converted = report(
        *("convert", trained, "--scale", 2, "--format", "int8"),
        *("--size", "24x32", "--calibrate", photographs, "--verify", photographs),
        *("-o", file),
    )
    assert abs(converted["loss_db"]) < 0.3
    facts = report("inspect", file)
    assert facts["float_operators"] == 0
    assert "RGB" in facts["metadata"]["input"]
    code, _, err = run("evaluate", file, photographs, "--protocol", "luma")
    assert code == 2
    assert "only networks of luma" in err


# SCN, Table 1: bicubic's column.
@pytest.mark.parametrize(
    ("scale", "psnr", "ssim"),
    [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)],
)
def test_bicubic_rounded_has_the_figures_of_others(shared, scale, psnr, ssim):
    upscaler = BicubicUpscaler(scale, "y")
    figures = []
    for pair in BenchmarkFolder(shared / "data/test/Set5", scale, "y"):
        images = to_uint8(upscaler(from_uint8(pair.lr))), pair.hr
        figures.append([f(*images, scale) for f in (metrics.psnr, metrics.ssim)])
    mean_psnr, mean_ssim = np.mean(figures, axis=0)
    assert mean_psnr == pytest.approx(psnr, abs=0.005)
    assert mean_ssim == pytest.approx(ssim, abs=5e-5)


# CMSC, Table III: bicubic's rows.
@pytest.mark.parametrize(
    ("folder", "scale", "psnr", "ssim", "ifc"),
    [
        ("Set5", 2, 33.68, 0.9304, 6.2821),
        ("Set5", 3, 30.40, 0.8686, 3.6160),
        ("Set5", 4, 28.43, 0.8109, 2.3425),
        ("Set14", 2, 30.24, 0.8691, 6.3035),
        ("Set14", 3, 27.54, 0.7741, 3.5346),
        ("Set14", 4, 26.00, 0.7023, 2.2593),
    ],
)
def test_bicubic_has_the_papers_figures(report, shared, folder, scale, psnr, ssim, ifc):
    pytest.importorskip("pyrtools", reason="IFC's steerable pyramid needs pyrtools")
    scored = report(
        *("evaluate", "bicubic", shared / "data/test" / folder),
        *("--scale", scale, "--protocol", "luma", "--ifc"),
    )
    assert scored["mean"]["psnr"] == pytest.approx(psnr, abs=0.006)
    assert scored["mean"]["ssim"] == pytest.approx(ssim, abs=1e-4)
    assert scored["mean"]["ifc"] == pytest.approx(ifc, abs=1e-3)
