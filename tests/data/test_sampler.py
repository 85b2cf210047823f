import numpy as np
import pytest
from PIL import Image

from tfsr.data import (
    JPEG,
    Blur,
    Chain,
    GaussianNoise,
    ImageCache,
    PatchSampler,
    Resize,
)
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError


def ramp(height, width, base=0):
    """Red grows downwards and green to the right; linear, so LR is HR's block mean."""
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * y, 2 * x, np.full_like(y, base)], axis=-1).astype(np.uint8)


@pytest.fixture
def make_cache(tmp_path):
    def make(*images, scales=(2,), with_lr=True):
        folder = tmp_path / "images"
        folder.mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{i}.png")
        return ImageCache([folder], scales, tmp_path / "cache", with_lr=with_lr)

    return make


def block_means(hr, scale):
    b, h, w, c = hr.shape
    return hr.reshape(b, h // scale, scale, w // scale, scale, c).mean(axis=(2, 4))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_are_aligned(make_cache, scale):
    sampler = PatchSampler(make_cache(ramp(97, 103), scales=(scale,)), 5, 64)
    lr, hr = sampler[0]
    assert lr.shape == (64, 5, 5, 3)
    assert hr.shape == (64, 5 * scale, 5 * scale, 3)
    assert lr.dtype == hr.dtype == np.float32
    # One LR pixel beside the mark would be 2 * scale levels off.
    assert np.abs(lr - block_means(hr, scale)).max() * 255 < 1.5


def test_pixels_are_those_of_the_image(make_cache):
    image = ramp(40, 40, base=255)
    _, hr = PatchSampler(make_cache(image), 4, 32)[0]
    levels = np.unique(np.round(hr[..., 0] * 255).astype(int))
    assert set(levels) <= set(range(0, 80, 2))
    assert (hr[..., 2] == 1).all()


def test_all_positions_and_augmentations_occur(make_cache):
    sampler = PatchSampler(make_cache(ramp(14, 16)), patch=6, batch=400)
    lr, _ = sampler[0]
    corners = {tuple(np.round(c * 255).astype(int)) for c in lr.min(axis=(1, 2))}
    assert len(corners) == 2 * 3  # a 7x8 LR image holds 2x3 patches of 6x6

    def direction(plane):
        down, right = plane[-1, 0] - plane[0, 0], plane[0, -1] - plane[0, 0]
        assert min(abs(down), abs(right)) * 255 < 1
        return int(np.sign(down)), int(np.sign(right))

    turns = {(direction(p[..., 0]), direction(p[..., 1])) for p in lr}
    assert len(turns) == 8


def test_images_are_drawn_alike(make_cache):
    cache = make_cache(ramp(20, 20, base=0), ramp(90, 90, base=50), ramp(30, 20, 100))
    lr, _ = PatchSampler(cache, patch=8, batch=600)[0]
    bases, counts = np.unique(np.round(lr[:, 0, 0, 2] * 255), return_counts=True)
    assert bases.tolist() == [0, 50, 100]
    assert counts.min() > 150


def test_a_step_is_the_same_whenever_it_is_asked_for(make_cache):
    cache = make_cache(ramp(60, 60))
    sampler = PatchSampler(cache, patch=6, batch=4, seed=1)
    wanted = sampler[7]
    _ = sampler[3]
    for again in (sampler[7], PatchSampler(cache, patch=6, batch=4, seed=1)[7]):
        for a, b in zip(wanted, again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_steps_and_seeds_differ(make_cache):
    cache = make_cache(ramp(60, 60))
    batches = [
        PatchSampler(cache, patch=6, batch=4, seed=seed)[step][0]
        for seed in (0, 1)
        for step in (0, 1, 2)
    ]
    assert len({batch.tobytes() for batch in batches}) == 6


def test_several_scales(make_cache):
    cache = make_cache(ramp(60, 60), scales=(2, 3, 4))
    lr, hr = PatchSampler(cache, patch=6, batch=4)[0]
    assert list(lr) == ["lr_x2", "lr_x3", "lr_x4"]
    assert list(hr) == ["sr_x2", "sr_x3", "sr_x4"]
    for s in (2, 3, 4):
        assert lr[f"lr_x{s}"].shape == (4, 6, 6, 3)
        difference = lr[f"lr_x{s}"] - block_means(hr[f"sr_x{s}"], s)
        assert np.abs(difference).max() * 255 < 1.5


def test_shares_make_up_the_batch(make_cache):
    cache = make_cache(ramp(60, 60), ramp(30, 40), scales=(2, 3))
    sampler = PatchSampler(cache, patch=6, batch=6)
    whole = sampler[3]
    shares = [sampler.share(3, part, 3) for part in range(3)]
    for side, parts in zip(whole, zip(*shares, strict=True), strict=True):
        for key, batch in side.items():
            assert all(len(part[key]) == 2 for part in parts)
            joined = np.concatenate([part[key] for part in parts])
            np.testing.assert_array_equal(joined, batch)


def test_small_images_are_skipped_and_counted(make_cache):
    cache = make_cache(
        ramp(24, 24, base=10), ramp(16, 24, base=20), ramp(10, 60), scales=(2, 3)
    )
    sampler = PatchSampler(cache, patch=8, batch=64)
    assert sampler.skipped == {2: 1, 3: 2}
    lr, _ = sampler[0]
    levels = {key: set(np.round(x[..., 2].ravel() * 255)) for key, x in lr.items()}
    assert levels == {"lr_x2": {10, 20}, "lr_x3": {10}}


def test_an_error_if_no_image_is_large_enough(make_cache):
    cache = make_cache(ramp(24, 24), ramp(20, 60), scales=(2, 3))
    with pytest.raises(InputError, match=r"27 pixels \(9 at x3\)"):
        PatchSampler(cache, patch=9, batch=1)


def noise_of(sampler, step):
    """The noise in a batch of restoration, in 8-bit units."""
    lr, hr = sampler[step]
    assert lr.shape == hr.shape
    return (lr - hr) * 255


def test_noise_is_fresh_in_every_patch_and_repeated_by_the_step(make_cache):
    cache = make_cache(ramp(40, 40), scales=(1,))

    def sampler(seed=0):
        return PatchSampler(cache, 12, 30, seed, GaussianNoise(10))

    noises = [noise_of(sampler(), step) for step in range(3)]
    np.testing.assert_array_equal(noise_of(sampler(), 1), noises[1])
    assert np.std(noises) == pytest.approx(10, abs=0.2)
    patches = np.reshape([*noises, noise_of(sampler(seed=1), 1)], (120, -1))
    correlations = np.corrcoef(patches) - np.eye(120)
    assert np.abs(correlations).max() < 0.3


def test_shares_have_the_noise_of_the_batch(make_cache):
    cache = make_cache(ramp(40, 40), scales=(1,))
    sampler = PatchSampler(cache, 12, 6, 0, GaussianNoise(10))
    parts = [sampler.share(4, part, 3) for part in range(3)]
    for side, whole in zip(zip(*parts, strict=True), sampler[4], strict=True):
        np.testing.assert_array_equal(np.concatenate(side), whole)


def test_patches_of_jpeg_are_turned_after_they_are_cut_from_the_file(make_cache):
    rng = np.random.default_rng(0)
    image = (ramp(50, 60) + rng.integers(0, 40, (50, 60, 3))).astype(np.uint8)
    cache = make_cache(image, scales=(1,))
    file = JPEG(20)(image, 1, rng)
    pairs = np.concatenate([file, image], axis=-1)
    everywhere = {
        np.rot90(window[:, ::flip], turns).tobytes()
        for y in range(50 - 16 + 1)
        for x in range(60 - 16 + 1)
        for window in [pairs[y : y + 16, x : x + 16]]
        for flip in (1, -1)
        for turns in range(4)
    }
    batch = PatchSampler(cache, 16, 40, 0, JPEG(20))[0]
    for pair in np.concatenate(batch, axis=-1):
        assert np.round(pair * 255).astype(np.uint8).tobytes() in everywhere


@pytest.mark.parametrize("with_lr", [True, False], ids=["with LR", "HR alone"])
def test_patches_of_a_chain_are_those_of_the_degraded_image(make_cache, with_lr):
    rng = np.random.default_rng(0)
    hr = (ramp(100, 120) + rng.integers(0, 40, (100, 120, 3))).astype(np.uint8)
    steps = (BICUBIC, JPEG(20)) if with_lr else (JPEG(20), BICUBIC)
    file = Chain(steps)(hr, 2, rng)
    cache = make_cache(hr, with_lr=with_lr)
    batch = PatchSampler(cache, 16, 40, 0, Chain(steps))[0]
    everywhere = {
        np.rot90(window[:, ::flip], turns).tobytes(): hr[2 * y :, 2 * x :][:32, :32]
        for y in range(50 - 16 + 1)
        for x in range(60 - 16 + 1)
        for window in [file[y : y + 16, x : x + 16]]
        for flip in (1, -1)
        for turns in range(4)
    }
    for lr, sr in zip(*batch, strict=True):
        expected = everywhere[np.round(lr * 255).astype(np.uint8).tobytes()]
        assert np.sort(np.round(sr * 255).ravel()).tolist() == sorted(expected.ravel())


def test_a_chain_is_drawn_anew_and_repeated_by_the_step(make_cache):
    cache = make_cache(ramp(60, 60), scales=(2, 3))
    photo = Chain((BICUBIC, GaussianNoise([1, 10]), JPEG([30, 95])))
    sampler = PatchSampler(cache, 12, 6, 0, photo)
    lr, _ = sampler[4]
    assert list(lr) == ["lr_x2", "lr_x3"]
    again = PatchSampler(cache, 12, 6, 0, photo)
    for key, batch in lr.items():
        np.testing.assert_array_equal(again[4][0][key], batch)
        assert not np.array_equal(sampler[5][0][key], batch)
        shares = [sampler.share(4, part, 3)[0][key] for part in range(3)]
        np.testing.assert_array_equal(np.concatenate(shares), batch)


def test_a_batch_is_of_one_type_whichever_patches_have_noise(make_cache):
    noise, file = GaussianNoise(5, probability=0.5), JPEG([30, 95], probability=0.5)
    chain = Chain((Blur([0.2, 2]), Resize(["area", "bicubic"]), noise, file))
    sampler = PatchSampler(make_cache(ramp(60, 60), with_lr=False), 12, 1, 0, chain)
    batches = [sampler.draw(step, 0, 1) for step in range(8)]
    assert {lr.dtype.name for lr, _ in batches} == {"float32"}
    assert {hr.dtype.name for _, hr in batches} == {"uint8"}
    whole = [np.array_equal(lr, np.round(lr)) for lr, _ in batches]
    assert 0 < sum(whole) < 8
    again = PatchSampler(sampler.images, 12, 1, 0, chain).draw(5, 0, 1)
    np.testing.assert_array_equal(again[0], batches[5][0])
