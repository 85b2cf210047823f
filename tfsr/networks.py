"""The networks by name: an entry of `NETWORKS`, its builder, is all that one needs.

Names are checked by this table before Keras is loaded; `tfsr.MODELS` has the builders.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsr.errors import InputError, naming_memory
from tfsr.quiet import import_keras
from tfsr.toml import in_words, set_value

if TYPE_CHECKING:
    import keras

NETWORKS = {
    "carn": "tfsr.models.carn:carn",
    "carn_m": "tfsr.models.carn:carn_m",
    "cmsc": "tfsr.models.cmsc:cmsc",
    "ffdnet": "tfsr.models.ffdnet:ffdnet",
    "ms3_carn": "tfsr.models.ms3_carn:ms3_carn",
    "pmsc": "tfsr.models.cmsc:pmsc",
    "scn": "tfsr.models.scn:scn",
    "scn_pspnet": "tfsr.models.scn:scn_pspnet",
    "scn_unet": "tfsr.models.scn:scn_unet",
    "sesr": "tfsr.models.sesr:sesr",
    "srresnet": "tfsr.models.srresnet:srresnet",
    "vdsr": "tfsr.models.vdsr:vdsr",
}
MOST = 4096  # limit on filters, blocks and other counts of a network


class Builders(dict[str, Callable[..., Any]]):
    """Builders by network name; the error for an unknown name lists the names."""

    def __missing__(self, name: object) -> Callable[..., Any]:
        raise KeyError(f"{name!r} is no network; there are {', '.join(self)}")


def names() -> list[str]:
    """Returns the names of the networks without loading Keras."""
    models = sys.modules.get("tfsr.models")  # where users may have added to MODELS
    return list(models.MODELS if models else NETWORKS)


def model_table(name: str, overrides: Sequence[str] = ()) -> dict:
    """Returns the `[model]` table of a builder's defaults, with overrides.

    Args:
        name: A key of `tfsr.models.MODELS`.
        overrides: `model.key=value` each, as for `read_config`.

    Raises:
        InputError: On an unknown key or another section.
    """
    tables = {"model": {"name": name}}
    for override in overrides:
        set_value(tables, override)
        if len(tables) > 1:
            raise InputError(
                f"override {override}: must be model.key=value without a config."
            )
    return check_arguments(check_name(tables["model"], name), name)


def check_name(table: dict, source: str | Path) -> dict:
    """Returns a `[model]` table, whose name must be a network's or a `.keras` file.

    Raises:
        InputError: If it is neither; names `source`, as all here do.
    """
    name, known = table.get("name"), names()
    of_file = isinstance(name, str) and name.endswith(".keras")
    if not isinstance(name, str) or (name not in known and not of_file):
        raise InputError(
            f"{source}: [model] name is {name!r}; allowed: {', '.join(known)}, or a "
            ".keras file."
        )
    return table


def check_arguments(table: dict, source: str | Path) -> dict:
    """Returns a `[model]` table, whose keys its builder must take; loads Keras.

    Raises:
        InputError: On an unknown key, or a value that is not true or false where the
            builder wants one.
    """
    name = table["name"]
    allowed: Mapping[str, inspect.Parameter] = {}
    if not name.endswith(".keras"):
        import_keras()
        from tfsr.models import MODELS

        allowed = inspect.signature(MODELS[name]).parameters
    for key, value in table.items():
        if key == "name":
            continue
        if key not in allowed:
            raise InputError(
                f"{source}: [model] has no key {key!r}; "
                f"allowed for {name}: {', '.join(allowed) or 'none'}."
            )
        if isinstance(allowed[key].default, bool) and not isinstance(value, bool):
            raise InputError(
                f"{source}: [model] {key} must be {in_words(bool)}, not {value!r}."
            )
    return table


def build_model(model: dict, source: str | Path) -> "keras.Model":
    """Returns the Keras model of a `[model]` table, or of the `.keras` file it names.

    Raises:
        InputError: If the builder rejects an argument; names `source`.
    """
    from tfsr.models import MODELS

    if model["name"].endswith(".keras"):
        from tfsr.zoo.keras_models import read_keras

        return read_keras(model["name"])
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in model.items()
        if key != "name"
    }
    try:
        _check_counts(arguments)
        with naming_memory():
            return MODELS[model["name"]](**arguments)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{source}: [model] {error}") from None
    except MemoryError:
        raise InputError(
            f"{source}: [model] asks for more memory than there is; make it smaller."
        ) from None


def _check_counts(arguments):
    """Raises a `ValueError` if a count is so large that building would never end."""
    for key, value in arguments.items():
        for number in value if isinstance(value, tuple) else [value]:
            if isinstance(number, int | float) and not number <= MOST:
                raise ValueError(f"{key} must be at most {MOST}, not {number}.")
