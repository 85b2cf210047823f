"""Learning rate schedules: an entry of `SCHEDULES` is all that one needs.

Configs are checked by this table before Keras is loaded; `build` imports it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """The allowed values of a schedule's parameter, in words and as a check."""

    words: str
    allows: Callable[[Any], bool]


STEPS = Parameter("a number of steps", lambda n: type(n) is int and n > 0)
FACTOR = Parameter("between 0 and 1", lambda x: type(x) is float and 0 < x < 1)


@dataclass(frozen=True)
class Schedule:
    """One kind of schedule.

    Attributes:
        build: Function of the `[train]` options that returns Keras' schedule. Keras
            counts batches, of which a step has `accumulate`.
        needed: Its required parameters by key.
        possible: Its optional parameters by key.
    """

    build: Callable[[Any], Any]
    needed: dict[str, Parameter] = field(default_factory=dict)
    possible: dict[str, Parameter] = field(default_factory=dict)


def _constant(options):
    """Returns a constant rate, as a schedule.

    A plain number would be saved with the optimizer's state and override the config on
    resuming.
    """
    return _cosine_to(1.0, options)


def _cosine(options):
    return _cosine_to(0.0, options)


def _cosine_to(share, options):
    """Returns a cosine decay to a share of the rate, after any warmup."""
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
    """Returns a rate that is halved every `every` steps, counted from step `after`."""
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
    """Returns a rate that is multiplied by `factor` every `every` steps."""
    from keras.optimizers import schedules

    return schedules.ExponentialDecay(
        options.learning_rate,
        options.schedule["every"] * options.accumulate,
        decay_rate=factor or options.schedule["factor"],
        staircase=True,
    )


SCHEDULES = {
    "constant": Schedule(_constant, possible={"warmup": STEPS}),
    "cosine": Schedule(_cosine, possible={"warmup": STEPS}),
    "halve": Schedule(_halve, needed={"every": STEPS}, possible={"after": STEPS}),
    "step": Schedule(_step, needed={"every": STEPS, "factor": FACTOR}),
}


def check(schedule: dict) -> None:
    """Raises a `ValueError` unless `schedule` is the table of one of `SCHEDULES`."""
    kind = SCHEDULES.get(str(schedule.get("name")))
    parameters = {**kind.needed, **kind.possible} if kind else {}
    keys = {*schedule} - {"name"}
    if not (kind and {*kind.needed} <= keys <= {*parameters}):
        allowed = " or ".join(
            f'{{ name = "{name}"'
            + "".join(f", {key} = ..." for key in kind.needed)
            + "".join(f"[, {key} = ...]" for key in kind.possible)
            + " }"
            for name, kind in SCHEDULES.items()
        )
        raise ValueError(f"schedule must be {allowed}, not {schedule}.")
    for key in keys:
        if not parameters[key].allows(schedule[key]):
            raise ValueError(
                f"schedule: {key} must be {parameters[key].words}, "
                f"not {schedule[key]!r}."
            )
