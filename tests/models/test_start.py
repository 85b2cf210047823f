"""The state of every network before its first step."""

import runpy
from pathlib import Path

import keras
import pytest

from tfsr.models import MODELS

tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "start.py"))

SMALLER = {"cmsc": {"stages": 2, "modules": 2}, "pmsc": {"modules": 4}}


def start(name, **arguments):
    keras.utils.set_random_seed(0)
    return tool["start_of"](MODELS[name](**arguments))


@pytest.mark.parametrize("name", MODELS)
def test_starts_alive_and_near_the_mean_colour(name):
    found = start(name, **SMALLER.get(name, {}))
    assert found.dead <= 0.1
    assert found.loss <= 2 * found.mean_loss
    assert all(deviation > 0 for _, deviation in found.maps)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("carn", {"initializer": "input_channels"}),
        ("carn_m", {"initializer": "input_channels"}),
        ("srresnet", {"conv": "ms3"}),
        ("ms3_carn", {"conv": "ms3"}),
        ("ms3_carn", {"conv": "ms3", "start": "mmsr"}),
        ("scn", {"levels": 1}),
    ],
)
def test_other_arguments_too(name, arguments):
    found = start(name, **arguments)
    assert found.dead <= 0.1
    assert found.loss <= 2 * found.mean_loss
