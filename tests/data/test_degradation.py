import numpy as np
import pytest
from PIL import Image

from tfsr.data import (
    JPEG,
    BenchmarkFolder,
    Bicubic,
    Chain,
    GaussianNoise,
    imresize,
)
from tfsr.data.degradation import (
    BICUBIC,
    DEGRADATIONS,
    after_bicubic,
    asked_or_own,
    check_scale,
    degraded_patch,
    from_table,
    in_8_bits,
    to_table,
)
from tfsr.metrics import psnr, ssim_uniform


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
    lr = in_8_bits(GaussianNoise(25))(hr, 1, rng())
    assert lr.dtype == np.uint8
    np.testing.assert_array_equal(lr, np.floor(np.clip(noisy, 0, 255) + 0.5))


def test_blind_noise_draws_a_sigma_for_each_image():
    hr = np.full((100, 100, 1), 128, np.uint8)
    noise = GaussianNoise([5, 50])
    sigmas = [np.std(noise(hr, 1, rng(seed)).astype(float)) for seed in range(60)]
    assert 4.5 < min(sigmas) < 12
    assert 43 < max(sigmas) < 52
    assert np.mean(sigmas) == pytest.approx(27.5, abs=5)


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
    for y, x in ((0, 0), (33, 17), (16, 32), (118 - 24, 131 - 24), (47, 1)):
        patch = degraded_patch(JPEG(quality), hr, y, x, 24, rng())
        np.testing.assert_array_equal(patch, whole[y : y + 24, x : x + 24])


def test_a_patch_of_noise_has_its_place():
    hr = image(seed=3)
    patch = degraded_patch(GaussianNoise(1e-3), hr, 11, 20, 24, rng())
    np.testing.assert_allclose(patch, hr[11:35, 20:44], atol=0.01)


EXAMPLES = [
    Bicubic(),
    GaussianNoise(25),
    GaussianNoise([0, 55], "uint8"),
    JPEG(10),
    JPEG([10, 40]),
    Chain((BICUBIC, GaussianNoise([0, 10]), JPEG([30, 95]))),
]


@pytest.mark.parametrize("degradation", EXAMPLES, ids=str)
def test_tables_go_both_ways(degradation):
    assert from_table(to_table(degradation)) == degradation


def test_tables_name_what_is_needed():
    assert to_table(GaussianNoise(15)) == {
        "name": "noise",
        "sigma": 15,
        "noise": "float",
    }
    assert to_table(JPEG([10, 40])) == {"name": "jpeg", "quality": [10, 40]}
    assert [str(d) for d in EXAMPLES] == [
        "bicubic",
        "noise of sigma 25 (float)",
        "noise of sigma 0 to 55 (uint8)",
        "JPEG of quality 10",
        "JPEG of quality 10 to 40",
        "bicubic, noise of sigma 0 to 10 (float), JPEG of quality 30 to 95",
    ]
    assert to_table(EXAMPLES[-1]) == [
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
        ([{"name": "jpeg", "sigma": 5}], '"jpeg"; allowed: quality'),
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
    ],
)
def test_wrong_tables(table, message):
    with pytest.raises(ValueError, match=message):
        from_table(table)


@pytest.mark.parametrize(
    ("degradation", "scale", "message"),
    [
        (Bicubic(), 1, "x1 needs the degradation noise or .*, not bicubic"),
        (JPEG(10), 2, "x2 needs the degradation bicubic, not jpeg"),
        (Chain((GaussianNoise(5), JPEG(10))), 2, "bicubic, not noise, jpeg"),
        (Chain((BICUBIC, JPEG(10))), 1, "noise or jpeg, not bicubic, jpeg"),
    ],
)
def test_a_scale_and_its_degradations(degradation, scale, message):
    with pytest.raises(ValueError, match=message):
        check_scale(degradation, scale)


def test_a_chain_does_one_after_another():
    hr, noise = image(72, 96), GaussianNoise(5)
    lr = Chain((BICUBIC, noise, JPEG(60)))(hr, 2, rng())
    noisy = in_8_bits(noise)(imresize(hr, 1 / 2), 2, rng())
    np.testing.assert_array_equal(lr, JPEG(60)(noisy, 2, rng()))
    before = Chain((JPEG(60), BICUBIC))(hr, 2, rng())
    np.testing.assert_array_equal(before, imresize(JPEG(60)(hr, 1, rng()), 1 / 2))


def test_a_chain_draws_anew():
    hr = image(72, 96)
    blind = Chain((BICUBIC, GaussianNoise([1, 10], "uint8"), JPEG([30, 95])))
    drawn = [blind(hr, 2, rng(seed)).tobytes() for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


STEPS = [
    (BICUBIC, JPEG(30)),
    (JPEG(30), BICUBIC),
    (JPEG(80), BICUBIC, JPEG(30)),
    (JPEG(80), JPEG(30)),
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
    assert photo.in_8_bits().steps[1].noise == "uint8"
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
