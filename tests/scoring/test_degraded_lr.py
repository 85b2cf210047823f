import pytest

from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import after_bicubic
from tfsr.scoring.degraded_lr import DEGRADED_LR, gains
from tfsr.scoring.evaluation import evaluate
from tfsr.upscaling.upscalers import BicubicUpscaler, SelfEnsemble


def test_gains_are_over_bicubic_of_the_same_lr(photographs):
    task = DEGRADED_LR["both, 5 and 60"]
    assert [step.name for step in after_bicubic(task).steps] == ["noise", "jpeg"]
    images = BenchmarkFolder(photographs, 2, degradation=task).first(1)
    bicubic = BicubicUpscaler(2)
    before, gained = gains({"same": bicubic, "all": SelfEnsemble(bicubic)}, images)
    assert before == evaluate(bicubic, images)["mean"]["psnr_y"]
    assert gained == {"same": 0, "all": pytest.approx(0, abs=0.05)}
