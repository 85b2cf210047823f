import re
import shlex

import pytest

from short_runs import EPOCHS, STEPS
from tfsr.errors import InputError
from tfsr.training import dry_run, fit, train


@pytest.mark.usefixtures("untraced")
def test_a_step_that_cannot_fit_is_not_begun(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr("tfsr.training.estimate.total_memory", lambda: 10**8)
    assert dry_run(make_config(), tmp_path / "run")["steps"] == EPOCHS * STEPS
    with pytest.raises(MemoryError, match=r"a step needs more than \d+ GiB"):
        dry_run(make_config(train__batch=10**8), tmp_path / "run")


@pytest.mark.usefixtures("untraced")
def test_a_dry_run_writes_nothing(make_config, photographs, tmp_path):
    cache = tmp_path / "cache"
    config = make_config(data__cache=cache)
    report = dry_run(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert (report["epochs"], report["steps"]) == (EPOCHS, EPOCHS * STEPS)
    assert report["images"] == 4
    assert report["estimated_seconds"] == pytest.approx(
        EPOCHS * (STEPS * report["step_seconds"] + report["validation_seconds"])
    )
    assert report["peak_memory_mb"] > 100
    train(config, tmp_path / "run")
    (pixels,) = cache.glob("*/pixels.bin")
    assert report["cache_bytes"] == pixels.stat().st_size
    longer = make_config(data__cache=cache, train__epochs=3)
    assert dry_run(longer, tmp_path / "run")["epochs"] == 1


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("epochs", "advised"),
    [(20, {"name": "cosine", "warmup": 6}), (3, {"name": "cosine"})],
)
def test_a_rate_that_rises_throughout(make_config, tmp_path, capsys, epochs, advised):
    def warnings(schedule, prepare=lambda config: fit.prepare(config, resumed=False)):
        config = make_config(train__schedule=schedule, train__epochs=epochs)
        prepare(config)
        found = re.findall("warning: .*", capsys.readouterr().err)
        return config.train.schedule, found

    steps = epochs * STEPS
    half = f'{{ name = "cosine", warmup = {steps // 2} }}'
    assert not warnings(half)[1]
    _, (warning,) = warnings(
        '{ name = "cosine", warmup = 200 }',
        lambda config: dry_run(config, tmp_path / "run"),
    )
    assert f"rises for 200 steps, and the training has {steps}, so" in warning
    advice = shlex.split(warning.partition("; set ")[2])[0].partition("=")[2]
    assert warnings(advice) == (advised, [])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data__train": '["nowhere"]'}, "nowhere: not a folder"),
        ({"data__val": "nowhere"}, "nowhere: not a folder"),
        ({"train__patch": 40}, r"no image is large enough .*40 at x2"),
        ({"model__scale": 5}, r"\[model\] .*scale=5"),
    ],
    ids=["train", "val", "patch", "model"],
)
def test_a_dry_run_finds_what_would_stop_a_training(
    make_config, tmp_path, overrides, message
):
    with pytest.raises(InputError, match=message):
        dry_run(make_config(**overrides), tmp_path / "run")
