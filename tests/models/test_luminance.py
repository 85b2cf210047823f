import numpy as np
import pytest
from skimage.color import rgb2ycbcr, ycbcr2rgb

from tfsr.data.resize import imresize
from tfsr.models import cmsc, single_scale, vdsr
from tfsr.models.luminance import enlarging


@pytest.mark.parametrize("scale", [2, 3])
def test_the_luma_is_refined_and_colour_enlarged(scale):
    model = vdsr(layers=3, filters=8)
    lr = np.random.default_rng(0).uniform(0.2, 0.8, (1, 8, 9, 3)).astype(np.float32)
    ycbcr = rgb2ycbcr(imresize(lr[0].astype(float), scale))
    y = ycbcr[None, ..., :1].astype(np.float32) / 255
    ycbcr[..., :1] = np.asarray(model(y))[0] * 255
    sr = single_scale(model, scale)(lr)[0]
    np.testing.assert_allclose(sr, ycbcr2rgb(ycbcr), atol=1e-5)


def test_gray_is_its_own_luma():
    model = cmsc(stages=2, modules=1, filters=4)
    lr = np.random.default_rng(0).random((1, 8, 9, 1), np.float32)
    enlarged = imresize(lr[0].astype(float), 4)[None].astype(np.float32)
    sr = enlarging(model, 4, channels=1)(lr)
    np.testing.assert_allclose(sr, model(enlarged)["sr"], atol=1e-5)
