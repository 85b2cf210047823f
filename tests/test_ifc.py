import numpy as np
import pytest

from tfsr import metrics
from tfsr.data.images import list_images, read_image, stored_channels
from tfsr.data.pairs import crop_to_multiple
from tfsr.data.resize import imresize
from tfsr.ifc import ifc

pytest.importorskip("pyrtools", reason="IFC's steerable pyramid needs pyrtools")


def bicubic(file, scale):
    """Luma and its bicubic reconstruction in float, without the border."""
    channels = stored_channels([file])
    hr = read_image(file, channels)
    luma = (np.rint(metrics.luma(hr)) if channels == 3 else hr)[..., 0]
    luma = crop_to_multiple(luma.astype(float), scale)
    sr = imresize(imresize(luma, 1 / scale), scale)
    return [x[scale:-scale, scale:-scale] for x in (sr, luma)]


# CMSC, Table III: bicubic's PSNR and IFC.
@pytest.mark.parametrize(
    ("name", "scale", "psnr", "expected"),
    [
        ("Set5", 2, 33.68, 6.2821),
        ("Set5", 3, 30.40, 3.6160),
        ("Set5", 4, 28.43, 2.3425),
        ("Set14", 4, 26.00, 2.2593),
    ],
)
def test_bicubic_has_the_papers_figures(shared, name, scale, psnr, expected):
    pairs = [bicubic(f, scale) for f in list_images(shared / "data/test" / name / "HR")]
    errors = [np.mean((sr - hr) ** 2) for sr, hr in pairs]
    assert np.mean(10 * np.log10(255**2 / np.array(errors))) == pytest.approx(
        psnr, abs=0.005
    )
    assert np.mean([ifc(*pair) for pair in pairs]) == pytest.approx(expected, abs=1e-3)


def test_noise_and_contrast():
    rng = np.random.default_rng(0)
    hr = np.cumsum(rng.standard_normal((96, 120)), axis=1) * 5 + 128
    noise = rng.standard_normal(hr.shape)
    assert ifc(hr + noise, hr) > ifc(hr + 5 * noise, hr) > 0
    # A gain alone loses nothing: it is estimated, and so is the noise with it.
    halved = (hr + noise) / 2
    assert ifc(halved, hr) == pytest.approx(ifc(hr + noise, hr), rel=1e-6)
    assert ifc(np.full_like(hr, 128), hr) == 0
