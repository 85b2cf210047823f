"""The modules that extras install, and the command that installs an extra here."""

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {  # by module: its name in messages, and the extra that installs it
    "jinja2": ("Jinja2", "train"),
    "keras": ("TensorFlow and Keras", "train"),
    "matplotlib": ("Matplotlib", "train"),
    "pyrtools": ("pyrtools", "ifc"),
    "scipy": ("SciPy", "ifc"),
    "skimage": ("scikit-image", "train"),
    "tensorflow": ("TensorFlow", "train"),
    "torch": ("PyTorch", "torch"),
    "torchmetrics": ("torchmetrics", "perceptual"),
    "torchvision": ("torchvision", "perceptual"),
}


def check(module: str) -> None:
    """Raises a `ModuleNotFoundError`, before any work, if a module is missing."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Has the error of a module of `MODULES` that is missing say how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in MODULES:
            raise
        raise ModuleNotFoundError(needs(error.name), name=error.name) from None


def needs(module: str) -> str:
    """Returns one line that says how to install a missing module of `MODULES`."""
    name, extra = MODULES[module]
    return f"this needs {name}: {command(extra)}"


def command(extra: str) -> str:
    """Returns the command that adds an extra to this copy of tfsr.

    The command names the clone or the wheel that this copy was installed from.
    """
    if (ROOT / "setup.cfg").is_file():
        return f"pip install -e '{ROOT}[{extra}]'"
    origin = None
    with contextlib.suppress(metadata.PackageNotFoundError):
        origin = metadata.distribution("tfsr").read_text("direct_url.json")
    from_file = f" @ {json.loads(origin)['url']}" if origin else ""
    return f"pip install 'tfsr[{extra}]{from_file}'"
