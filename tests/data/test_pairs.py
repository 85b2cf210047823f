import numpy as np
import pytest
from PIL import Image

from tfsr.data import JPEG, BenchmarkFolder, imresize
from tfsr.errors import InputError


def noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def benchmark(tmp_path):
    """`HR/` with images of 13x18 and 12x16, no LR."""
    (tmp_path / "HR").mkdir()
    Image.fromarray(noise(13, 18)).save(tmp_path / "HR" / "a.png")
    Image.fromarray(noise(12, 16)).save(tmp_path / "HR" / "b.bmp")
    return tmp_path


def add_lr(folder, scale, **images):
    lr = folder / "LR_bicubic" / f"X{scale}"
    lr.mkdir(parents=True)
    for name, pixels in images.items():
        Image.fromarray(pixels).save(lr / f"{name}x{scale}.png")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_is_made_where_there_is_none(benchmark, scale):
    folder = BenchmarkFolder(benchmark, scale)
    pairs = list(folder)
    assert len(folder) == 2
    assert [pair.name for pair in pairs] == ["a", "b"]
    h, w = 13 // scale, 18 // scale
    np.testing.assert_array_equal(pairs[0].hr, noise(13, 18)[: h * scale, : w * scale])
    np.testing.assert_array_equal(pairs[0].lr, imresize(pairs[0].hr, 1 / scale))
    assert pairs[0].lr.shape == (h, w, 3)


def test_lr_files_of_the_scale_are_used(benchmark):
    a, b = noise(6, 9, seed=1), noise(6, 8, seed=2)
    add_lr(benchmark, 2, a=a, b=b)
    pairs = list(BenchmarkFolder(benchmark, 2))
    np.testing.assert_array_equal(pairs[0].lr, a)
    np.testing.assert_array_equal(pairs[1].lr, b)
    for pair in BenchmarkFolder(benchmark, 3):  # X3 is absent, so it is made
        np.testing.assert_array_equal(pair.lr, imresize(pair.hr, 1 / 3))


def test_a_plain_folder(photographs):
    pairs = list(BenchmarkFolder(photographs, 4))
    assert [pair.name for pair in pairs] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert all(pair.hr.shape[0] == 4 * pair.lr.shape[0] for pair in pairs)


def test_a_list_of_files(photographs):
    files = [photographs / "rocket.png", photographs / "coffee.png"]
    assert [p.name for p in BenchmarkFolder(files, 2)] == ["rocket", "coffee"]


def test_grayscale(benchmark):
    add_lr(benchmark, 2, a=noise(6, 9), b=noise(6, 8))
    for scale in (2, 3):
        for pair in BenchmarkFolder(benchmark, scale, channels=1):
            assert pair.lr.shape[-1] == pair.hr.shape[-1] == 1


@pytest.mark.parametrize("rescale", [0.8, 0.6, 0.5])
def test_rescaled_images_come_before_the_crop_and_without_files(benchmark, rescale):
    add_lr(benchmark, 2, a=noise(6, 9))  # of `a` alone, and not looked at
    for pair, size in zip(
        BenchmarkFolder(benchmark, 2, rescale=rescale),
        [(13, 18), (12, 16)],
        strict=True,
    ):
        hr = imresize(noise(*size), rescale)
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        np.testing.assert_array_equal(pair.hr, hr)
        np.testing.assert_array_equal(pair.lr, imresize(hr, 1 / 2))


@pytest.mark.parametrize("rescale", [0, -0.5, 1.25, float("nan")])
def test_rescaling_only_shrinks(benchmark, rescale):
    with pytest.raises(ValueError, match=rf"Received: rescale={rescale}\."):
        BenchmarkFolder(benchmark, 2, rescale=rescale)


def test_a_folder_of_lr_is_used(benchmark):
    a, b = noise(6, 9, seed=1), noise(6, 8, seed=2)
    (benchmark / "LR").mkdir()
    Image.fromarray(a).save(benchmark / "LR" / "a.png")
    Image.fromarray(b).save(benchmark / "LR" / "bx2.webp", lossless=True)
    folder = BenchmarkFolder(benchmark, 2)
    for pair, lr in zip(folder, (a, b), strict=True):
        np.testing.assert_array_equal(pair.lr, lr)
    with pytest.raises(InputError, match=r"LR/bx3\.png: missing"):
        BenchmarkFolder(benchmark, 3)
    for said, arguments in (
        ("LR is made of HR here", {"rescale": 0.5}),
        ("LR is made of HR here", {"channels": "y"}),
        ("LR is made of HR here", {"degradation": JPEG(10), "scale": 1}),
    ):
        with pytest.raises(InputError, match=f"LR: is not used, as {said}"):
            BenchmarkFolder(benchmark, **{"scale": 2, **arguments})
    add_lr(benchmark, 2, a=a, b=b)
    with pytest.raises(InputError, match=r"LR: is not used, as there is .*X2 too"):
        BenchmarkFolder(benchmark, 2)


def test_div2k_as_it_unpacks(benchmark, monkeypatch):
    """DIV2K_valid_HR, and DIV2K_valid_LR_bicubic/X2 beside it."""
    (benchmark / "HR").rename(benchmark / "DIV2K_valid_HR")
    a, b = noise(6, 9, seed=1), noise(6, 8, seed=2)
    add_lr(benchmark, 2, a=a, b=b)
    (benchmark / "LR_bicubic").rename(benchmark / "DIV2K_valid_LR_bicubic")
    monkeypatch.chdir(benchmark / "DIV2K_valid_HR")
    for folder in (benchmark / "DIV2K_valid_HR", "."):
        for pair, lr in zip(BenchmarkFolder(folder, 2), (a, b), strict=True):
            np.testing.assert_array_equal(pair.lr, lr)
        for pair in BenchmarkFolder(folder, 3):  # X3 is absent, so it is made
            np.testing.assert_array_equal(pair.lr, imresize(pair.hr, 1 / 3))
    with pytest.raises(InputError, match="not looked into: DIV2K_valid_HR, DIV2K_val"):
        BenchmarkFolder(benchmark, 2)


def test_lr_beside_images_that_are_not_in_hr_is_refused(benchmark):
    (benchmark / "HR" / "LR").mkdir()
    with pytest.raises(InputError, match=r"LR: is not used, as there is no .*HR/HR"):
        BenchmarkFolder(benchmark / "HR", 2)


def test_a_missing_lr_file_is_an_error(benchmark):
    add_lr(benchmark, 2, a=noise(6, 9))
    with pytest.raises(InputError, match=r"X2/bx2\.png: missing.*each of the 2"):
        BenchmarkFolder(benchmark, 2)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (9, 6), (13, 18)])
def test_a_wrong_size_is_an_error(benchmark, size):
    add_lr(benchmark, 2, a=noise(*size), b=noise(6, 8))
    message = rf"ax2\.png: {size[0]}x{size[1]} where HR asks for 6x9"
    with pytest.raises(InputError, match=message):
        list(BenchmarkFolder(benchmark, 2))


def test_an_image_smaller_than_the_scale_is_an_error(tmp_path):
    Image.fromarray(noise(3, 20)).save(tmp_path / "thin.png")
    with pytest.raises(InputError, match=r"thin\.png: smaller than the scale 4"):
        list(BenchmarkFolder(tmp_path, 4))


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere: not a folder"):
        BenchmarkFolder(tmp_path / "nowhere", 2)
