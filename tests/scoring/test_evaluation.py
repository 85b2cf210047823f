import numpy as np
import pytest
from PIL import Image
from skimage import data

from tfsr import metrics
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.scoring.evaluation import evaluate, psnr
from tfsr.upscaling.upscalers import BicubicUpscaler, from_uint8


class Constant:
    """Answers every image with one value."""

    channels = 3

    def __init__(self, scale, value):
        self.scale = scale
        self.value = value

    def __call__(self, lr):
        h, w, c = lr.shape
        return np.full((h * self.scale, w * self.scale, c), self.value, np.float32)


# Bicubic on Set5 by this protocol: LR through 8-bit RGB, not through 8-bit Y.
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.67), (3, 30.40), (4, 28.43)])
def test_bicubic_on_set5(shared, scale, expected):
    folder = BenchmarkFolder(shared / "data/test/Set5", scale)
    report = evaluate(BicubicUpscaler(scale), folder)
    assert report["mean"]["psnr_y"] == pytest.approx(expected, abs=0.01)
    assert report["protocol"]["border"] == scale
    assert report["protocol"]["lr"] == "files"


def test_figures_of_each_image_and_their_mean(photographs):
    report = evaluate(BicubicUpscaler(3), BenchmarkFolder(photographs, 3))
    assert [image["name"] for image in report["images"]] == [
        "astronaut",
        "chelsea",
        "coffee",
        "rocket",
    ]
    keys = {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    assert set(report["mean"]) == keys
    for key in keys:
        values = [image[key] for image in report["images"]]
        assert report["mean"][key] == pytest.approx(np.mean(values))
    assert report["scale"] == 3
    assert report["protocol"]["lr"] == "imresize"

    pair = next(iter(BenchmarkFolder(photographs, 3)))
    sr = BicubicUpscaler(3)(from_uint8(pair.lr))
    sr = np.floor(np.clip(sr, 0, 1) * 255 + 0.5).astype(np.uint8)
    first = report["images"][0]
    assert first["psnr_rgb"] == pytest.approx(metrics.psnr(sr, pair.hr, border=3))
    y = metrics.luma(sr), metrics.luma(pair.hr)
    assert first["psnr_y"] == pytest.approx(metrics.psnr(*y, border=3))
    assert first["ssim_y"] == pytest.approx(metrics.ssim(*y, border=3))
    assert first["psnr_y"] == psnr(sr, pair.hr, 3)


@pytest.mark.parametrize(
    ("value", "level"), [(100.5 / 255, 101), (100.49 / 255, 100), (-1.0, 0), (1.7, 255)]
)
def test_sr_is_clipped_and_rounded(tmp_path, value, level):
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "gray.png")
    report = evaluate(Constant(2, value), BenchmarkFolder(tmp_path, 2))
    expected = 20 * np.log10(255 / abs(level - 90))
    assert report["mean"]["psnr_rgb"] == pytest.approx(expected)


def test_one_channel(photographs):
    folder = BenchmarkFolder(photographs, 2, channels=1)
    report = evaluate(BicubicUpscaler(2, channels=1), folder)
    assert set(report["mean"]) == {"psnr", "ssim"}
    pair = next(iter(folder))
    sr = np.round(BicubicUpscaler(2, 1)(from_uint8(pair.lr)) * 255)
    assert report["images"][0]["psnr"] == pytest.approx(metrics.psnr(sr, pair.hr, 2))


def test_an_exact_answer_is_infinite(tmp_path):
    Image.fromarray(np.full((40, 40, 3), 51, np.uint8)).save(tmp_path / "flat.png")
    report = evaluate(Constant(2, 0.2), BenchmarkFolder(tmp_path, 2))
    assert report["mean"]["psnr_y"] == float("inf")


def test_an_image_too_small_for_ssim_is_named(tmp_path):
    Image.fromarray(np.zeros((12, 30, 3), np.uint8)).save(tmp_path / "thin.png")
    with pytest.raises(InputError, match="thin: SSIM needs 11x11"):
        evaluate(BicubicUpscaler(2), BenchmarkFolder(tmp_path, 2))


def test_the_metrics_asked_for(report, run, photographs):
    command = ("evaluate", "bicubic", photographs, "--scale", 2)
    whole = report(*command)
    assert set(report(*command, "--metrics", "ssim")["mean"]) == {"ssim_y", "ssim_rgb"}
    both = report(*command, "--metrics", "ssim_uniform,psnr")
    assert list(both["mean"]) == [
        *("ssim_uniform_y", "psnr_y", "ssim_uniform_rgb", "psnr_rgb")
    ]
    assert both["mean"]["psnr_y"] == whole["mean"]["psnr_y"]
    assert both["protocol"]["ssim_uniform"] == "8x8 uniform window"
    code, _, err = run(*command, "--metrics", "psnr,psnrb")
    assert (code, err.count("\n")) == (2, 1)
    assert "'psnrb' is not one of psnr, ssim, ssim_uniform, ifc" in err
    code, _, err = run(*command, "--metrics", "ssim", "--picture", "a.png")
    assert (code, err.count("\n")) == (2, 1)
    assert "--picture: shows images by PSNR" in err


def test_a_metric_that_is_none_is_named(photographs):
    with pytest.raises(InputError, match="'psnrb' is not one of psnr, ssim"):
        evaluate(BicubicUpscaler(2), BenchmarkFolder(photographs, 2), ["psnrb"])


def test_ifc_is_a_metric(report, tmp_path):
    pytest.importorskip("pyrtools")
    Image.fromarray(data.chelsea()[:160, :150]).save(tmp_path / "cat.png")
    command = ("evaluate", "bicubic", tmp_path, "--scale", 2)
    added = report(*command, "--ifc")["mean"]
    assert list(added) == ["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "ifc"]
    assert report(*command, "--metrics", "ifc")["mean"] == {"ifc": added["ifc"]}


def test_the_border_asked_for(report, photographs):
    scored = report("evaluate", "bicubic", photographs, "--scale", 2, "--border", 5)
    assert scored["protocol"]["border"] == 5
    pair = BenchmarkFolder(photographs, 2)[0]
    sr = np.round(BicubicUpscaler(2)(from_uint8(pair.lr)) * 255)
    expected = metrics.psnr(sr, pair.hr, border=5)
    assert scored["images"][0]["psnr_rgb"] == pytest.approx(expected)


def test_the_protocol_of_div2k(report, run, photographs):
    command = ("evaluate", "bicubic", photographs, "--scale", 2)
    scored = report(*command, "--protocol", "sr_rgb")
    assert (scored["protocol"]["name"], scored["protocol"]["border"]) == ("sr_rgb", 8)
    assert scored["mean"] == report(*command, "--border", 8)["mean"]
    closer = report(*command, "--protocol", "sr_rgb", "--border", 3)["protocol"]
    assert (closer["name"], closer["border"]) == ("sr_rgb", 3)
    code, _, err = run(
        "evaluate", "input", photographs, "--protocol", "sr_rgb", "--jpeg", 10
    )
    assert code == 2
    assert "--protocol sr_rgb: input is scored by color." in err
