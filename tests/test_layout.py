"""Imports point one way: what trains knows nothing of TFLite."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "tfsr"
FREE = ("cli", "demo.py", "report", "study")  # import tfsr.tflite as they like
LATE = ("__init__.py", "api.py", "app", "upscaling", "zoo")  # inside functions alone


def imports(tree):
    """Yields the modules that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def sources(names, others=False):
    """Returns the files and the folders' files of these names, or all others."""
    return [
        file
        for file in sorted(ROOT.rglob("*.py"))
        if (file.relative_to(ROOT).parts[0] in names) != others
    ]


def of_tflite(modules):
    return [name for name in modules if name.startswith("tfsr.tflite")]


@pytest.mark.parametrize("file", sources((*FREE, *LATE), others=True), ids=str)
def test_training_knows_no_tflite(file):
    assert of_tflite(imports(ast.parse(file.read_text()))) == []


@pytest.mark.parametrize("file", sources(LATE), ids=str)
def test_tflite_is_imported_late(file):
    tree = ast.parse(file.read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert of_tflite(imports(ast.Module(top, []))) == []


PACKAGES = (ROOT, ROOT.parent / "tflite")
MODULES = [file for package in PACKAGES for file in sorted(package.rglob("*.py"))]


@pytest.mark.parametrize("file", MODULES, ids=str)
def test_no_module_has_the_name_of_what_is_in_it(file):
    """But for the builders of networks."""
    names = {getattr(node, "name", None) for node in ast.parse(file.read_text()).body}
    assert file.stem not in names or file.parent.name == "models"


@pytest.mark.parametrize("file", MODULES, ids=str)
def test_public_functions_have_a_docstring_and_types(file):
    """But for those of the command line, which are called in one place each."""
    if file.parent.name == "cli":
        return
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            untyped = [
                arg.arg
                for arg in (*node.args.args, *node.args.kwonlyargs)
                if arg.annotation is None
            ]
            assert ast.get_docstring(node), node.name
            assert not untyped, node.name
            assert node.returns is not None, node.name
