import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tfsr.data import BenchmarkFolder, read_image
from tfsr.metrics import (
    METRICS,
    Metric,
    figures,
    key_of,
    luma,
    psnr,
    ssim,
    ssim_uniform,
)


@pytest.fixture
def images():
    """A uint8 RGB image and a noisy one."""
    rng = np.random.default_rng(0)
    hr = rng.integers(30, 220, (20, 24, 3))
    return (hr + rng.integers(-20, 21, hr.shape)).astype(np.uint8), hr.astype(np.uint8)


def test_luma_equals_scikit_image(images):
    expected = rgb2ycbcr(images[1])[..., :1]
    result = luma(images[1])
    assert result.shape == (20, 24, 1)
    np.testing.assert_allclose(result, expected, atol=1e-10)
    assert not np.array_equal(result, np.round(result))


@pytest.mark.parametrize(
    ("colour", "y"), [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81.481)]
)
def test_luma_of_colours(colour, y):
    assert luma(np.full((1, 1, 3), colour, np.uint8))[0, 0, 0] == pytest.approx(y)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.int32),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 3), np.uint8),
    ],
    ids=["32-bit", "gray", "2-d"],
)
def test_luma_errors(image):
    message = rf"Received: shape=\({image.shape[0]}, .*dtype={image.dtype}\."
    with pytest.raises(ValueError, match=message):
        luma(image)


def test_psnr_by_hand():
    hr = np.full((4, 5, 1), 100, np.uint8)
    sr = hr.copy()
    sr[0, 0] = 90  # squared error 100 over 20 pixels
    assert psnr(sr, hr) == pytest.approx(10 * np.log10(255**2 / 5))
    assert psnr(sr, hr) == psnr(hr, sr)  # 90 - 100 does not wrap around
    assert psnr(sr, hr, border=1) == float("inf")


@pytest.mark.parametrize("border", [0, 3])
def test_psnr_equals_scikit_image(images, border):
    sr, hr = images
    inside = slice(border, 20 - border), slice(border, 24 - border)
    expected = peak_signal_noise_ratio(hr[inside], sr[inside])
    assert psnr(sr, hr, border) == pytest.approx(expected)


def test_psnr_of_equal_images_is_infinite(images):
    assert psnr(images[1], images[1]) == float("inf")
    assert ssim(images[1], images[1]) == pytest.approx(1)


def gaussian_window():
    t = np.arange(-5, 6)
    window = np.exp(-(t**2) / (2 * 1.5**2))
    return np.outer(window, window) / window.sum() ** 2


def ssim_by_definition(x, y, window):
    """Wang et al., TIP 2004, for one channel, a window at a time."""
    side = len(window)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i, j in np.ndindex(x.shape[0] - side + 1, x.shape[1] - side + 1):
        a, b = x[i : i + side, j : j + side], y[i : i + side, j : j + side]
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a = (window * (a - mean_a) ** 2).sum()
        var_b = (window * (b - mean_b) ** 2).sum()
        cov = (window * (a - mean_a) * (b - mean_b)).sum()
        values.append(
            (2 * mean_a * mean_b + c1)
            * (2 * cov + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        )
    return np.mean(values)


@pytest.mark.parametrize("border", [0, 2])
def test_ssim_equals_the_definition(images, border):
    sr, hr = (image.astype(float) for image in images)
    inside = slice(border, 20 - border), slice(border, 24 - border)
    expected = np.mean(
        [
            ssim_by_definition(
                sr[inside][..., c], hr[inside][..., c], gaussian_window()
            )
            for c in range(3)
        ]
    )
    assert ssim(*images, border) == pytest.approx(expected, abs=1e-6)


def test_ssim_is_not_the_uniform_window(images):
    sr, hr = images
    uniform = structural_similarity(sr, hr, data_range=255, channel_axis=-1)
    assert abs(ssim(sr, hr) - uniform) > 1e-3


@pytest.mark.parametrize("border", [0, 2])
def test_uniform_ssim_equals_the_definition(images, border):
    sr, hr = (image.astype(float) for image in images)
    inside = slice(border, 20 - border), slice(border, 24 - border)
    flat = np.full((8, 8), 1 / 64)
    expected = np.mean(
        [
            ssim_by_definition(sr[inside][..., c], hr[inside][..., c], flat)
            for c in range(3)
        ]
    )
    assert ssim_uniform(*images, border) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [psnr, ssim, ssim_uniform])
