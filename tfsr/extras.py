"""What comes with the extra `train`, and the command that adds one to this copy."""

import contextlib
import json
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
OF_TRAIN = {  # modules by name, and what a message calls them
    "filelock": "filelock",
    "jinja2": "Jinja2",
    "keras": "TensorFlow and Keras",
    "matplotlib": "Matplotlib",
    "skimage": "scikit-image",
    "tensorflow": "TensorFlow",
    "tomli_w": "tomli-w",
}


def needs(module: str) -> str:
    """Returns one line on how to install a module of `OF_TRAIN`, which is missing."""
    return f"this needs {OF_TRAIN[module]}: {command('train')}"


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
