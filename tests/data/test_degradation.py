import numpy as np
import pytest
from PIL import Image

from tfsr.data import (
    JPEG,
    BenchmarkFolder,
    Bicubic,
    Blur,
    Chain,
    GaussianNoise,
    PoissonNoise,
    Resize,
    imresize,
)
from tfsr.data.degradation_type import BICUBIC, after_bicubic, to_table
from tfsr.data.degradations import DEGRADATIONS, check_scale, from_table
from tfsr.data.sampler import degraded_patch
from tfsr.metrics import psnr, ssim_uniform
from tfsr.scoring.images import asked_or_own


def image(height=70, width=90, channels=3, seed=0):
    """A smooth image with some noise, so that JPEG has something to lose."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 10, width // 10, channels), np.uint8)
    smooth = imresize(coarse, 10)[:height, :width]
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_noise_has_its_sigma_and_is_not_clipped():
    hr = np.full((300, 200, 1), 250, np.uint8)
    lr = GaussianNoise(25)(hr, 1, rng())
    assert lr.dtype == np.float32
    assert lr.max() > 300
    assert np.mean(lr) == pytest.approx(250, abs=0.5)
    assert np.std(lr) == pytest.approx(25, abs=0.3)
    shifted = np.corrcoef(lr[1:].ravel(), lr[:-1].ravel())[0, 1]
    assert abs(shifted) < 0.02


def test_noise_in_8_bits_is_the_same_clipped_and_rounded():
    hr = image()
    noisy = GaussianNoise(25)(hr, 1, rng())
    lr = GaussianNoise(25).rounded()(hr, 1, rng())
    assert lr.dtype == np.uint8
    np.testing.assert_array_equal(lr, np.floor(np.clip(noisy, 0, 255) + 0.5))


def test_blind_noise_draws_a_sigma_for_each_image():
    hr = np.full((100, 100, 1), 128, np.uint8)
    noise = GaussianNoise([5, 50])
    sigmas = [np.std(noise(hr, 1, rng(seed)).astype(float)) for seed in range(60)]
    assert 4.5 < min(sigmas) < 12
    assert 43 < max(sigmas) < 52
    assert np.mean(sigmas) == pytest.approx(27.5, abs=5)


@pytest.mark.parametrize("kind", [GaussianNoise, PoissonNoise])
def test_gray_noise_is_the_same_in_all_channels(kind):
    hr = image(60, 60).astype(np.float32)

    def spread(gray):  # of the noise over the channels, by image
        noise = kind(10, gray=gray)
        found = [noise(hr, 1, rng(seed)) - hr for seed in range(30)]
        return np.ptp(found, axis=-1).max(axis=(1, 2))

    assert spread(0).min() > 20
    assert spread(1).max() < 1e-3
    assert 5 < np.sum(spread(0.5) < 1e-3) < 25


def test_poisson_noise_grows_with_brightness():
    levels = np.repeat([0, 64, 255], 20_000).astype(np.uint8)
    hr = levels.reshape(300, 200, 1)
    noise = PoissonNoise(8)(hr, 1, rng()) - hr
    dark, middle, white = np.split(noise.ravel(), 3)
    assert not dark.any()
    assert np.std(middle) == pytest.approx(8 * (64 / 255) ** 0.5, rel=0.03)
    assert np.std(white) == pytest.approx(8, rel=0.03)
    assert np.mean(white) == pytest.approx(0, abs=0.2)


def spot(blur, seed=0):
    """Returns what becomes of a white pixel, and its covariance, in pixels squared."""
    hr = np.zeros((61, 61, 1), np.float32)
    hr[30, 30] = 255
    weights = blur(hr, 1, rng(seed))[..., 0] / 255
    y, x = np.mgrid[-30:31, -30:31]
    places = np.stack([y.ravel(), x.ravel()])
    return weights, np.cov(places, aweights=np.maximum(weights.ravel(), 0), ddof=0)


def test_blur_is_a_gaussian_alike_in_all_directions():
    weights, covariance = spot(Blur(2))
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(covariance, 4 * np.eye(2), atol=0.15)
    np.testing.assert_allclose(weights, weights.T, atol=1e-6)


def test_blur_has_a_direction_where_it_is_narrower_across():
    blur, turns = Blur(3, ratio=0.5), []
    for seed in range(20):
        variances, axes = np.linalg.eigh(spot(blur, seed)[1])
        np.testing.assert_allclose(variances, [1.5**2, 3**2], rtol=0.1)
        turns.append(np.arctan2(*axes[:, 1]) % np.pi)
    assert np.histogram(turns, 3, (0, np.pi))[0].min() > 2


def test_blur_keeps_flat_fields_and_the_type():
    for dtype in (np.uint8, np.float32):
        flat = np.full((20, 15, 3), 201, dtype)
        blurred = Blur(1.5)(flat, 1, rng())
        assert blurred.dtype == dtype
        np.testing.assert_allclose(blurred, flat, atol=1e-4)
    sharp = image(seed=5)
    floats = Blur(1.5)(sharp.astype(np.float32), 1, rng())
    np.testing.assert_allclose(Blur(1.5)(sharp, 1, rng()), floats, atol=0.501)


def test_resize_draws_a_kernel_and_whether_it_widens():
    hr = image(60, 90)
    of = {k: imresize(hr, 1 / 3, k).tobytes() for k in ("bicubic", "bilinear", "area")}
    for kernel, expected in of.items():
        assert Resize(kernel)(hr, 3, rng()).tobytes() == expected
    drawn = [Resize(list(of))(hr, 3, rng(seed)).tobytes() for seed in range(30)]
    assert set(drawn) == set(of.values())
    sharp = imresize(hr, 1 / 3, "bilinear", antialias=False).tobytes()
    assert Resize("bilinear", antialias=0)(hr, 3, rng()).tobytes() == sharp
    half = Resize("bilinear", antialias=0.5)
    drawn = {half(hr, 3, rng(seed)).tobytes() for seed in range(30)}
    assert drawn == {sharp, of["bilinear"]}
    assert Resize("area", antialias=0)(hr, 3, rng()).tobytes() == of["area"]
    np.testing.assert_allclose(
        Resize("area")(hr.astype(float), 3, rng()),
        hr.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3)),
    )


def test_a_probability_leaves_images_as_they_are():
    hr = image()
    for degradation in (JPEG(30, probability=0.25), Blur(1, probability=0.25)):
        results = [degradation(hr, 1, rng(seed)) for seed in range(80)]
        done = [not np.array_equal(result, hr) for result in results]
        assert 8 < sum(done) < 32
    certain = JPEG([30, 90], probability=1)(hr, 1, rng(3))
    np.testing.assert_array_equal(certain, JPEG([30, 90])(hr, 1, rng(3)))


def test_chroma_is_kept_or_halved():
    hr = image()
    low, high = (JPEG(90, subsampling=s) for s in ("4:2:0", "4:4:4"))
    assert psnr(high(hr, 1, rng()), hr) > psnr(low(hr, 1, rng()), hr) + 1
    np.testing.assert_array_equal(low(hr, 1, rng()), JPEG(90)(hr, 1, rng()))
    drawn = JPEG(90, subsampling=["4:2:0", "4:4:4"])
    results = {drawn(hr, 1, rng(seed)).tobytes() for seed in range(20)}
    assert results == {d(hr, 1, rng()).tobytes() for d in (low, high)}


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_a_file(tmp_path, channels):
    hr = image(channels=channels)
    Image.fromarray(hr.squeeze()).save(tmp_path / "a.jpg", quality=30)
    expected = np.asarray(Image.open(tmp_path / "a.jpg")).reshape(hr.shape)
    np.testing.assert_array_equal(JPEG(30)(hr, 1, rng()), expected)


def test_blind_jpeg_draws_a_quality_for_each_image():
    hr = image(channels=1)
    results = {q: JPEG(q)(hr, 1, rng()).tobytes() for q in (10, 11, 12)}
    drawn = {JPEG([10, 12])(hr, 1, rng(seed)).tobytes() for seed in range(40)}
    assert drawn == set(results.values())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 75])
def test_a_patch_of_jpeg_is_cut_from_the_whole_file(channels, quality):
    hr = image(118, 131, channels)
    whole = JPEG(quality)(hr, 1, rng()).astype(int)
    places = ((0, 0), (33, 17), (16, 32), (118 - 24, 131 - 24), (47, 1), (18, 6))
    for y, x in places:
        patch = degraded_patch(JPEG(quality), hr, y, x, 24, rng())
        np.testing.assert_array_equal(patch, whole[y : y + 24, x : x + 24])


def test_a_patch_of_noise_has_its_place():
    hr = image(seed=3)
    patch = degraded_patch(GaussianNoise(1e-3), hr, 11, 20, 24, rng())
    np.testing.assert_allclose(patch, hr[11:35, 20:44], atol=0.01)


EXAMPLES = {
    "bicubic": Bicubic(),
    "noise of sigma 25 (float)": GaussianNoise(25),
    "noise of sigma 0 to 55 (uint8)": GaussianNoise([0, 55], "uint8"),
    "JPEG of quality 10": JPEG(10),
    "JPEG of quality 10 to 40": JPEG([10, 40]),
    "bicubic, noise of sigma 0 to 10 (float), JPEG of quality 30 to 95": Chain(
        (BICUBIC, GaussianNoise([0, 10]), JPEG([30, 95]))
    ),
    "bicubic or area (antialiased in 0.8)": Resize(["bicubic", "area"], antialias=0.8),
    "blur of sigma 0.2 to 2 (0.5 to 1 across; in 0.5)": Blur(
        [0.2, 2], ratio=[0.5, 1], probability=0.5
    ),
    "Poisson noise of sigma 4 (float; gray in 0.4)": PoissonNoise(4, gray=0.4),
    "JPEG of quality 30 to 95 (4:2:0 or 4:4:4; in 0.85)": JPEG(
        [30, 95], subsampling=["4:2:0", "4:4:4"], probability=0.85
    ),
    "noise of sigma 0 to 6 (uint8; gray; in 0.3)": GaussianNoise(
        [0, 6], "uint8", gray=1, probability=0.3
    ),
}


@pytest.mark.parametrize(("words", "degradation"), EXAMPLES.items(), ids=EXAMPLES)
def test_words_and_tables(words, degradation):
    assert str(degradation) == words
    assert from_table(to_table(degradation)) == degradation


def test_tables_name_what_is_needed():
    assert to_table(GaussianNoise(15)) == {
        "name": "noise",
        "sigma": 15,
        "noise": "float",
    }
    assert to_table(JPEG([10, 40])) == {"name": "jpeg", "quality": [10, 40]}
    assert to_table(JPEG(5, subsampling="4:4:4", probability=0.5)) == {
        "name": "jpeg",
        "quality": 5,
        "subsampling": "4:4:4",
        "probability": 0.5,
    }
    chain = Chain((BICUBIC, GaussianNoise([0, 10]), JPEG([30, 95])))
    assert to_table(chain) == [
        {"name": "bicubic"},
        {"name": "noise", "sigma": [0, 10], "noise": "float"},
        {"name": "jpeg", "quality": [30, 95]},
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "fog"}, f"one of {', '.join(DEGRADATIONS)}, not 'fog'"),
        ({"quality": 10}, "one of bicubic, .*, not None"),
        ({"name": ["jpeg"]}, r"one of bicubic, .*, not \['jpeg'\]"),
        ([], r"a table or more, not \[\]"),
        ([{"name": "jpeg", "sigma": 5}], '"jpeg"; allowed: quality, probability, sub'),
        ([{"name": "bicubic"}] * 2, r"may shrink\. Received: bicubic, bicubic\."),
        ({"name": "noise"}, 'degradation = "noise" needs sigma'),
        ({"name": "jpeg", "sigma": 5}, 'sigma is not for degradation = "jpeg"'),
        ({"name": "bicubic", "noise": "float"}, "noise is not for degradation"),
        ({"name": "noise", "sigma": 0}, r"Received: sigma=0\."),
        ({"name": "noise", "sigma": float("nan")}, r"Received: sigma=nan\."),
        ({"name": "noise", "sigma": float("inf")}, r"Received: sigma=inf\."),
        ({"name": "noise", "sigma": [50, 5]}, r"Received: sigma=\[50, 5\]\."),
        ({"name": "noise", "sigma": [1, 2, 3]}, r"Received: sigma=\[1, 2, 3\]\."),
        ({"name": "noise", "sigma": 5, "noise": "int"}, r"Received: noise=int\."),
        ({"name": "jpeg", "quality": 0}, r"Received: quality=0\."),
        ({"name": "jpeg", "quality": [10, 101]}, r"Received: quality=\[10, 101\]\."),
        ({"name": "jpeg", "quality": "x"}, r"from 1 to 100, or .* quality=x\."),
        ({"name": "jpeg", "quality": 9, "subsampling": "4:2:2"}, r"4:4:4\. .*=4:2:2\."),
        ({"name": "jpeg", "quality": 9, "subsampling": []}, r"subsampling=\[\]\."),
        ({"name": "noise", "sigma": 5, "gray": 2}, r"from 0 to 1\. Received: gray=2\."),
        ({"name": "blur", "sigma": 5, "probability": -1}, r"probability=-1\."),
        ({"name": "blur", "sigma": 21}, r"above 0 and at most 20, .*sigma=21\."),
        ({"name": "blur", "sigma": 1, "ratio": [0.5, 2]}, r"ratio=\[0.5, 2\]\."),
        ({"name": "resize", "kernel": "lanczos"}, r"one of bicubic, .* kernel=lanczos"),
        ([{"name": "bicubic"}, {"name": "resize", "kernel": "area"}], "may shrink"),
    ],
)
def test_wrong_tables(table, message):
    with pytest.raises(ValueError, match=message):
        from_table(table)


@pytest.mark.parametrize(
    ("degradation", "scale", "message"),
    [
        (Bicubic(), 1, "x1 needs the degradation noise or .*, not bicubic"),
        (JPEG(10), 2, "x2 needs the degradation bicubic or resize, not jpeg"),
        (Chain((GaussianNoise(5), JPEG(10))), 2, "bicubic or .*, not noise, jpeg"),
        (Chain((BICUBIC, JPEG(10))), 1, "noise or .*, not bicubic, jpeg"),
    ],
)
def test_a_scale_and_its_degradations(degradation, scale, message):
    with pytest.raises(ValueError, match=message):
        check_scale(degradation, scale)


def test_a_chain_does_one_after_another():
    hr, noise = image(72, 96), GaussianNoise(5)
    lr = Chain((BICUBIC, noise, JPEG(60)))(hr, 2, rng())
    noisy = noise.rounded()(imresize(hr, 1 / 2), 2, rng())
    np.testing.assert_array_equal(lr, JPEG(60)(noisy, 2, rng()))
    before = Chain((JPEG(60), BICUBIC))(hr, 2, rng())
    np.testing.assert_array_equal(before, imresize(JPEG(60)(hr, 1, rng()), 1 / 2))


def test_a_chain_draws_anew():
    hr = image(72, 96)
    blind = Chain((BICUBIC, GaussianNoise([1, 10], "uint8"), JPEG([30, 95])))
    drawn = [blind(hr, 2, rng(seed)).tobytes() for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_second_round_is_steps_listed_again():
    round_one = Blur(1.5, probability=0.5), JPEG([30, 90], probability=0.5)
    twice = Chain((*round_one, Resize(["bicubic", "area"]), *round_one))
    assert from_table(to_table(twice)) == twice
    for seed in range(10):
        assert twice(image(60, 90), 3, rng(seed)).shape == (20, 30, 3)


STEPS = [
    (BICUBIC, JPEG(30)),
    (JPEG(30), BICUBIC),
    (JPEG(80), BICUBIC, JPEG(30)),
    (JPEG(80), JPEG(30)),
    (Blur(1.2, ratio=0.5), Resize("bilinear"), JPEG(30)),
    (Resize("bicubic", antialias=0), Blur(0.7)),
    (Blur([0.5, 2]), JPEG(80), Resize("area"), JPEG(30)),
]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_a_patch_of_a_chain_is_cut_from_the_whole_image(steps, scale):
    chain = Chain(steps)
    scale = scale if chain.shrinks else 1
    hr = image(120, 150)
    whole = chain(hr, scale, rng())
    height, width, _ = whole.shape
    for y, x in ((0, 0), (17, 9), (height - 20, width - 20), (16, 0)):
        patch = degraded_patch(chain, hr, y, x, 20, rng(), scale)
        np.testing.assert_array_equal(patch, whole[y : y + 20, x : x + 20])


def test_what_a_chain_tells_of_its_steps():
    photo = Chain((BICUBIC, Chain((GaussianNoise(5), JPEG(60)))))
    assert photo.steps == (BICUBIC, GaussianNoise(5), JPEG(60))
    assert photo.rounded().steps[1].noise == "uint8"
    assert after_bicubic(photo).steps == photo.steps[1:]
    assert after_bicubic(BICUBIC).steps == ()
    assert after_bicubic(Chain((JPEG(60), BICUBIC))) is None
    assert photo.published(2) != BICUBIC.published(2) == "x2"
    assert photo.metrics == ()


@pytest.mark.parametrize(
    ("asked", "own", "scale", "expected"),
    [
        (None, JPEG(10), 1, JPEG(10)),
        (None, None, 1, None),
        (JPEG(30), None, 1, JPEG(30)),
        (JPEG(30), BICUBIC, 2, Chain((BICUBIC, JPEG(30)))),
        (BICUBIC, Chain((BICUBIC, JPEG(30))), 2, BICUBIC),
        (Chain((JPEG(30), BICUBIC)), BICUBIC, 2, Chain((JPEG(30), BICUBIC))),
        (GaussianNoise(5), GaussianNoise(25, "uint8"), 1, GaussianNoise(5, "uint8")),
        (GaussianNoise(5), GaussianNoise([0, 9], gray=0.4), 1, GaussianNoise(5)),
        (JPEG(60), JPEG([5, 95], probability=0.8), 1, JPEG(60)),
        (
            JPEG(60),
            Chain((Blur(1), Resize("area"), JPEG([30, 95], subsampling="4:4:4"))),
            2,
            Chain((BICUBIC, JPEG(60, subsampling="4:4:4"))),
        ),
        (
            Chain((GaussianNoise(5), JPEG(60))),
            Chain((BICUBIC, GaussianNoise([0, 9], "uint8"))),
            3,
            Chain((BICUBIC, GaussianNoise(5, "uint8"), JPEG(60))),
        ),
    ],
)
def test_what_is_asked_for_and_what_a_model_was_made_for(asked, own, scale, expected):
    found = asked_or_own(asked, own, scale)
    assert (found and found.steps) == (expected and expected.steps)


def test_lr_files_are_degraded_further(tmp_path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "LR_bicubic" / "X2").mkdir(parents=True)
    hr, lr = image(60, 80), image(30, 40, seed=7)
    Image.fromarray(hr).save(tmp_path / "HR" / "a.png")
    Image.fromarray(lr).save(tmp_path / "LR_bicubic" / "X2" / "ax2.png")
    (pair,) = BenchmarkFolder(tmp_path, 2, degradation=Chain((BICUBIC, JPEG(30))))
    np.testing.assert_array_equal(pair.lr, JPEG(30)(lr, 1, rng()))
    (pair,) = BenchmarkFolder(tmp_path, 2, degradation=Chain((JPEG(30), BICUBIC)))
    np.testing.assert_array_equal(pair.lr, imresize(JPEG(30)(hr, 1, rng()), 1 / 2))


def test_luma_is_of_bicubic(tmp_path):
    Image.fromarray(image()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"Received: degradation=bicubic, JPEG"):
        BenchmarkFolder(tmp_path, 2, "y", degradation=Chain((BICUBIC, JPEG(30))))


def restoration_folder(folder, degradation, **kwargs):
    return BenchmarkFolder(folder, 1, degradation=degradation, **kwargs)


def test_an_image_gets_the_same_noise_in_any_folder_and_order(tmp_path):
    for folder, names in (("a", "pqr"), ("b", "rs")):
        (tmp_path / folder).mkdir()
        for name in names:
            pixels = image(seed=ord(name))
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    first = restoration_folder(tmp_path / "a", GaussianNoise(25))
    backwards = [first[i].lr for i in (2, 1, 0)][::-1]
    for pair, again in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(pair.lr, again)
        assert pair.lr.shape == pair.hr.shape
    noises = [pair.lr - pair.hr for pair in first]
    assert abs(np.corrcoef(noises[0].ravel(), noises[1].ravel())[0, 1]) < 0.05
    elsewhere = restoration_folder(tmp_path / "b", GaussianNoise(25))[0]
    np.testing.assert_array_equal(elsewhere.lr, first[2].lr)
    seeded = restoration_folder(tmp_path / "a", GaussianNoise(25), seed=1)
    assert np.abs(seeded[0].lr - first[0].lr).max() > 25


def test_gray_images_are_degraded_as_gray_for_networks_of_three_channels(tmp_path):
    Image.fromarray(image(channels=1).squeeze()).save(tmp_path / "a.png")
    for degradation, scale in (
        (GaussianNoise(25), 1),
        (JPEG(10), 1),
        (BICUBIC, 2),
        (Chain((BICUBIC, GaussianNoise(5, "uint8"), JPEG(60))), 2),
    ):
        kinds = {"degradation": degradation, "seed": 3}
        (gray,) = BenchmarkFolder(tmp_path, scale, 1, **kinds)
        (color,) = BenchmarkFolder(tmp_path, scale, 3, **kinds)
        np.testing.assert_array_equal(color.lr, np.repeat(gray.lr, 3, axis=-1))
        np.testing.assert_array_equal(color.hr, np.repeat(gray.hr, 3, axis=-1))


def test_restoration_uses_no_lr_files(tmp_path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "LR_bicubic" / "X1").mkdir(parents=True)
    Image.fromarray(image()).save(tmp_path / "HR" / "a.png")
    (pair,) = restoration_folder(tmp_path, JPEG(10))
    np.testing.assert_array_equal(pair.lr, JPEG(10)(image(), 1, rng()))


# The JPEG columns of Table 3 of the SCN paper, which are those of the literature.
@pytest.mark.parametrize(
    ("folder", "quality", "expected_psnr", "expected_ssim"),
    [
        ("LIVE1_gray", 10, 27.77, 0.7905),
        ("LIVE1_gray", 20, 30.07, 0.8683),
        ("LIVE1_gray", 30, 31.41, 0.9000),
        ("LIVE1_gray", 40, 32.35, 0.9173),
        ("classic5", 10, 27.82, 0.7800),
        ("classic5", 20, 30.12, 0.8541),
        ("classic5", 30, 31.48, 0.8844),
        ("classic5", 40, 32.43, 0.9011),
    ],
)
def test_jpeg_inputs_have_the_published_figures(
    shared, folder, quality, expected_psnr, expected_ssim
):
    pairs = restoration_folder(shared / "data/test" / folder, JPEG(quality), channels=1)
    figures = [(psnr(p.lr, p.hr), ssim_uniform(p.lr, p.hr)) for p in pairs]
    mean_psnr, mean_ssim = np.mean(figures, axis=0)
    assert mean_psnr == pytest.approx(expected_psnr, abs=0.01)
    assert mean_ssim == pytest.approx(expected_ssim, abs=5e-4)


@pytest.mark.parametrize("sigma", [15, 25, 50])
@pytest.mark.parametrize("folder", ["Set12", "BSD68"])
def test_noisy_inputs_lie_at_the_noise_floor(shared, folder, sigma):
    pairs = restoration_folder(
        shared / "data/test" / folder, GaussianNoise(sigma), channels=1
    )
    mean = np.mean([psnr(pair.lr, pair.hr) for pair in pairs])
    assert mean == pytest.approx(10 * np.log10(255**2 / sigma**2), abs=0.01)