@pytest.mark.parametrize(
    ("sr", "hr", "border", "message"),
    [
        ((20, 20, 3), (20, 21, 3), 0, r"sr\.shape=\(20, 20, 3\), hr\.shape=\(20, 21"),
        ((20, 20, 3), (20, 20, 1), 0, r"hr\.shape=\(20, 20, 1\)"),
        ((20, 20), (20, 20), 0, r"sr\.shape=\(20, 20\)"),
        ((20, 30, 3), (20, 30, 3), 10, r"shape=\(20, 30, 3\), border=10"),
    ],
)
def test_errors(metric, sr, hr, border, message):
    with pytest.raises(ValueError, match=rf"Received: .*{message}"):
        metric(np.zeros(sr), np.zeros(hr), border)


def test_uniform_ssim_of_a_small_image():
    with pytest.raises(ValueError, match=r"Received: shape=\(9, 12, 1\), border=1\."):
        ssim_uniform(np.zeros((9, 12, 1)), np.zeros((9, 12, 1)), border=1)


def test_ssim_of_a_small_image():
    with pytest.raises(ValueError, match=r"Received: shape=\(10, 12, 1\), border=1\."):
        ssim(np.zeros((12, 14, 1)), np.zeros((12, 14, 1)), border=1)


# Published for RCAN on Set5, https://arxiv.org/abs/1807.02758, Table 2: 38.27/0.9614,
# 34.74/0.9299, 32.63/0.9002; the third decimal is from the authors' output images.
@pytest.mark.parametrize(
    ("scale", "expected_psnr", "expected_ssim"),
    [(2, 38.274, 0.9614), (3, 34.742, 0.9299), (4, 32.634, 0.9002)],
)
def test_published_figures(shared, scale, expected_psnr, expected_ssim):
    figures = []
    for pair in BenchmarkFolder(shared / "data/test/Set5", scale):
        file = f"reference/rcan_set5/x{scale}/{pair.name}_RCAN_x{scale}.png"
        sr, hr = luma(read_image(shared / file)), luma(pair.hr)
        figures.append((psnr(sr, hr, border=scale), ssim(sr, hr, border=scale)))
    mean_psnr, mean_ssim = np.mean(figures, axis=0)
    assert mean_psnr == pytest.approx(expected_psnr, abs=1e-3)
    assert mean_ssim == pytest.approx(expected_ssim, abs=2e-4)


def test_figures_by_their_keys(images):
    sr, hr = images
    y = luma(sr), luma(hr)
    assert figures(sr, hr, 2) == {
        "psnr_y": psnr(*y, 2),
        "ssim_y": ssim(*y, 2),
        "psnr_rgb": psnr(sr, hr, 2),
        "ssim_rgb": ssim(sr, hr, 2),
    }
    gray = sr[..., :1], hr[..., :1]
    assert figures(*gray, 0, ("ssim_uniform", "psnr")) == {
        "ssim_uniform": ssim_uniform(*gray),
        "psnr": psnr(*gray),
    }


# Those that download weights: tests/scoring/test_perceptual.py
@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"lpips", "dists"}))
def test_what_models_are_compared_by_is_among_the_figures(name):
    pytest.importorskip("pyrtools")
    hr = np.random.default_rng(0).integers(0, 256, (150, 140, 3)).astype(np.uint8)
    for channels in (3, 1):
        image = hr[..., :channels]
        scored = figures(image // 2, image, 0, (name,))
        assert next(iter(scored)) == key_of(name, channels)
        assert all(np.isfinite(value) for value in scored.values())


def test_a_metric_is_one_entry(monkeypatch, images):
    def mse(sr, hr, border):
        return float(np.mean((sr.astype(float) - hr) ** 2))

    monkeypatch.setitem(METRICS, "mse", Metric(mse))
    scored = figures(*images, 0, ("mse",))
    assert set(scored) == {"mse_y", "mse_rgb"}
    assert scored["mse_rgb"] == mse(*images, 0)


@pytest.mark.parametrize("names", [("gray", "color"), ("color", "gray")])
def test_each_metric_sees_its_own_view(monkeypatch, images, names):
    def channels(sr, hr, border):
        return sr.shape[-1]

    monkeypatch.setitem(METRICS, "gray", Metric(channels, views={"": luma}))
    monkeypatch.setitem(METRICS, "color", Metric(channels, views={"": lambda x: x}))
    assert figures(*images, 0, names) == {"gray": 1, "color": 3}
