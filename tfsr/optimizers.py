"""Optimizers by name: an entry of `OPTIMIZERS` is all that one needs.

Configs are checked by this table before Keras is loaded.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """A class of `keras.optimizers` by its name, and the arguments it is made with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


OPTIMIZERS = {
    "adam": Optimizer("Adam", {"epsilon": 1e-8}),
    "sgd": Optimizer("SGD", {"momentum": 0.9}),
}
