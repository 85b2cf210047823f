"""Checks whether a training may start or resume in a run folder, and locks it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tfsr import files
from tfsr.config import Config, read_config
from tfsr.errors import InputError
from tfsr.training.checkpoints import completed_epochs

# Config keys that may change on resuming. Network and patches must not.
CHANGEABLE = {
    "train.epochs",
    "train.learning_rate",
    "train.schedule",
    "train.clip_norm",
    "train.clip_value",
    "train.weight_decay",
    "train.l2_penalty",
    "train.steps_per_execution",
    "train.strategy",
    "data.cache",
    "data.val",
}
LOCK = "run.lock"  # in the run folder, held while training


def check_free(out: Path, config: Config) -> list[str]:
    """Returns one-line descriptions of how `config` changes the run in `out`.

    The list is empty if there is no run yet.

    Args:
        out: The run folder.
        config: The experiment to start or resume.

    Raises:
        InputError: If `out` is not a run folder, or holds another experiment.
    """
    saved = out / "config.toml"
    if not saved.exists():
        free = not out.exists() or (
            out.is_dir() and {file.name for file in out.iterdir()} <= {LOCK}
        )
        if not free:
            raise InputError(
                f"{out}: exists and is not a run folder; give a new `out`."
            )
        return []
    before = read_config(saved)
    changed = before.differing(config)
    fixed = [key for key in changed if key not in CHANGEABLE]
    if fixed and completed_epochs(out):
        raise InputError(
            f"{out}: holds a run of another config, which differs in "
            f"{', '.join(fixed)}; give a new `out`, or the config in {saved}."
        )
    old, new = before.values(), config.values()
    return [f"{key} was {old.get(key)}, now {new.get(key)}" for key in changed]


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keeps other trainings from the run folder `out` inside the block.

    Raises:
        InputError: If another one is running there.
    """
    try:
        with files.locked(out / LOCK, wait=False):
            yield
    except BlockingIOError:
        raise InputError(f"{out}: another training is running there.") from None
