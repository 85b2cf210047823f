from types import SimpleNamespace

import pytest

from tfsr.errors import InputError
from tfsr.training.callbacks import RunLog, TimeLimit


def test_the_curve_shows_the_stages_of_a_cascade(tmp_path, figures):
    log = RunLog(tmp_path, 0, "bicubic", {"x2": 30.0, "x3": 27.0})
    log.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    expected = {"x2 bicubic": [30, 30], "x3 bicubic": [27, 27]}
    for epoch in range(2):
        logs = {"loss": 1.0, "val_psnr": 30.0}
        for i, scale in enumerate(("x2", "x3")):
            for j, stage in enumerate(("", "_stage_1", "_stage_2")):
                level = logs[f"val_psnr_{scale}{stage}"] = 30.0 - 3 * i - j + epoch
                label = f"{scale}{stage}".replace("_", " ")
                expected.setdefault(label, []).append(level)
        log.on_epoch_end(epoch, logs)
    drawn = {line.get_label(): line.get_ydata() for line in figures[-1].axes[1].lines}
    assert {label: list(levels) for label, levels in drawn.items()} == expected


HEADER = "epoch,loss,val_psnr,val_psnr_x2"


def log_of(folder, *rows, header=HEADER):
    (folder / "log.csv").write_text("\n".join([header, *rows]))
    return RunLog(folder, 3, "bicubic", {"x2": 30.0})


def test_later_rows_of_a_killed_run_are_dropped(tmp_path):
    log = log_of(tmp_path, "1,3,30,30", "2,2,33,33", "3,1,31,31", "4,1,34,34")
    assert [row["epoch"] for row in log.rows] == [1, 2, 3]
    assert log.best()["epoch"] == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has 0 of the 3 completed epochs"),
        (["1,3,30,30", "2,2,31,31"], "has 2 of the 3 completed epochs"),
        (["1,3,30,30", "3,2,31,31", "4,1,31,31"], "epochs must be 1, 2, 3"),
        (["1,3,30,30", "1,3,30,30", "2,2,31,31"], "epochs must be 1, 2, 3"),
        (["1,3,30,30", "2,2,31", "3,1,31,31"], "damaged"),
        (["1,3,30,30", "2,2,31,31,5", "3,1,31,31"], "damaged"),
        (["1,3,30,30", "2,x,31,31", "3,1,31,31"], "damaged .*'x'"),
        (["1,3,30,30", "inf,2,31,31", "3,1,31,31"], "damaged"),
        (["1,3,30,30", "2,nan,31,31", "3,1,31,31"], "damaged; a value is not a number"),
    ],
)
def test_a_log_without_every_completed_epoch_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=rf"log\.csv: .*{message}") as caught:
        log_of(tmp_path, *rows)
    assert "\n" not in str(caught.value)


def test_a_log_that_is_missing_or_lacks_a_column_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"log\.csv: missing"):
        RunLog(tmp_path, 3, "bicubic", {"x2": 30.0})
    rows = ("1,3,30", "2,2,31", "3,1,31")
    with pytest.raises(InputError, match=r"log\.csv: has no column val_psnr_x2"):
        log_of(tmp_path, *rows, header="epoch,loss,val_psnr")


def test_epochs_end_in_time(monkeypatch, capsys):
    clock = iter([0, 0, 100, 100, 180, 180, 240])  # seconds: made, then epochs
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stop = TimeLimit(minutes=5)
    stop.set_params({"epochs": 9})
    stop.set_model(SimpleNamespace(stop_training=False))
    for epoch in range(3):
        assert not stop.model.stop_training
        stop.on_epoch_begin(epoch)
        stop.on_epoch_end(epoch)
    assert stop.model.stop_training  # at 240 s, as an epoch may last 100
    assert capsys.readouterr().err == (
        "time is up after epoch 3 of 9, each of up to 2 min; "
        "the same command resumes it.\n"
    )
