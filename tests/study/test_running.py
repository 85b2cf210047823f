import csv
import json
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr.cli import main
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError, NotFiniteError
from tfsr.graph import complexity
from tfsr.models import carn_m
from tfsr.scoring.evaluation import evaluate
from tfsr.study import latency, planning, results, running
from tfsr.tflite.benchmark import timing
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.training import callbacks, pack, read_config, train
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler

SIZE = (12, 16)
TRAIN = {"epochs": 1, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def configs(write_config, tmp_path_factory):
    """A folder of two configs; do not write into it."""
    folder = tmp_path_factory.mktemp("configs")
    for name, filters in (("narrow", 4), ("wide", 8)):
        model = {"filters": filters}
        write_config(folder / f"{name}.toml", model=model, train=TRAIN)
    return folder


def names(planned):
    return {
        f"{network.name}_{seed}"
        for network, runs in planned.finished()
        for seed in runs
    }


def draw_nothing(patch):
    """Leaves out the pictures, which take longer than the tiny trainings."""
    patch.setattr(results.pictures, "scatter", Mock())
    patch.setattr(results.pictures, "curves", Mock())
    patch.setattr(callbacks.RunLog, "_draw", Mock())


@pytest.fixture(scope="module")
def interrupted(configs, tmp_path_factory, leave_untraced):
    """The folder of a study killed in its fourth training."""
    out = tmp_path_factory.mktemp("studies") / "killed"
    trained = []

    def train_three(config, folder):
        if len(trained) == 3:
            folder.mkdir(parents=True)  # as a training killed at its start leaves it
            raise KeyboardInterrupt
        trained.append(folder.relative_to(out).as_posix())
        train(config, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "train", train_three)
        draw_nothing(patch)
        leave_untraced(patch)
        with pytest.raises(KeyboardInterrupt):
            running.run(planning.plan([configs], out, [0, 1], size=SIZE), latency=False)
    assert trained == ["narrow/seed_0", "wide/seed_0", "narrow/seed_1"]
    return out


@pytest.fixture(scope="module")
def finished(interrupted, configs, leave_untraced):
    """The same study, resumed to its end, and what `run` returned."""
    before = {
        file: file.stat().st_mtime_ns
        for file in interrupted.rglob("seed_*/*")
        if file.is_file()
    }
    assert len(before) > 20
    out = shutil.copytree(interrupted, interrupted.with_name("resumed"))
    planned = planning.plan([configs], out, [0, 1], size=SIZE)
    assert names(planned) == {"narrow_0", "narrow_1", "wide_0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "peak_memory_mb", Mock(return_value=None))
        draw_nothing(patch)
        leave_untraced(patch)
        report = running.run(planned)
    results.write(planned, report)
    for file, time in before.items():  # finished runs are left as they were
        assert (out / file.relative_to(interrupted)).stat().st_mtime_ns == time
    return planned, report


def test_an_interrupted_study_compares_what_is_there(interrupted):
    narrow, wide = json.loads((interrupted / "study.json").read_text())["networks"]
    assert (narrow["seeds"], wide["seeds"]) == ([0, 1], [0])
    (psnr,) = wide["psnr"].values()
    assert psnr["std"] is None
    assert psnr["mean"] == psnr["min"] == psnr["max"]
    assert "| wide | 0 |" in (interrupted / "study.md").read_text()


def test_a_finished_study_has_all_its_files(finished):
    planned, report = finished
    assert names(planned) == {"narrow_0", "narrow_1", "wide_0", "wide_1"}
    assert json.loads((planned.out / "study.json").read_text()) == json.loads(
        tfsr.files.to_json(report)
    )
    for name in ("mult_adds", "params", "latency_float32", "latency_int8"):
        with Image.open(planned.out / f"psnr_{name}.png") as picture:
            assert min(picture.size) > 300
    for name in ("curves", "gaps"):
        with Image.open(planned.out / f"{name}.png") as picture:
            assert min(picture.size) > 300
    with Image.open(planned.out / "crops.png") as picture:
        width, height = picture.size
    (test,) = planned.tests.values()
    columns, rows = 4, min(len(test), results.CROP_ROWS)  # HR, bicubic, two networks
    assert width / height == pytest.approx(columns * 2.6 / rows / 2.9, rel=0.05)
    assert report["seeds"] == [0, 1]
    assert report["steps"] == 2
    for network, filters in zip(report["networks"], (4, 8), strict=True):
        assert network["config"].endswith(f"{network['name']}.toml")
        model = carn_m(2, filters=filters, blocks=1, units=1, groups=2)
        assert network["params"] == complexity.params(model)
        assert network["mult_adds"] == complexity.mult_adds(model, *SIZE)


def test_gaps_are_to_the_first_network_of_the_seed(finished, monkeypatch):
    planned, report = finished
    curves = Mock()
    monkeypatch.setattr(results.pictures, "curves", curves)
    monkeypatch.setattr(results.pictures, "scatter", Mock())
    results.write(planned, report)
    *_, gaps = curves.call_args.args
    (steps, gap) = gaps["wide"][1]
    narrow, wide = (
        read_log(planned.out / name / "seed_1") for name in ("narrow", "wide")
    )
    assert list(gaps) == ["wide"]
    assert steps == [2]
    assert gap.tolist() == [
        w["val_psnr_x2"] - n["val_psnr_x2"] for n, w in zip(narrow, wide, strict=True)
    ]


def test_mean_and_spread_over_the_seeds(finished, photographs):
    planned, report = finished
    test = BenchmarkFolder(photographs, 2)
    for network in report["networks"]:
        values = [
            evaluate(
                KerasUpscaler(
                    tfsr.load_model(planned.out / network["name"] / f"seed_{s}"), 2
                ),
                test,
            )["mean"]["psnr_y"]
            for s in (0, 1)
        ]
        psnr = network["psnr"][photographs.name]
        assert list(psnr["by_seed"].values()) == pytest.approx(values)
        assert values[0] != values[1]
        assert psnr["mean"] == pytest.approx(np.mean(values))
        assert psnr["std"] == pytest.approx(np.std(values, ddof=1))
        assert (psnr["min"], psnr["max"]) == pytest.approx((min(values), max(values)))


def test_the_tables_say_what_the_json_says(finished):
    planned, report = finished
    with open(planned.out / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    text = (planned.out / "study.md").read_text()
    (test,) = report["tests"]
    for row, network in zip(rows, report["networks"], strict=True):
        psnr, int8 = network["psnr"][test], network["latency"]["int8"]
        assert row["config"] == network["config"]
        assert int(row["mult_adds"]) == network["mult_adds"]
        assert float(row["int8_ratio"]) == int8["ratio"]
        assert float(row[f"{test}_psnr_std"]) == psnr["std"]
        (line,) = [s for s in text.splitlines() if s.startswith(f"| {network['name']}")]
        assert f"| 0 1 | {network['params'] / 1000:.0f} K |" in line
        assert f"{int8['median_ms']:.1f} ({int8['ratio']:.2f})" in line
        assert f"{psnr['mean']:.3f} ± {psnr['std']:.3f}" in line


def test_latency_is_timed_once_in_one_run(finished, monkeypatch):
    planned, report = finished
    measured = json.loads((planned.out / "latency.json").read_text())
    assert [result["format"] for result in measured["results"]] == [
        "float32",
        "int8",
    ] * 2
    assert {result["size"] for result in measured["results"]} == {"12x16"}
    times = [result["median_ms"] for result in measured["results"]]
    narrow, wide = (network["latency"] for network in report["networks"])
    assert narrow["float32"] == {"median_ms": times[0], "ratio": 1}
    assert wide["float32"]["ratio"] == times[2] / times[0]
    assert wide["int8"]["ratio"] == times[3] / times[1]

    again = Mock(side_effect=AssertionError("timed again"))
    monkeypatch.setattr(latency, "benchmark", again)
    monkeypatch.setattr(latency, "convert", Mock())
    assert running.time_networks(planned)["median_ms"]["int8"]["wide"] == times[3]
    sources = [network.file for network in planned.networks]
    other_size = planning.plan(sources, planned.out, [0], size=(9, 9))
    other_weights = planning.plan(sources, planned.out, [1], size=planned.size)
    for other in (other_size, other_weights):
        assert running.time_networks(other, measure=False) is None
        with pytest.raises(AssertionError, match="timed again"):
            running.time_networks(other)


@pytest.mark.usefixtures("untraced")
def test_networks_of_luma_are_timed_in_colour(write_config, tmp_path, monkeypatch):
    config = write_config(
        tmp_path / "vdsr.toml",
        model={"name": "vdsr", "scale": 2, "filters": 2, "layers": 2},
        data={"channels": "y"},
        train=TRAIN,
    )
    monkeypatch.setattr(timing, "peak_memory_mb", Mock(return_value=None))
    draw_nothing(monkeypatch)
    report = running.run(planning.plan([config], tmp_path / "study", [0], size=SIZE))
    assert report["networks"][0]["latency"].keys() == {"float32", "int8"}
    upscaler = TFLiteUpscaler(tmp_path / "study/tflite/vdsr_int8.tflite")
    assert upscaler.channels == 3
    assert "patches of 8x8 HR pixels" in (tmp_path / "study/study.md").read_text()


@pytest.mark.usefixtures("untraced")
def test_a_packed_file_has_all_the_images(configs, tmp_path, monkeypatch):
    file = tmp_path / "photographs.pack"
    pack(read_config(configs / "narrow.toml"), file, 1)
    gone = ['data.train=["nowhere"]', "data.val=nowhere"]
    packed = [f"data.pack={file}", f"data.cache={tmp_path / 'cache'}"]
    monkeypatch.setattr(timing, "peak_memory_mb", Mock(return_value=None))
    draw_nothing(monkeypatch)
    source, out = configs / "narrow.toml", tmp_path / "study"
    # As on a machine that has too little for a study.
    train(read_config(source, [*gone, *packed]), out / "narrow" / "seed_0")
    monkeypatch.setattr(running, "train", Mock(side_effect=AssertionError("again")))
    planned = planning.plan([source], out, [0], [*gone, *packed], size=SIZE)
    report = running.run(planned)
    (network,) = report["networks"]
    assert network["psnr"]["val"]["mean"] > 0
    assert network["latency"].keys() == {"float32", "int8"}
    assert report["settings"]["data.pack"] == str(file)


@pytest.mark.usefixtures("untraced")
def test_a_run_equals_the_same_training_alone(finished, configs, tmp_path):
    planned, _ = finished
    train(read_config(configs / "wide.toml", ["train.seed=1"]), tmp_path / "alone")
    ours = read_log(planned.out / "wide" / "seed_1")
    for a, b in zip(ours, read_log(tmp_path / "alone"), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_other_test_folders_need_no_training(finished, photographs, tmp_path):
    planned, _ = finished
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(photographs / "coffee.png", other)
    sources = [network.file for network in planned.networks]
    again = planning.plan(sources, planned.out, [0, 1], tests=[other, photographs])
    report = results.report(again)
    assert list(report["networks"][0]["psnr"]) == ["other", photographs.name]
    scored = planned.out / "wide" / "seed_1" / "other_x2.json"
    by_seed = report["networks"][1]["psnr"]["other"]["by_seed"]
    assert json.loads(scored.read_text())["mean"]["psnr_y"] == by_seed[1]
    shutil.copy(photographs / "rocket.png", other / "coffee.png")
    changed = results.report(planning.plan(sources, planned.out, [0, 1], tests=[other]))
    assert changed["networks"][1]["psnr"]["other"]["by_seed"][1] != by_seed[1]
    assert report["size"] == (360, 640)  # for an output of 1280x720
    assert report["networks"][0]["mult_adds"] == complexity.mult_adds(
        carn_m(2, filters=4, blocks=1, units=1, groups=2), 360, 640
    )


def test_a_diverging_run_is_named(configs, tmp_path, monkeypatch):
    error = NotFiniteError("the loss is nan at step 2")
    monkeypatch.setattr(running, "train", Mock(side_effect=error))
    with pytest.raises(NotFiniteError, match=r"narrow/seed_0: the loss is nan"):
        running.run(planning.plan([configs], tmp_path, [0]))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"train": {"batch": 3}}, r"b\.toml: train\.batch is 3 where .*a\.toml has 2;"),
        ({"train": {"patch": 9}}, r"b\.toml: train\.patch is 9 where"),
        ({"train": {"epochs": 3}}, r"b\.toml: train\.epochs is 3 where"),
        ({"data": {"train": ["more"]}}, r"b\.toml: data\.train is \['more'\] where"),
        ({"model": {"scale": [2, 3]}}, r"b\.toml: model\.scale is \(2, 3\) where"),
        ({"model": {"units": 0}}, r"b\.toml: \[model\] .*units=0"),
        ({"quantize": {"target": "float"}}, r"b\.toml: has \[quantize\]; see"),
    ],
)
def test_configs_that_cannot_be_compared(write_config, tmp_path, tables, message):
    write_config(tmp_path / "a.toml")
    write_config(tmp_path / "b.toml", **tables)
    with pytest.raises(InputError, match=message):
        planning.plan([tmp_path], tmp_path / "out", [0], scale=2)
    assert not (tmp_path / "out").exists()


