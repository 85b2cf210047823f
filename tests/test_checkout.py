"""A checkout works by itself, whatever is installed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# As if nothing were installed, or a wheel, which comes behind what is on the path.
ALONE = (
    "import sys; sys.meta_path[:] = [f for f in sys.meta_path"
    " if 'editable' not in str(f).lower()];"
)


def test_a_checkout_on_the_path_has_its_tflite():
    code = f"{ALONE} import tfsr.tflite.formats as f; print(f.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == ROOT / "tflite" / "formats.py"


def test_the_scripts_run_beside_an_installed_wheel():
    for script, option in (("convert.py", "--no-lowering"), ("train.py", "--dry-run")):
        code = (
            f"{ALONE} import runpy; sys.path.insert(0, {str(ROOT)!r});"
            f"sys.argv = ['{script}', '--help'];"
            f"runpy.run_path({str(ROOT / script)!r}, run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert option in done.stdout


def test_a_commit_is_checked_by_what_ci_checks_with():
    """Another version of a linter would refuse what CI takes."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    commands = re.findall("entry: (.*)", hooks)
    assert hooks.count("language: system") == hooks.count("- id: ") == len(commands)
    steps = (ROOT / ".ci" / "run").read_text()
    assert [c for c in commands if f".venv/bin/{c}" not in steps] == []
