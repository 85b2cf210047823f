import numpy as np
import pytest

from tfsr.upscaling.tiling import bands, tiles


def blur(lr):
    """A 3x3 mean with zero padding, doubled in size: radius 1."""
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)))
    h, w, _ = lr.shape
    mean = sum(padded[y : y + h, x : x + w] for y in range(3) for x in range(3)) / 9
    return mean.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(20, 33, 8), (5, 40, 7), (8, 8, 8), (1, 1, 3)]
)
def test_tiles_give_what_the_whole_image_gives(height, width, tile):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    whole = blur(image.astype(np.float32) / 255)
    seen = []

    def enlarge(lr):
        seen.append(lr.shape)
        return blur(lr)

    parts = list(bands(enlarge, 2, [image], tile, overlap=1))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(seen) == tiles(height, width, tile, overlap=1)
    assert set(seen) == {(min(tile, height), min(tile, width), 3)}


def on_a_grid(lr):
    """The mean of each 4x4 pixels and of the eight means around it."""
    h, w, c = lr.shape
    means = lr.reshape(h // 4, 4, w // 4, 4, c).mean((1, 3))
    return blur(means).repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(("height", "width", "tile"), [(22, 35, 16), (7, 61, 20)])
def test_tiles_keep_to_the_grid_of_coarse_pixels(height, width, tile):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    missing = ((0, -height % 4), (0, -width % 4), (0, 0))
    whole = on_a_grid(np.pad(image, missing, mode="edge").astype(np.float32) / 255)
    parts = list(bands(on_a_grid, 1, [image], tile, overlap=4, step=4))
    np.testing.assert_array_equal(np.concatenate(parts), whole[:height, :width])


def test_layers_become_channels():
    color = np.full((4, 6, 3), 65535, np.uint16)
    alpha = np.zeros((4, 6), np.uint16)
    (band,) = bands(lambda lr: lr, 1, [color, alpha], 8, 0)
    assert band.shape == (4, 6, 4)
    np.testing.assert_array_equal(band[0, 0], [1, 1, 1, 0])


def test_overlap_must_leave_something():
    with pytest.raises(ValueError, match="Received: tile=8"):
        list(bands(blur, 2, [np.zeros((9, 9, 3), np.uint8)], 8, 4))


def test_the_step_must_divide():
    with pytest.raises(ValueError, match="Received: step=4, tile=18, overlap=4"):
        list(bands(blur, 2, [np.zeros((9, 9, 3), np.uint8)], 18, 4, step=4))
