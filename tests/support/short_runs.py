"""The files of a training's run folder, and how long the tests' trainings are."""

import csv

from tfsr.training import read_config

EPOCHS, STEPS = 2, 3


def read_log(out):
    with open(out / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def last_weights(out):
    model = read_config(out / "config.toml").build()
    model.load_weights(out / "last.weights.h5")
    return model.get_weights()
