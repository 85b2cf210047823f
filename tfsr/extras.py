"""What comes with the extras, and the command that adds one to this copy."""

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {  # what a message calls them, and the extra that they come with
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
    """Returns one line on how to install a module of `MODULES`, which is missing."""
    name, extra = MODULES[module]
    return f"this needs {name}: {command(extra)}"


def command(extra: str) -> str:
    """Returns the command that adds an extra to this copy of tfsr.

    It names the clone if tfsr runs from one, or the wheel that it was installed from.
    """
    if (ROOT / "setup.cfg").is_file():
        return f"pip install -e '{ROOT}[{extra}]'"
    origin = None
    with contextlib.suppress(metadata.PackageNotFoundError):
        origin = metadata.distribution("tfsr").read_text("direct_url.json")
    from_file = f" @ {json.loads(origin)['url']}" if origin else ""
    return f"pip install 'tfsr[{extra}]{from_file}'"
