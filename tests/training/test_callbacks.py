from types import SimpleNamespace

from tfsr.training.callbacks import RunLog


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
