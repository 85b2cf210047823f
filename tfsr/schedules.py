"""How the learning rate changes: an entry of `SCHEDULES` is all that a kind needs.

Configs are checked by the table before Keras is loaded; `build` imports it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """One kind of schedule.

    Attributes:
        build: Returns the schedule as Keras has it, given the options of `[train]`.
            Keras counts batches, of which a step has `accumulate`.
        needed: Keys that it needs beside its name.
        possible: Keys that it may have.
    """

    build: Callable[[Any], Any]
    needed: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()


def _constant(options):
    """Returns a schedule even of a constant rate.

    A plain number would be saved with the optimizer's state and override the config on
    resuming.
    """
    return _cosine_to(1.0, options)


def _cosine(options):
    return _cosine_to(0.0, options)


def _cosine_to(share, options):
    """Returns half a cosine that ends at a share of the rate, after any warmup."""
    from keras.optimizers import schedules

    warmup = options.schedule.get("warmup", 0) * options.accumulate
    total = options.steps * options.accumulate
    rate = options.learning_rate
    return schedules.CosineDecay(
        0.0 if warmup else rate,
        max(1, total - warmup),
        alpha=share,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def _halve(options):
    """Returns a rate that is halved every so many steps, from `after` on if given."""
    from keras.optimizers import schedules

    if "after" not in options.schedule:
        return _step(options, 0.5)
    every, after = options.schedule["every"], options.schedule["after"]
    halvings = range(after + every, options.steps, every)
    return schedules.PiecewiseConstantDecay(
        [step * options.accumulate - 1 for step in halvings],  # the last batch before
        [options.learning_rate / 2**i for i in range(len(halvings) + 1)],
    )


def _step(options, factor=None):
    """Returns a rate that is multiplied by `factor` every so many steps."""
    from keras.optimizers import schedules

    return schedules.ExponentialDecay(
        options.learning_rate,
        options.schedule["every"] * options.accumulate,
        decay_rate=factor or options.schedule["factor"],
        staircase=True,
    )


SCHEDULES = {
    "constant": Schedule(_constant, possible=("warmup",)),
    "cosine": Schedule(_cosine, possible=("warmup",)),
    "halve": Schedule(_halve, needed=("every",), possible=("after",)),
    "step": Schedule(_step, needed=("every", "factor")),
}