def test_an_option_that_one_config_alone_has_counts(write_config, tmp_path):
    jpeg = {"name": "jpeg", "quality": 10}
    for name, degradation in {"a": jpeg, "b": {**jpeg, "subsampling": "4:4:4"}}.items():
        model = {"name": "scn", "scale": 1, "filters": 4, "blocks": 1}
        data = {"degradation": degradation}
        write_config(tmp_path / f"{name}.toml", model=model, data=data)
    for first, second in ("ab", "ba"):
        files = [tmp_path / f"{name}.toml" for name in (first, second)]
        with pytest.raises(InputError, match=r"subsampling .*left out") as error:
            planning.plan(files, tmp_path / "out", [0])
        assert str(error.value).startswith(str(files[1]))


def test_the_first_config_named_comes_first(configs, tmp_path):
    planned = planning.plan([configs / "wide.toml", configs], tmp_path / "out", [0])
    assert [network.name for network in planned.networks] == ["wide", "narrow"]


def test_configs_may_differ_in_network_seed_and_cache(write_config, configs, tmp_path):
    train = {**TRAIN, "seed": 5}
    other = write_config(tmp_path / "b.toml", model={"units": 2}, train=train)
    planned = planning.plan([configs, other], tmp_path, [3])
    assert [network.name for network in planned.networks] == ["narrow", "wide", "b"]
    assert {network.config.train.seed for network in planned.networks} == {3}


