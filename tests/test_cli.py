import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr.cli import main, summary
from tfsr.data import imresize, read_image
from tfsr.errors import NotFiniteError
from tfsr.models import carn_m
from tfsr.tflite import metadata


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    file = tmp_path_factory.mktemp("original") / "model.keras"
    carn_m(scale=(2, 4), filters=8, blocks=1, units=1).save(file)
    return file


@pytest.fixture
def model(original, tmp_path):
    return str(shutil.copy(original, tmp_path))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    return str(folder)


@pytest.fixture
def config(write_config, tmp_path):
    one_step = {"epochs": 1, "steps_per_epoch": 1}
    return write_config(tmp_path / "tiny.toml", train=one_step)


def test_summary_counts_as_the_paper(run):
    code, out, _ = run("summary", "carn_m", "--json")
    assert code == 0
    x2, x3, x4 = json.loads(out)["scales"]
    assert [round(r["mult_adds"] / 1e9, 1) for r in (x2, x3, x4)] == [91.2, 46.1, 32.5]
    assert x2["input"] == [360, 640, 3]
    assert isinstance(x2["input"][0], int)
    assert x3["input"] == pytest.approx([240, 1280 / 3, 3])
    report = json.loads(out)
    assert report["params"] > x4["params_of_scale"]
    for key in ("mult_adds", "input", "output"):
        assert report[key] == x4[key]
    code, out, _ = run("summary", "carn_m", "--scale", "4", "--size", "10x20", "--json")
    report = json.loads(out)
    assert report["output"] == [40, 80, 3]
    assert report["mult_adds"] == x4["mult_adds"] * 10 * 20 // (180 * 320)
    _, out, _ = run("summary", "carn_m", "--scale", "4", "--size", "5x10")
    expected = report["mult_adds"] / 4e6
    assert f" {expected:.2f} M mult-adds for 40x20 output" in out


def test_summary_of_a_name_with_other_arguments(run):
    sets = ["--set", "model.scale=2", "--set", "model.filters=32"]
    code, out, _ = run("summary", "carn", *sets)
    assert code == 0
    assert out.count("\n") == 1
    assert "with all scales" not in out
    _, several, _ = run("summary", "carn", "--set", "model.filters=32")
    assert several.count("with all scales") == 3


