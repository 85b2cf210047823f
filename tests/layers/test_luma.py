import numpy as np

from tfsr import metrics
from tfsr.layers import Luma


def test_contract(check_layer):
    check_layer(Luma(), 3)


def test_is_the_metrics_luma():
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    y = Luma()(image.astype("float32") / 255)[0]
    np.testing.assert_allclose(y * 255, metrics.luma(image[0]), atol=1e-4)
