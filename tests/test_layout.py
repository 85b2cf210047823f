"""Imports point one way: what trains knows nothing of TFLite."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "tfsr"
NEVER = (
    *("config.py", "metrics.py"),
    *("data", "graph", "layers", "models", "scoring", "training"),
)
LATE = ("__init__.py", "api.py", "upscaling", "zoo")  # inside functions alone


def imports(tree):
    """Yields the modules that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def sources(*names):
    """Returns the files of that name, and those in folders of that name."""
    files = [[ROOT / name, *(ROOT / name).rglob("*.py")] for name in names]
    return [file for of_name in files for file in sorted(of_name) if file.is_file()]


def of_tflite(modules):
    return [name for name in modules if name.startswith("tfsr.tflite")]


@pytest.mark.parametrize("file", sources(*NEVER), ids=str)
def test_training_knows_no_tflite(file):
    assert of_tflite(imports(ast.parse(file.read_text()))) == []


@pytest.mark.parametrize("file", sources(*LATE), ids=str)
def test_tflite_is_imported_late(file):
    tree = ast.parse(file.read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert of_tflite(imports(ast.Module(top, []))) == []
