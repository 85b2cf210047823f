"""Denoising and JPEG artifact removal through every command."""

import json

import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr import metrics
from tfsr.data import JPEG, BenchmarkFolder, Chain, GaussianNoise, read_image
from tfsr.data.degradation_type import BICUBIC
from tfsr.data.degradations import DEGRADATIONS
from tfsr.models import carn_m
from tfsr.tflite import metadata
from tfsr.upscaling.jobs import LUMA
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    SelfEnsemble,
    from_uint8,
    to_uint8,
)
from tfsr.zoo.loading import load_degradation

NOISE = {"degradation": "noise", "sigma": 25}
BLIND_NOISE = {"degradation": "noise", "sigma": [5, 50], "noise": "uint8"}
JPEG_10 = {"degradation": "jpeg", "quality": 10}
BLIND_JPEG = {"degradation": "jpeg", "quality": [10, 40]}


@pytest.mark.parametrize(
    ("task", "degradation"),
    [
        (NOISE, GaussianNoise(25)),
        (BLIND_NOISE, GaussianNoise([5, 50], "uint8")),
        (JPEG_10, JPEG(10)),
        (BLIND_JPEG, JPEG([10, 40])),
    ],
)
def test_a_run_folder_tells_its_task(make_restorer, tmp_path, task, degradation):
    out = make_restorer(1, task)
    assert load_degradation(out) == degradation
    assert load_degradation(out / "model.keras") == degradation
    elsewhere = tmp_path / "elsewhere.keras"
    (out / "model.keras").rename(elsewhere)
    assert load_degradation(elsewhere) is None


def test_evaluate_scores_a_run_on_its_own_task(report, make_restorer, photographs):
    out = make_restorer(1, NOISE)
    scored = report("evaluate", out, photographs, "--seed", 3)
    assert scored["degradation"] == {
        "name": "noise",
        "sigma": 25,
        "noise": "float",
        "seed": 3,
    }
    assert scored["scale"] == 1
    assert scored["protocol"]["name"] == "gray"
    assert scored["protocol"]["border"] == 0
    assert set(scored["mean"]) == {"psnr", "ssim"}
    upscaler = KerasUpscaler(tfsr.load_model(out), 1)
    pairs = BenchmarkFolder(photographs, 1, 1, degradation=GaussianNoise(25), seed=3)
    for pair, image in zip(pairs, scored["images"], strict=True):
        sr = to_uint8(upscaler(from_uint8(pair.lr)))
        assert image["psnr"] == pytest.approx(metrics.psnr(sr, pair.hr))


def test_evaluate_takes_another_task(report, make_restorer, photographs):
    out = make_restorer(3, NOISE)
    scored = report("evaluate", out, photographs, "--jpeg", 30)
    assert scored["degradation"] == {"name": "jpeg", "quality": 30, "seed": 0}
    assert scored["protocol"]["name"] == "color"
    keys = {f"{n}_{c}" for n in ("psnr", "ssim", "ssim_uniform") for c in ("y", "rgb")}
    assert set(scored["mean"]) == keys
    pair = BenchmarkFolder(photographs, 1, 3, degradation=JPEG(30))[0]
    sr = to_uint8(KerasUpscaler(tfsr.load_model(out), 1)(from_uint8(pair.lr)))
    y = metrics.luma(sr), metrics.luma(pair.hr)
    first = scored["images"][0]
    assert first["ssim_uniform_y"] == pytest.approx(metrics.ssim_uniform(*y))
    assert first["ssim_rgb"] == pytest.approx(metrics.ssim(sr, pair.hr))


