"""The box of a page: it takes a photo, runs a model in the browser and shows both."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from tfsr import files
from tfsr.errors import InputError
from tfsr.tflite.devices.browser import copy_runtime, put

ASSETS = resources.files(__package__)
SCRIPTS = (
    *("box.js", "choosing.js", "engines.js", "noise.js", "origin.js", "tiles.js"),
    *("viewer.js", "worker.js"),
)


def html() -> str:
    """Returns the HTML element that `box.js` fills; its page loads it and box.css.

    The page must have an element with the id `box-absent` too: a notice that the box
    cannot run, which the script removes where it can.
    """
    return asset("box.html")


def asset(name: str) -> str:
    """Returns the text of a file of the site."""
    return ASSETS.joinpath(name).read_text(encoding="utf-8")


def write_box(
    out: str | Path,
    models: Sequence[str | Path],
    package: str | Path | None,
    choice: dict | None = None,
) -> list[dict]:
    """Writes the files that the box loads: scripts, style, models and LiteRT.js.

    Args:
        out: The folder to write to, made if missing.
        models: `.tflite` files of `tfsr convert`, at least one.
        package: As for `tfsr.tflite.devices.browser.find_package`.
        choice: As `tfsr.zoo.choosing.rule` returns it; None if the visitor chooses.

    Returns:
        The facts of the models, as `tfsr.tflite.devices.browser.tiling` returns them.

    Raises:
        InputError: If a model cannot run in a browser, or LiteRT.js is missing.
    """
    _check(models)
    out = Path(out)
    copy_runtime(out / "litert", package)
    facts = [put(Path(model), out / Path(model).name) for model in models]
    names = {model["file"] for model in facts}
    for earlier in out.glob("*.tflite"):
        if earlier.name not in names:
            earlier.unlink()
    for name in (*SCRIPTS, "box.css"):
        files.write_text(out / name, asset(name))
    files.write_json(out / "models.json", {"models": facts, "choice": choice})
    return facts


def _check(models):
    names = set()
    for model in map(Path, models):
        if model.suffix != ".tflite":
            raise InputError(
                f"{model}: the box runs .tflite files; make one with tfsr convert."
            )
        if model.name in names:
            raise InputError(f"{model}: two models have this name; rename one.")
        names.add(model.name)
