"""The catalogue: networks, released models and their figures."""

import json

from tfsr import networks
from tfsr.config import DataConfig, parse_config
from tfsr.zoo import released

INDEX = (
    "index.json"  # beside the models, made by tools/index_released.py from their cards
)


def models() -> dict:
    """Returns the report of `tfsr models`.

    Returns:
        `networks`: their names. `released`: for each file and each of its scales,
        `name`, `task` ("super-resolution", "jpeg" or "denoise"), `scale`, `params`,
        `mult_adds` for an output of 1280x720, `int8_latency_of_carn_m` (None for
        restoration), `psnr_y` of the file and `int8_loss_db` by set, and `size_bytes`.
    """
    found = []
    for entry in _entries():
        network, scale = entry["network"], entry["scale"]
        rounded = released.int8_name(network, scale)
        for file, psnr in ((network, "psnr_y"), (rounded, "int8_psnr_y")):
            same = ("task", "scale", "params", "mult_adds", "int8_latency_of_carn_m")
            found.append(
                {
                    "name": released.public(file),
                    **{key: entry[key] for key in same},
                    "psnr_y": entry[psnr],
                    "int8_loss_db": entry["int8_loss_db"],
                    "size_bytes": _size_bytes(file),
                }
            )
    return {"networks": networks.names(), "released": found}


def _size_bytes(name):
    files = [released.FOLDER / f"{name}{suffix}" for suffix in released.MODELS]
    return next(file.stat().st_size for file in files if file.is_file())


def restorers() -> dict[str, DataConfig]:
    """Returns the training data of the released restoration models by name."""
    names = [entry["network"] for entry in _entries() if entry["scale"] == 1]
    return {name: parse_config(released.FOLDER / f"{name}.toml").data for name in names}


def _entries():
    return json.loads((released.FOLDER / INDEX).read_text(encoding="utf-8"))["models"]
