"""Builds the sdist and the wheel in dist/ and checks them as a package index would.

It needs the extra `dev`; afterwards, `twine upload dist/*` publishes them.

python tools/build_package.py
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import tfsr

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NEEDED = ("tfsr/configs/carn/carn_m.toml", "tfsr/released/SHA256SUMS", "tfsr/py.typed")


def main():
    if f"## {tfsr.__version__}" not in (ROOT / "CHANGELOG.md").read_text():
        sys.exit(f"CHANGELOG.md: has no section {tfsr.__version__}.")
    changed = run("git", "status", "--porcelain", "--untracked-files=no")
    if changed:
        sys.exit(f"not committed:\n{changed}")
    for folder in (DIST, ROOT / "build"):  # whose old files would come along
        shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build")
    (wheel,) = DIST.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        missing = {*NEEDED} - {*content.namelist()}
    if missing:
        sys.exit(f"{wheel}: lacks {', '.join(sorted(missing))}.")
    made = sorted(map(str, DIST.iterdir()))
    run(sys.executable, "-m", "twine", "check", "--strict", *made)
    print("\n".join(made))


def run(*command):
    """Returns what a command prints; ends with its errors if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
