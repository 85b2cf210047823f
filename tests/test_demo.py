import functools
import importlib
import json

import pytest

demo = importlib.import_module("tfsr.demo")


@pytest.mark.usefixtures("no_memory_measured", "untraced")
def test_demo_leaves_models_pictures_and_tables(tmp_path, run, monkeypatch):
    smaller = demo.CONFIG.replace("filters = 32", "filters = 8\nunits = 1")
    monkeypatch.setattr(demo, "CONFIG", smaller)
    short = functools.partial(demo.run_demo, epochs=2, steps_per_epoch=2)
    monkeypatch.setattr(demo, "run_demo", short)
    code, out, err = run("demo", "-o", tmp_path)
    assert code == 0, err
    for name in (
        "carn_m_x2_float32.tflite",
        "carn_m_x2_int8.tflite",
        "comparison.png",
        "results.md",
        "run/curve.png",
        "run/model.keras",
    ):
        assert (tmp_path / name).stat().st_size > 0
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["int8"]["loss_db"] < 1
    table = (tmp_path / "results.md").read_text()
    ours = report["scores"]["CARN-M"]["mean"]["psnr_y"]
    assert f"{ours:.2f} dB" in table
    assert out.startswith(table)
    assert "Next" in out
    for progress in ("Training", "Epoch 2/2", "Scoring", "Converting"):
        assert progress in err
        assert progress not in out
