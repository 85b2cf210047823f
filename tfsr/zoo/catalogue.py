"""What is there to use: the networks, the released models and their figures."""

from tfsr.config import parse_config
from tfsr.data.degradation import Degradation
from tfsr.zoo import released


def restorers() -> dict[str, Degradation]:
    """Returns what the released models for restoration restore from, by their names."""
    configs = {
        file.stem: parse_config(file.with_suffix(".toml"))
        for file in sorted(released.FOLDER.glob("*.npz"))
    }
    return {
        name: config.data.task
        for name, config in configs.items()
        if config.model.get("scale") == 1
    }
