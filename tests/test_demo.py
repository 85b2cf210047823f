import importlib
import json

import pytest

demo = importlib.import_module("tfsr.demo")


@pytest.mark.usefixtures("no_memory_measured", "untraced")
def test_demo_leaves_models_pictures_and_tables(tmp_path, capsys, monkeypatch):
    smaller = demo.CONFIG.replace("filters = 32", "filters = 8\nunits = 1")
    monkeypatch.setattr(demo, "CONFIG", smaller)
    report = demo.run_demo(tmp_path, epochs=2, steps_per_epoch=2)
    for name in (
        "carn_m_x2_float32.tflite",
        "carn_m_x2_int8.tflite",
        "comparison.png",
        "results.md",
        "run/curve.png",
        "run/model.keras",
    ):
        assert (tmp_path / name).stat().st_size > 0
    assert (
        json.loads((tmp_path / "results.json").read_text())["int8"]["loss_db"]
        == (report["int8"]["loss_db"])
    )
    table = (tmp_path / "results.md").read_text()
    ours = report["scores"]["CARN-M"]["mean"]["psnr_y"]
    assert f"{ours:.2f} dB" in table
    assert "Next" in capsys.readouterr().out