def test_lr_is_degraded_after_it_is_made(report, photographs):
    scored = report(
        *("evaluate", "bicubic", photographs, "--scale", 2),
        *("--noise", 5, "--jpeg", 60, "--seed", 3),
    )
    assert scored["degradation"] == [
        {"name": "bicubic"},
        {"name": "noise", "sigma": 5, "noise": "uint8", "seed": 3},
        {"name": "jpeg", "quality": 60, "seed": 3},
    ]
    keys = {f"{n}_{c}" for n in ("psnr", "ssim") for c in ("y", "rgb")}
    assert set(scored["mean"]) == keys
    task = Chain((BICUBIC, GaussianNoise(5, "uint8"), JPEG(60)))
    pair = BenchmarkFolder(photographs, 2, degradation=task, seed=3)[0]
    sr = to_uint8(BicubicUpscaler(2)(from_uint8(pair.lr)))
    expected = metrics.psnr(sr, pair.hr, 2)
    assert scored["images"][0]["psnr_rgb"] == pytest.approx(expected)


@pytest.mark.usefixtures("untraced")
def test_a_network_for_photographs_as_they_are(
    run, report, write_config, photographs, tmp_path
):
    steps = [
        {"name": "bicubic"},
        {"name": "noise", "sigma": [0, 6]},
        {"name": "jpeg", "quality": [30, 95]},
    ]
    tmp_path.joinpath("from").mkdir()
    config = write_config(tmp_path / "from" / "x.toml", data={"degradation": steps})
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    trained = report("train", config, "--out", whole)
    assert run("train", config, "--out", resumed, "--set", "train.epochs=1")[0] == 0
    again = report("train", config, "--out", resumed)
    assert again["val_psnr_y"] == pytest.approx(trained["val_psnr_y"], abs=1e-4)
    scored = report("evaluate", whole, photographs)
    level = trained["val_psnr_y"]["x2"]
    assert scored["mean"]["psnr_y"] == pytest.approx(level, abs=1e-3)
    assert [step["name"] for step in scored["degradation"]] == [
        *("bicubic", "noise", "jpeg")
    ]
    files = ("--jpeg", 60, "--metrics", "psnr")
    scored = report("evaluate", whole, photographs, *files)
    before = report("evaluate", "bicubic", photographs, "--scale", 2, *files)
    assert scored["gain"].pop("over") == "bicubic"
    assert scored["gain"] == pytest.approx(
        {key: scored["mean"][key] - before["mean"][key] for key in scored["mean"]}
    )
    assert "gain" not in before
    clean = report("evaluate", whole, photographs, "--bicubic")
    assert clean["degradation"] == {"name": "bicubic"}
    ours = tfsr.evaluate(whole, photographs, degradation=BICUBIC)
    assert ours["mean"] == clean["mean"] != scored["mean"]
    file = tmp_path / "x2.tflite"
    verified = report(
        *("convert", whole, "--format", "float32", "-o", file),
        *("--verify", photographs),
    )
    task = [steps[0], {**steps[1], "noise": "uint8"}, steps[2]]
    assert verified["degradation"] == task == metadata.read(file)["degradation"]
    code, text, _ = run("evaluate", file, photographs)
    assert code == 0
    assert "over bicubic" in text.splitlines()[-1]
    assert "x2 from bicubic, noise of sigma 0 to 6 (uint8), JPEG of quality" in text


def test_the_input_is_scored_as_it_is(report, photographs):
    noise = ("evaluate", "input", photographs, "--noise", 50)
    floor = 10 * np.log10(255**2 / 50**2)
    scored = report(*noise)
    assert scored["mean"]["psnr_rgb"] == pytest.approx(floor, abs=0.1)
    assert scored["protocol"]["sr"] == "the input as it is"
    clipped = report(*noise, "--uint8")
    assert clipped["degradation"]["noise"] == "uint8"
    assert clipped["mean"]["psnr_rgb"] > floor + 0.3
    gray = report(*noise, "--protocol", "gray")
    assert gray["mean"]["psnr"] == pytest.approx(floor, abs=0.1)