@pytest.mark.parametrize("gray", [True, False])
def test_bicubic_scores_the_channels_that_images_have(run, images, gray):
    file = Path(images, "noise.png")
    with Image.open(file) as image:
        image.convert("L").save(file)
    if not gray:
        Image.new("RGB", (30, 30)).save(file.with_name("black.png"))
    arguments = ["evaluate", "bicubic", images, "--scale", "2", "--json"]
    code, out, _ = run(*arguments)
    keys = {"psnr", "ssim"} if gray else {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    assert code == 0
    assert set(json.loads(out)["mean"]) == keys


def test_evaluate_writes_json(run, tmp_path, model, images):
    file = tmp_path / "report.json"
    code, out, _ = run("evaluate", model, images, "--scale", "2", "--json", str(file))
    report = json.loads(file.read_text())
    assert code == 0
    assert report["scale"] == 2
    assert report["images"][0]["name"] == "noise"
    assert f"{report['mean']['psnr_y']:.4f}" in out


def test_evaluate_rescaled_images(run, tmp_path, images):
    def evaluate(folder, *options):
        arguments = ["evaluate", "bicubic", str(folder), "--scale", "2", "--json"]
        code, out, _ = run(*arguments, *options)
        assert code == 0
        return json.loads(out)

    report = evaluate(images, "--rescale", "0.6")
    assert report["protocol"]["rescale"] == 0.6

    # By hand: the folder of rescaled images, scored as usual.
    (tmp_path / "rescaled").mkdir()
    pixels = imresize(read_image(Path(images, "noise.png")), 0.6)
    Image.fromarray(pixels).save(tmp_path / "rescaled" / "noise.png")
    by_hand = evaluate(tmp_path / "rescaled")
    assert by_hand["protocol"]["rescale"] == 1
    assert report["mean"] == by_hand["mean"]


@pytest.mark.parametrize(
    ("degradation", "expected"),
    [(None, "degradation: unknown"), ([5], "degradation must be a table, not 5")],
)
def test_inspect_says_what_it_knows_of_the_degradation(
    run, tmp_path, degradation, expected
):
    released = Path(tfsr.__file__).parent / "released/sesr_m_x2_int8.tflite"
    facts = {**metadata.read(released), "degradation": degradation}
    file = tmp_path / "model.tflite"
    file.write_bytes(metadata.with_metadata(released.read_bytes(), facts))
    code, out, err = run("inspect", file)
    assert code == (2 if isinstance(degradation, list) else 0)
    assert expected in out + err


def test_json_without_a_file_prints_only_json(run, images):
    code, out, _ = run("evaluate", "bicubic", images, "--scale", "2", "--json")
    assert code == 0
    assert json.loads(out)["model"] == "bicubic"


@pytest.mark.usefixtures("untraced")
def test_train_prints_only_json(run, config, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", config, "--out", out, "--json"]
    for epochs in ("1", "2"):  # the second one says that it resumes
        code, stdout, stderr = run(*arguments, "--set", f"train.epochs={epochs}")
        assert code == 0
        assert json.loads(stdout) == json.loads((out / "metrics.json").read_text())
        assert "val_psnr" in stderr
    assert "train.epochs was 1, now 2" in stderr


@pytest.mark.usefixtures("untraced")
def test_a_dry_run_prints_an_estimate(run, config, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", config, "--out", out, "--dry-run"]
    code, stdout, _ = run(*arguments)
    assert code == 0
    assert re.search(r"1 steps of [\d.]+ s in 1 epochs, .* about \d+ s\n$", stdout)
    code, stdout, _ = run(*arguments, "--json")
    assert (code, json.loads(stdout)["steps"]) == (0, 1)
    assert not out.exists()
    code, _, stderr = run(*arguments, "--set", "train.patch=99")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "take larger images or a smaller `patch`" in stderr


def test_convert_verify_benchmark(run, tmp_path, model, images):
    file = str(tmp_path / "m.tflite")
    convert = ["convert", model, "--scale", "2", "--format", "int8", "-o", file]
    folders = ["--calibrate", images, "--verify", images]
    code, out, _ = run(*convert, *folders, "--json")
    assert code == 0
    report = json.loads(out)
    assert len(report["channel_bias"]) == 3
    verify = ["verify", file, "--against", model, "--images", images]
    code, out, _ = run(*verify, "--json")
    assert code == 0
    assert json.loads(out)["loss_db"] == pytest.approx(report["loss_db"])
    code, _, err = run(*verify, "--max-loss", "-10")
    assert code == 1
    assert err.startswith(f"tfsr: {file}: the loss of ")
    gray = verify[3] = str(tmp_path / "gray.keras")
    carn_m(scale=2, channels=1, filters=8, blocks=1).save(gray)
    code, _, err = run(*verify)
    assert (code, err) == (2, f"tfsr: {gray}: has 1 channels, {file} 3.\n")
    verify[3] = file
    code, out, _ = run(*verify, "--json")
    assert code == 0
    assert json.loads(out)["psnr_between"] == "inf"
    code, out, _ = run("benchmark", file, "--runs", "2", "--size", "8x8", "--json")
    assert code == 0
    assert json.loads(out)["results"][0]["size"] == "8x8"


def test_a_shifted_colour_is_1_and_the_file_kept(run, tmp_path, images):
    file = tmp_path / "m.tflite"
    keras.utils.set_random_seed(0)
    model = carn_m(scale=2, filters=8, blocks=1)
    model.save(other := tmp_path / "other.keras")
    kernel, bias = model.get_layer("tail").get_weights()
    model.get_layer("tail").set_weights([kernel, bias - 2 / 255])
    model.save(tmp_path / "m.keras")
    options = ("--scale", 2, "--calibrate", images, "-o", file)
    assert run("convert", tmp_path / "m.keras", "--format", "float32", *options)[0] == 0
    code, _, err = run("verify", file, "--against", other, "--images", images)
    assert code == 1
    assert "a colour channel is shifted by -2.00 of 255, above 0.5.\n" in err
    command = ("convert", other, "--format", "float32", *options, "--max-loss", -10)
    code, _, err = run(*command)
    assert (code, file.exists()) == (1, True)
    assert err.endswith(f"{file}: kept.\n")


def test_a_saturated_colour_that_comes_out_another_is_1(run, tmp_path, images):
    def save(file, levels):
        """Saves an enlarger that adds red where green is pure, and there alone."""
        lr = keras.Input((None, None, 3))
        pure = keras.layers.Conv2D(1, 1, activation="relu")
        red = keras.layers.Conv2D(3, 1, name="red")
        x = keras.layers.Add()([lr, red(pure(lr))])
        x = keras.layers.UpSampling2D(2)(x)
        kernel = np.array([-1, 1, -1]).reshape(1, 1, 3, 1)
        pure.set_weights([kernel, np.array([-0.8])])
        kernel = np.array([levels / 255 / 0.2, 0, 0]).reshape(1, 1, 1, 3)
        red.set_weights([kernel, np.zeros(3)])
        keras.Model(lr, x).save(file)
        return file

    file = tmp_path / "m.tflite"
    model, other = save(tmp_path / "m.keras", 53), save(tmp_path / "other.keras", 0)
    command = ("convert", model, "--format", "float32", "--verify", images, "-o", file)
    assert run(*command)[0] == 0
    verify = ("verify", file, "--against", other, "--images", images, "--json")
    code, out, err = run(*verify)
    assert code == 1
    errors = json.loads(out)["flat_field_error"]
    assert errors.pop("green") == 53
    assert len(errors) == 7
    assert set(errors.values()) == {0}
    assert err.endswith("a field of pure green is 53 of 255 levels off, above 4.\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["frobnicate"], "frobnicate"),
        (["summary", "nope.toml"], "nope.toml"),
        (["summary", "carn_m", "--scale", "5"], "not x5"),
        (["summary", "carn", "--set", "train.epochs=5"], "must be model.key=value"),
        (["summary", "carn", "--set", "model.filter=5"], "has no key 'filter'"),
        (["evaluate", "missing.keras", "{images}"], "missing.keras"),
        (["evaluate", "{model}", "{images}"], "has x2, x4; choose one by --scale"),
        (["evaluate", "{model}", "{images}", "--scale", "3"], "has x2, x4; not x3"),
        (["evaluate", "bicubic", "{images}"], "needs a --scale of 2"),
        (["evaluate", "bicubic", "nowhere", "--scale", "2"], "nowhere"),
        (["evaluate", "bicubic", "{images}", "--rescale", "2"], "'2' is not above 0"),
        (["evaluate", "bicubic", "{images}", "--rescale", "x"], "'x' is not above 0"),
        (["import-carn", "nope.pth", "-o", "m.keras"], "nope.pth"),
        (["import-carn", "nope.pth", "-o", "m.h5"], "m.h5"),
        (["convert", "{model}", "--format", "int8", "-o", "m.bin"], "m.bin"),
        (["convert", "{model}", "--format", "int4", "-o", "m.tflite"], "int4"),
        (["study", "nope.toml", "--out", "s"], "nope.toml"),
        (["study", "images", "--out", "s"], "images: no config in it"),
        (["study", "a", "--out", "s", "--seeds", "0,0"], "'0,0' is not a list of"),
        (["study", "a", "--out", "s", "--seeds", "-1"], "--seeds"),
        (["study", "a", "--out", "s", "--set", "train.seed=1"], "given by --seeds"),
        (
            ["verify", "m.tflite", "--against", "m", "--images", "i", "--picture", "p"],
            "'p' does not end in .png",
        ),
        (
            ["convert", "m", "--format", "int8", "-o", "o", "--size", "8x8,8x9,8x8"],
            "'8x8,8x9,8x8' has a size twice",
        ),
        (["benchmark", "nope.tflite", "-o", "{model}"], "is a file; name a folder"),
        (["benchmark", "nope.tflite"], "nope.tflite"),
        (["benchmark", "nope.tflite", "--warmup", "0"], "nope.tflite: no such file"),
        (["benchmark", "{model}"], "not a TFLite model"),
        (["benchmark", "x.tflite", "--size", "8"], "HEIGHTxWIDTH"),
        (["train", "nope.toml", "--out", "run"], "nope.toml"),
        (["train", "nope.toml", "--out", "model.keras/run"], "there is no folder"),
        (["summary", "carn_m", "--json", "no/a.json"], "no/a.json: there is no folder"),
        (["summary", "carn_m", "--json", "images"], "images: is a folder"),
        (["import-carn", "nope.pth", "-o", "no/m.keras"], "no/m.keras: there is no"),
        (
            ["convert", "{model}", "--format", "int8", "-o", "no/m.tflite"],
            "no/m.tflite: there is no folder",
        ),
        (
            ["evaluate", "bicubic", "{images}", "--scale", "2", "--json", "no/a.json"],
            "no/a.json: there is no folder",
        ),
        (
            ["upscale", "{images}", "-o", "model.keras/x", "--model", "{model}"],
            "model.keras/x: there is no folder",
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    run, tmp_path, monkeypatch, model, images, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    filled = [a.format(model=model, images=images) for a in arguments]
    code, out, err = run(*filled)
    assert code == 2
    assert out == ""
    assert expected in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NotFiniteError("the loss is nan"), 1, "tfsr: the loss is nan\n"),
        (OSError(errno.ENOSPC, "No space left"), 2, "tfsr: No space left.\n"),
        (OSError(errno.EIO, "Bad disk", "a.png"), 2, "tfsr: a.png: Bad disk.\n"),
        (MemoryError(), 2, "tfsr: out of memory.\n"),
        (KeyboardInterrupt(), 130, "tfsr: interrupted.\n"),
    ],
)
def test_what_is_no_bug_is_one_line(run, monkeypatch, error, code, message):
    monkeypatch.setattr(summary, "run", Mock(side_effect=error))
    assert run("summary", "carn_m") == (code, "", message)


@pytest.mark.parametrize(
    "error", [OSError("a bug"), OSError(errno.EBADF, "a bug"), ValueError("a bug")]
)
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr(summary, "run", Mock(side_effect=error))
    with pytest.raises(type(error), match="a bug"):
        main(["summary", "carn_m"])


def test_a_reader_who_has_enough_is_no_mistake():
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from tfsr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "models"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert result.returncode == 0
    assert b"BrokenPipe" not in result.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from tfsr.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train missing.toml --out run", "missing.toml: cannot be read"),
        ("train tiny.toml --out run", "nowhere: not a folder of images"),
        (
            "train tiny.toml --out run --set model.name=edsr",
            "[model] name is 'edsr'; allowed: carn, carn_m,",
        ),
        ("study missing.toml --out study", "missing.toml: cannot be read"),
        ("summary edsr", "edsr: no such config or model; networks: carn, carn_m,"),
        ("upscale missing.png", "missing.png: no such file or folder"),
        ("upscale tiny.toml --scale 7", "x2, x3, x4, not for x7; give a --model"),
        ("restore missing.png", "missing.png: no such file or folder"),
        ("evaluate missing.keras .", "missing.keras: no such model; give a run"),
        ("evaluate carn_m nowhere --scale 2", "nowhere: not a folder of images"),
        ("convert missing.keras --format int8 -o m.tflite", "missing.keras: no such"),
        ("import-carn missing.pth -o m.keras", "missing.pth: no such file"),
    ],
)
def test_mistakes_are_told_before_keras_is_loaded(
    write_config, tmp_path, arguments, expected
):
    write_config(tmp_path / "tiny.toml", data={"train": ["nowhere"]})
    code = (
        "import sys; from tfsr.cli import main\n"
        f"print(main({arguments.split()}), 'keras' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == "2 False\n"
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_log_of_a_training_has_no_bar(run, config, tmp_path):
    code, out, err = run("train", config, "--out", str(tmp_path / "run"))
    assert code == 0
    assert "1/1 - " in err
    assert "\r" not in out + err
    assert "\b" not in out + err


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tfsr up", "upscale"),
        ("tfsr evaluate --prot", "--protocol"),
        ("tfsr evaluate --jp", "--jpeg"),  # from a table
        ("tfsr upscale pho", "photo.png"),
        ("tfsr upscale --model pho", "photo.png"),
    ],
)
def test_the_shell_completes(run, tmp_path, typed, expected):
    code, script, _ = run("--print-completion", "bash")
    assert code == 0
    Path(tmp_path, "photo.png").touch()
    *before, word = typed.split()
    complete = f"""
        COMP_WORDS=({typed}); COMP_CWORD={len(before)}; COMPREPLY=()
        $(complete -p tfsr | grep -o "_[a-z_]*") tfsr {word} {before[-1]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script + complete],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{expected}\n"


def test_quiet_says_only_results_and_mistakes(run, images, tmp_path):
    model = ["--model", "bicubic", "--scale", "2", "--quiet"]
    out = tmp_path / "large"
    assert run("upscale", images, "-o", str(out), *model) == (0, "", "")
    Path(images, "broken.png").write_text("no image")
    code, _, err = run("upscale", images, "-o", str(out), *model)
    assert code == 1
    assert "broken.png" in err
    code, out, err = run("--quiet", "upscale", "nope.png", *model[:-1])
    assert (code, err) == (2, "tfsr: nope.png: no such file or folder.\n")


def test_configs_by_name(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("summary", "carn/carn_m", "--scale", "4")
    assert code == 0, err
    assert out.startswith("carn_m x4: ")
    code, _, err = run("train", "carn/carn_m", "--out", "run")
    assert code == 2
    assert "not a folder of images" in err


def test_hidden_files_are_ignored_and_other_kinds_said(run, images):
    for name in ("._noise.png", ".DS_Store", "a.jp2", "b.jp2", "note.txt"):
        Path(images, name).write_bytes(b"\0\5\x16\7")
    arguments = ("evaluate", "bicubic", images, "--scale", 2)
    code, out, err = run(*arguments, "--json")
    assert code == 0
    assert [image["name"] for image in json.loads(out)["images"]] == ["noise"]
    assert err == f"tfsr: {images}: left out, of kinds not read here: 2 .jp2.\n"
