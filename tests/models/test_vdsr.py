import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tfsr.models import vdsr


def convolve(x, kernel, bias):
    """A 3x3 convolution with zeros around, `(H, W, C)` to `(H, W, K)`."""
    patches = sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), (0, 1))
    return np.einsum("hwcij,ijck->hwk", patches, kernel) + bias


def test_the_forward_pass_by_hand():
    model = vdsr(layers=4, filters=5)
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    lr = rng.random((6, 7, 1), np.float32)
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    x = lr
    for kernel, bias in hidden:
        x = np.maximum(convolve(x, kernel, bias), 0)
    residual = convolve(x, *last)
    assert residual.min() < 0 < residual.max()
    np.testing.assert_allclose(model(lr[None])[0], lr + residual, atol=1e-5)