def test_self_ensemble_averages_a_restorer(report, make_restorer, photographs):
    out = make_restorer(1, JPEG_10)
    scored = report("evaluate", out, photographs, "--self-ensemble")
    upscaler = KerasUpscaler(tfsr.load_model(out), 1)
    pair = BenchmarkFolder(photographs, 1, 1, degradation=JPEG(10))[0]
    height, width, _ = pair.lr.shape
    even = ((0, height % 2), (0, width % 2), (0, 0))
    lr = np.pad(from_uint8(pair.lr), even, "edge")
    turned = [
        np.rot90(upscaler(np.rot90(x, k).copy()), -k)[:, ::flip]
        for flip in (1, -1)
        for x in [lr[:, ::flip]]
        for k in range(4)
    ]
    expected = np.mean(turned, axis=0)[:height, :width]
    lr = from_uint8(pair.lr)
    np.testing.assert_allclose(SelfEnsemble(upscaler)(lr), expected, atol=1e-6)
    psnr = metrics.psnr(to_uint8(expected), pair.hr)
    assert scored["images"][0]["psnr"] == pytest.approx(psnr, abs=1e-3)
    assert psnr != pytest.approx(metrics.psnr(to_uint8(upscaler(lr)), pair.hr))


def test_the_picture_shows_the_worst_and_the_median(
    report, monkeypatch, make_restorer, photographs, tmp_path
):
    rows = []
    monkeypatch.setattr(
        "tfsr.scoring.evaluation.side_by_side",
        lambda file, drawn, inches: rows.extend(drawn),
    )
    out = make_restorer(1, NOISE)
    picture = tmp_path / "examples.png"
    scored = report("evaluate", out, photographs, "--picture", picture)
    ranking = sorted(scored["images"], key=lambda image: image["psnr"])
    pairs = BenchmarkFolder(photographs, 1, 1, degradation=GaussianNoise(25))
    by_name = {pair.name: pair for pair in pairs}
    for which, image, whole, crop in (
        ("worst", ranking[0], *rows[:2]),
        ("median", ranking[2], *rows[2:]),
    ):
        pair = by_name[image["name"]]
        titles = list(whole)
        assert list(crop) == ["input", "output", "HR"]
        error = np.square(whole[titles[1]].astype(float) - whole[titles[2]])
        of_crop = np.square(crop["output"].astype(float) - crop["HR"])
        assert of_crop.mean() > error.mean()
        assert titles[0] == f"input, {metrics.psnr(pair.lr, pair.hr):.2f} dB"
        assert titles[1] == f"output, {image['psnr']:.2f} dB"
        assert titles[2] == f"HR: {image['name']} ({which})"
        np.testing.assert_array_equal(whole[titles[2]], pair.hr)
        assert all(c.shape[0] == c.shape[1] for c in crop.values())


def test_convert_and_verify_on_8_bit_inputs(
    run, report, make_restorer, photographs, tmp_path, monkeypatch
):
    # Of an untrained network saturated values are not asked for.
    monkeypatch.setattr("tfsr.cli.verification.MAX_FLAT_FIELD_ERROR", 255)
    out, file = make_restorer(1, NOISE), tmp_path / "m.tflite"
    folders = ("--calibrate", photographs, "--verify", photographs)
    size = ("--size", "24x32")
    convert = ("convert", out, "--format", "int8", *size, *folders, "-o", file)
    verified = report(*convert)
    task = {"name": "noise", "sigma": 25, "noise": "uint8"}
    assert verified["degradation"] == task
    assert metadata.read(file)["degradation"] == task
    assert verified["psnr_between"] > 38  # ranges hold saturated values too
    again = report("verify", file, "--against", out, "--images", photographs)
    assert again["psnr_quantized"] == pytest.approx(verified["psnr_quantized"])
    for model, figure, options in (
        (file, "psnr_quantized", ()),
        (file, "psnr_quantized", ("--noise", 25)),  # all that 8 bits can see
        (out, "psnr_float", ("--uint8",)),
    ):
        scored = report("evaluate", model, photographs, *options)
        assert scored["degradation"]["noise"] == "uint8"
        assert scored["mean"]["psnr"] == pytest.approx(verified[figure])
    code, text, _ = run("inspect", file)
    assert text.startswith(f"file: {file}\n")
    assert code == 0
    assert "degradation: noise of sigma 25 (uint8)" in text
    timed = report("benchmark", file, "--runs", 2)
    assert timed["results"][0]["size"] == "24x32"


