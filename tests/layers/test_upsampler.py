import numpy as np
import pytest

from tfsr.layers import Upsampler


def pixel_shuffle(x, s, groups):
    """Channel (i * s + j) * C' + c of a group is channel c of its C' at (i, j)."""
    b, h, w, channels = x.shape
    per_group = channels // groups
    c_out = per_group // s**2
    out = np.zeros((b, h * s, w * s, groups * c_out))
    for g, i, j, c in np.ndindex(groups, s, s, c_out):
        source = x[..., g * per_group + (i * s + j) * c_out + c]
        out[:, i::s, j::s, g * c_out + c] = source
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_convolution_relu_and_pixel_shuffle(images, conv2d, scale, groups):
    layer = Upsampler(8, scale, groups)
    y = layer(images)
    x = images
    for conv, step in zip(layer.convs, {4: (2, 2)}.get(scale, (scale,)), strict=True):
        x = pixel_shuffle(np.maximum(conv2d(x, conv), 0), step, groups)
    np.testing.assert_allclose(y, x, atol=1e-5)


def test_groups_stay_apart(images):
    layer = Upsampler(8, 4, groups=2)
    before = np.asarray(layer(images))
    changed = images.copy()
    changed[..., 4:] += 1
    moved = np.abs(np.asarray(layer(changed)) - before).max(axis=(0, 1, 2))
    assert (moved[:4] == 0).all()
    assert (moved[4:] > 0).any()


@pytest.mark.parametrize("scale", [0, 1, 5, 8])
def test_scale_error(scale):
    message = rf"`scale` must be 2, 3 or 4\. Received: scale={scale}\."
    with pytest.raises(ValueError, match=message):
        Upsampler(8, scale)


@pytest.mark.parametrize(("scale", "groups"), [(2, 1), (3, 4), (4, 2)])
def test_contract(check_layer, scale, groups):
    check_layer(Upsampler(8, scale, groups), channels=8)
