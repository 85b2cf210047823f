import math

import numpy as np
import pytest

from tfsr.data import BenchmarkFolder, imresize, read_image


def keys_cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resize_line(line, scale):
    """MATLAB's definition of one row or column, a pixel at a time, not rounded."""
    stretch = min(scale, 1)
    out = []
    for i in range(math.ceil(len(line) * scale)):
        center = (i + 0.5) / scale - 0.5
        total = weights = 0.0
        for tap in range(
            math.floor(center - 2 / stretch) - 1, math.ceil(center + 2 / stretch) + 2
        ):
            weight = keys_cubic(stretch * (center - tap))
            source = tap % (2 * len(line))  # symmetric: 0 1 2 | 2 1 0 | 0 1 2
            source = min(source, 2 * len(line) - 1 - source)
            total += weight * line[source]
            weights += weight
        out.append(total / weights)
    return np.array(out)


def resize_slowly(image, scale, finish):
    rows = finish(np.apply_along_axis(resize_line, 0, image, scale))
    return finish(np.apply_along_axis(resize_line, 1, rows, scale))


def to_bytes(values):
    return np.floor(np.clip(values, 0, 255) + 0.5)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 0.3, 0.6, 0.8, 1, 1.5, 2, 3, 4])
def test_equals_the_definition(scale):
    image = np.random.default_rng(0).integers(0, 256, (13, 9, 3), dtype=np.uint8)
    result = imresize(image, scale)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, resize_slowly(image, scale, to_bytes))

    result = imresize(image / 255, scale)
    assert result.dtype == np.float64
    expected = resize_slowly(image / 255, scale, lambda values: values)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_integers_are_rounded_after_each_pass_and_floats_are_not():
    image = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    integers = imresize(image, 1 / 2).astype(float)
    floats = to_bytes(imresize(image.astype(float), 1 / 2))
    assert 0 < np.abs(integers - floats).max() <= 12


@pytest.mark.parametrize(
    ("kernel", "antialias", "weights"),
    [
        ("bilinear", True, [1 / 8, 3 / 8, 3 / 8, 1 / 8]),
        ("bilinear", False, [0, 1 / 2, 1 / 2, 0]),
        ("area", True, [0, 1 / 2, 1 / 2, 0]),
        ("area", False, [0, 0, 1, 0]),
    ],
)
def test_other_kernels_at_one_half(kernel, antialias, weights):
    image = np.random.default_rng(0).random((12, 1))
    result = imresize(np.repeat(image, 12, axis=1), 1 / 2, kernel, antialias)
    expected = [np.dot(weights, image[i : i + 4, 0]) for i in range(1, 9, 2)]
    np.testing.assert_allclose(result[1:-1], np.tile(expected, (6, 1)).T)


def test_floats_may_overshoot_and_keep_their_type():
    image = np.zeros((8, 8), np.float32)
    image[:, 4:] = 1
    result = imresize(image, 2)
    assert result.dtype == np.float32
    assert result.max() > 1.01
    assert result.min() < -0.01
    assert set(np.unique(imresize((image * 255).astype(np.uint8), 2)[:, [0, -1]])) == {
        0,
        255,
    }


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_clips_to_the_type(dtype):
    info = np.iinfo(dtype)
    image = np.full((8, 8), info.min, dtype)
    image[:, 4:] = info.max
    result = imresize(image, 2)
    assert result.dtype == dtype
    assert (result.min(), result.max()) == (info.min, info.max)
    assert (np.diff(result[0].astype(int)) >= 0).all()  # nothing wrapped around


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((5, 7), 1 / 2, (3, 4)),
        ((9, 10, 3), 1 / 4, (3, 3, 3)),
        ((1, 1, 1), 4, (4, 4, 1)),
        ((2, 3), 1 / 4, (1, 1)),
        ((321, 481), 0.8, (257, 385)),
        ((55, 15), 0.6, (33, 9)),
    ],
)
def test_size_is_rounded_up(shape, scale, expected):
    image = np.full(shape, 200, np.uint8)
    result = imresize(image, scale)
    assert result.shape == expected
    assert (result == 200).all()


def test_channels_are_independent():
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 2), dtype=np.uint8)
    result = imresize(image, 1 / 3)
    for c in range(2):
        np.testing.assert_array_equal(result[..., c], imresize(image[..., c], 1 / 3))


@pytest.mark.parametrize(
    ("shape", "scale", "message"),
    [
        ((5,), 2, r"Received: shape=\(5,\)\."),
        ((1, 5, 5, 3), 2, r"Received: shape=\(1, 5, 5, 3\)\."),
        ((0, 5, 3), 2, r"Received: shape=\(0, 5, 3\)\."),
        ((5, 5), 0, r"Received: scale=0\."),
        ((5, 5), -0.5, r"Received: scale=-0\.5\."),
        ((5, 5), float("nan"), r"Received: scale=nan\."),
    ],
)
def test_errors(shape, scale, message):
    with pytest.raises(ValueError, match=message):
        imresize(np.zeros(shape), scale)


def test_booleans_are_refused():
    with pytest.raises(ValueError, match=r"must be numbers\. Received: dtype=bool"):
        imresize(np.ones((4, 4), bool), 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14)])
def test_reference_files_byte_for_byte(shared, name, count, scale):
    folder = BenchmarkFolder(shared / "data/test" / name, scale)
    assert len(folder) == count
    assert folder.lr_files is not None
    for pair, file in zip(folder, folder.lr_files, strict=True):
        reference = read_image(file)
        np.testing.assert_array_equal(
            imresize(pair.hr, 1 / scale), reference, err_msg=pair.name
        )