@pytest.mark.parametrize(
    ("size", "count"), [("24x32", 4), ("64x80", 3), ("dynamic", 0)]
)
def test_verify_says_what_tiles_and_padding_lose(
    run, make_restorer, photographs, tmp_path, size, count
):
    out, file = make_restorer(1, JPEG_10), tmp_path / "m.tflite"
    note = (
        f"tfsr: {file}: {count} of 4 images were padded to {size} or run in tiles that "
        "overlap by less than the receptive field; the loss includes that."
    )
    convert = ("convert", out, "--format", "float32", "--size", size, "-o", file)
    for command in (
        (*convert, "--verify", photographs),
        ("verify", file, "--against", out, "--images", photographs),
    ):
        said = run(*command)[2].splitlines()
        assert [line for line in said if "padded" in line] == [note] * (count > 0)


def test_convert_of_a_bare_file_is_told_the_task(
    run, report, make_restorer, photographs, tmp_path
):
    bare = tmp_path / "bare.keras"
    (make_restorer(3, JPEG_10) / "model.keras").rename(bare)
    file = tmp_path / "m.tflite"
    convert = ("convert", bare, "--format", "float32", "--verify", photographs)
    code, _, err = run(*convert, "-o", file)
    asked = [kind.option for kind in DEGRADATIONS.values() if kind.option]
    flags = " or ".join(f"{option.flag} {option.metavar}" for option in asked)
    assert (code, err) == (
        2,
        f"tfsr: {bare}: does not say what it restores; give a degradation ({flags}), "
        "or its run folder.\n",
    )
    verified = report(*convert, "--jpeg", 20, "-o", file)
    assert verified["degradation"] == {"name": "jpeg", "quality": 20}
    assert verified["psnr_between"] == "inf"


@pytest.fixture
def photo(tmp_path, photographs):
    """A photograph with transparency."""
    color = read_image(photographs / "coffee.png")[:29, :35]
    alpha = np.full((*color.shape[:2], 1), 200, np.uint8)
    file = tmp_path / "photo.png"
    Image.fromarray(np.dstack([color, alpha])).save(file)
    return file


@pytest.mark.parametrize(
    "options",
    [("--tile", "auto"), ("--tile", 24), ("--tile", 24, "--self-ensemble")],
    ids=str,
)
@pytest.mark.parametrize(("channels", "task"), [(3, NOISE), (1, NOISE), (1, JPEG_10)])
def test_restore_a_photo(run, make_restorer, photo, tmp_path, channels, task, options):
    out, target = make_restorer(channels, task), tmp_path / "restored.png"
    arguments = ("restore", photo, "-o", target, "--model", out, *options)
    target.write_bytes(b"")
    code, _, err = run(*arguments)
    assert (code, err) == (2, f"tfsr: {target}: exists; --overwrite replaces it.\n")
    assert run(*arguments, "--overwrite") == (0, "", f"tfsr: {target}: written.\n")
    upscaler = KerasUpscaler(tfsr.load_model(out), 1)
    if "--self-ensemble" in options:
        upscaler = SelfEnsemble(upscaler)
    with Image.open(photo) as before, Image.open(target) as after:
        rgb = np.asarray(before.convert("RGB")) / np.float32(255)
        result = np.asarray(after)
    np.testing.assert_array_equal(result[..., 3], 200)
    if channels == 3:
        expected = upscaler(rgb)
    elif task == NOISE:
        expected = np.dstack([upscaler(rgb[..., c : c + 1]) for c in range(3)])
    else:  # the luma is restored, and the chroma stays
        y = rgb @ LUMA[:, None]
        expected = rgb + (np.clip(upscaler(y), 0, 1) - y)
        np.testing.assert_allclose(
            (expected - expected @ LUMA[:, None]), rgb - y, atol=1e-5
        )
    expected = np.clip(expected, 0, 1) * 255
    assert np.abs(result[..., :3] - expected).max() <= 0.51


