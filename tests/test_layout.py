"""What the style of the code asks for, where a program can tell.

Each test collects what is wrong in all modules and wants that to be empty.
"""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parent.parent
TFSR = ROOT / "tfsr"
MODULES = sorted([*TFSR.rglob("*.py"), *(ROOT / "tflite").rglob("*.py")])
FREE = ("cli", "demo.py", "report", "study")  # import tfsr.tflite as they like
LATE = ("__init__.py", "upscaling", "zoo")  # inside functions alone


@functools.cache
def tree(file):
    return ast.parse(file.read_text())


def imports(nodes):
    """Yields the modules that some nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def of_tflite(nodes):
    return any(name.startswith("tfsr.tflite") for name in imports(nodes))


def part(file):
    """Returns the folder or file of tfsr that a module belongs to."""
    return file.relative_to(TFSR).parts[0] if TFSR in file.parents else "tflite"


def test_training_knows_no_tflite():
    known = (*FREE, *LATE, "tflite")
    others = [file for file in MODULES if part(file) not in known]
    assert len(others) > 50
    assert [file for file in others if of_tflite(ast.walk(tree(file)))] == []


def test_tflite_is_imported_late():
    late = [file for file in MODULES if part(file) in LATE]
    assert len(late) > 10
    assert [file for file in late if of_tflite(tree(file).body)] == []


def test_no_module_has_the_name_of_what_is_in_it():
    """But for the builders of networks."""
    assert [
        file
        for file in MODULES
        if file.stem in {getattr(node, "name", None) for node in tree(file).body}
        and file.parent.name != "models"
    ] == []


def test_modules_are_named_for_what_they_do():
    assert not {file.stem for file in MODULES} & {"base", "common", "helpers", "utils"}


def test_public_functions_have_a_docstring_and_types():
    """But for those of the command line, which are called in one place each."""
    wrong = []
    for file in MODULES:
        for node in tree(file).body:
            public = isinstance(node, ast.FunctionDef) and node.name[0] != "_"
            if public and file.parent.name != "cli":
                arguments = (*node.args.args, *node.args.kwonlyargs)
                typed = node.returns and all(arg.annotation for arg in arguments)
                if not (typed and ast.get_docstring(node)):
                    wrong.append((file, node.name))
    assert wrong == []


def test_no_layer_brings_code_or_a_second_layout():
    """As a `Lambda` would, and an argument `data_format`."""
    assert [
        file
        for file in MODULES
        for node in ast.walk(tree(file))
        if {getattr(node, key, None) for key in ("id", "attr", "arg")}
        & {"Lambda", "data_format"}
    ] == []


def test_layers_say_what_they_received():
    layers = [file for file in MODULES if part(file) == "layers"]
    raised = [
        ast.unparse(node)
        for file in layers
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Raise)
    ]
    assert len(raised) > 20
    assert [line for line in raised if "Received: " not in line] == []