@pytest.mark.parametrize("override", ["train.epochs=3", "train.learning_rate=1e-3"])
def test_a_study_begun_otherwise_is_refused(interrupted, configs, override):
    key = override.partition("=")[0]
    message = rf"narrow\.toml: differs in {key} from the run in .*seed_0; give a new"
    with pytest.raises(InputError, match=message):
        planning.plan([configs], interrupted, [0], [override])


def test_what_else_is_refused(configs, photographs, tmp_path):
    with pytest.raises(InputError, match=r"no config in it; expected \.toml"):
        planning.plan([tmp_path], tmp_path / "out", [0])
    other = tmp_path / "wide.toml"
    other.write_text((configs / "wide.toml").read_text())
    with pytest.raises(InputError, match=r"wide\.toml: has the name of .*wide\.toml"):
        planning.plan([configs, other], tmp_path / "out", [0])
    with pytest.raises(InputError, match="another test folder is named"):
        planning.plan([configs], tmp_path, [0], tests=[photographs, photographs])
    with pytest.raises(InputError, match="nowhere: not a folder"):
        planning.plan([configs], tmp_path, [0], tests=["nowhere"])
    with pytest.raises(InputError, match=r"narrow\.toml: has x2; not x3"):
        planning.plan([configs], tmp_path, [0], scale=3)


def test_the_command_prints_only_json(finished, configs, capsys, monkeypatch):
    planned, report = finished
    draw_nothing(monkeypatch)
    arguments = ["study", str(configs), "--out", str(planned.out), "--seeds", "0,1"]
    assert main([*arguments, "--size", "12x16", "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == json.loads(tfsr.files.to_json(report))
