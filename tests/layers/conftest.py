import numpy as np
import pytest


@pytest.fixture
def conv2d():
    """A grouped convolution, stride 1 and zero padding, written out in NumPy."""

    def convolve(x, layer):
        kernel, bias = np.asarray(layer.kernel), np.asarray(layer.bias)
        k, _, group_channels, filters = kernel.shape
        groups = x.shape[-1] // group_channels
        r = k // 2
        padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))
        out = np.zeros((*x.shape[:3], filters))
        for f in range(filters):
            first = f // (filters // groups) * group_channels
            mine = padded[..., first : first + group_channels]
            for i, j in np.ndindex(k, k):
                part = mine[:, i : i + x.shape[1], j : j + x.shape[2]]
                out[..., f] += part @ kernel[i, j, :, f]
        return out + bias

    return convolve


@pytest.fixture
def images():
    """A batch of two feature maps of 8 channels, odd sizes."""
    return np.random.default_rng(0).standard_normal((2, 5, 7, 8)).astype("float32")