def test_restore_a_folder_by_tflite(run, report, make_restorer, photographs, tmp_path):
    out, file = make_restorer(1, JPEG_10), tmp_path / "m.tflite"
    report("convert", out, "--format", "float32", "-o", file)
    by_keras, by_tflite = tmp_path / "keras", tmp_path / "tflite"
    for target, model in ((by_keras, out), (by_tflite, file)):
        arguments = ("restore", photographs, "-o", target, "--model", model)
        assert run(*arguments)[0] == 0
    names = sorted(p.name for p in photographs.iterdir())
    assert sorted(p.name for p in by_tflite.iterdir()) == names
    for name in names:
        ours = read_image(by_tflite / name).astype(int)
        assert np.abs(ours - read_image(by_keras / name)).max() <= 1


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory):
    file = tmp_path_factory.mktemp("enlarger") / "x2.keras"
    carn_m(2, filters=8, blocks=1, units=1).save(file)
    return file


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluate", "input", "{images}"), "input: does not say what it restores"),
        (("evaluate", "input", "{images}", "--noise", "0"), "'0' is not above 0"),
        (("evaluate", "input", "{images}", "--noise", "x"), "'x' is not above 0"),
        (("evaluate", "input", "{images}", "--noise", "inf"), "'inf' is not above 0"),
        (("evaluate", "input", "{images}", "--jpeg", "0"), "'0' is not from 1 to 100"),
        (("evaluate", "input", "{images}", "--jpeg", "101"), "is not from 1 to 100"),
        (
            ("evaluate", "input", "{images}", "--jpeg", "10", "--scale", "2"),
            "input: has x1, not x2",
        ),
        (
            ("evaluate", "input", "{images}", "--jpeg", "10", "--seed", "-1"),
            "--seed",
        ),
        (("evaluate", "{run}", "nowhere"), "nowhere: not a folder"),
        (("evaluate", "{run}", "{images}", "--scale", "2"), "has x1; not x2"),
        (
            ("evaluate", "{run}", "{images}", "--protocol", "color"),
            "--protocol color: {run} is scored by gray",
        ),
        (
            ("evaluate", "{run}", "{images}", "--bicubic"),
            "restores, so it is not scored on bicubic",
        ),
        (("evaluate", "bicubic", "{images}", "--scale", "1"), "2 or more"),
        (
            ("evaluate", "bicubic", "{images}", "--scale", "2", "--seed", "5"),
            "bicubic: enlarges clean LR; --uint8 and --seed",
        ),
        (
            ("upscale", "{images}", "-o", "o", "--model", "{run}"),
            "{run}: restores photos in their size; see tfsr restore",
        ),
        (
            ("restore", "{images}", "-o", "o", "--model", "bicubic"),
            "bicubic: restores nothing",
        ),
        (("restore", "nowhere", "-o", "o", "--model", "{run}"), "nowhere: no such"),
        (
            ("restore", "{images}", "-o", "o", "--model", "{enlarger}"),
            "{enlarger}: has x2; it enlarges; see tfsr upscale",
        ),
        (
            ("evaluate", "{run}", "{images}", "--jpeg", "10", "--uint8"),
            "--uint8 is for noise",
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    run,
    monkeypatch,
    tmp_path,
    make_restorer,
    enlarger,
    photographs,
    arguments,
    expected,
):
    names = {
        "images": photographs,
        "run": make_restorer(1, NOISE),
        "enlarger": enlarger,
    }
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(a.format(**names) for a in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected.format(**names) in err
    assert not (tmp_path / "o").exists()


def train(run, folder, out, *overrides):
    sets = [part for override in overrides for part in ("--set", override)]
    return run("train", folder / "config.toml", "--out", out, "--json", *sets)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("task", "channels"), [(NOISE, 1), (BLIND_JPEG, 3)])
def test_a_training_resumes_with_the_same_images(
    run, report, make_restorer, photographs, tmp_path, task, channels
):
    folder = make_restorer(channels, task)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    code, out, _ = train(run, folder, whole)
    assert code == 0
    assert train(run, folder, resumed, "train.epochs=1")[0] == 0
    code, again, err = train(run, folder, resumed)
    assert code == 0
    assert "resuming after epoch 1 of 2" in err
    ours, theirs = json.loads(again), json.loads(out)
    assert ours["best_epoch"] == theirs["best_epoch"]
    for a, b in zip(
        tfsr.load_model(resumed).get_weights(),
        tfsr.load_model(whole).get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    scored = report("evaluate", whole, photographs)
    key = "psnr" if channels == 1 else "psnr_y"
    level = theirs[f"val_{key}"]["x1"]
    assert level == pytest.approx(scored["mean"][key], abs=1e-3)
    if task == NOISE:
        floor = 10 * np.log10(255**2 / 25**2)
        assert theirs["val_psnr_input"]["x1"] == pytest.approx(floor, abs=0.1)
    levels = [key for key in theirs if key.startswith("val_")]
    assert levels == [f"val_{key}", f"val_{key}_input"]
    other = "data.quality=11" if task == BLIND_JPEG else "data.sigma=11"
    code, _, err = train(run, folder, resumed, other)
    assert (code, err.count("\n")) == (2, 1)
    assert f"differs in {other.partition('=')[0]}" in err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.degradation=bicubic"], "[data] sigma is not for"),
        (["data.degradation=fog"], f"one of {', '.join(DEGRADATIONS)}, not 'fog'"),
        (
            ["model.scale=2"],
            "x2 needs the degradation bicubic or resize, not noise",
        ),
        (["data.sigma=0"], "Received: sigma=0."),
        (["data.exclude=['coffee', 'tea']"], "no image is named tea; see `exclude`"),
    ],
)
def test_a_wrong_task_is_one_line(run, make_restorer, tmp_path, overrides, message):
    folder = make_restorer(1, NOISE)
    for extra in ((), ("--dry-run",)):
        sets = [part for o in overrides for part in ("--set", o)]
        config = folder / "config.toml"
        code, _, err = run("train", config, "--out", tmp_path / "out", *sets, *extra)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


def test_a_dry_run_of_restoration(report, make_restorer, tmp_path):
    config = make_restorer(1, NOISE) / "config.toml"
    exclude = ("--set", "data.exclude=['coffee']")
    arguments = ("train", config, "--out", tmp_path / "out", "--dry-run", *exclude)
    estimate = report(*arguments)
    assert (estimate["images"], estimate["steps"]) == (3, 4)
    summary = report("summary", config, "--size", "10x20")
    assert summary["input"] == summary["output"] == [10, 20, 1]


def test_a_study_of_restoration(report, make_restorer, tmp_path):
    folder = make_restorer(1, NOISE)
    configs = tmp_path / "configs"
    configs.mkdir()
    text = (folder / "config.toml").read_text().replace("epochs = 2", "epochs = 1")
    (configs / "a.toml").write_text(text)
    (configs / "b.toml").write_text(text.replace("filters = 4", "filters = 6"))
    out = tmp_path / "study"
    studied = report("study", configs, "--out", out, "--no-latency")
    assert studied["degradation"]["sigma"] == 25
    assert "x1, noise of sigma 25 (float), 2 steps" in (out / "study.md").read_text()
    assert (out / "crops.png").exists()
    (first,) = [n for n in studied["networks"] if n["name"] == "a"]
    scored = report("evaluate", out / "a" / "seed_0", studied["tests"]["photographs0"])
    assert first["psnr"]["photographs0"]["mean"] == pytest.approx(
        scored["mean"]["psnr"], abs=1e-3
    )
