"""Writes the site: a page with the box, which can be installed and works offline."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tfsr import files
from tfsr.tflite.app import box, icons
from tfsr.tflite.devices.browser import VERSION
from tfsr.zoo import choosing, released

NAME = "tfsr"
RUNTIME = (
    "box/litert/litert_wasm"  # 10 MB for each kind of browser: stored on first use
)
PAGES = ("palette.css", "page.css", "page.js", "service_worker.js")


def write_site(
    out: str | Path,
    models: Sequence[str | Path] = (),
    package: str | Path | None = None,
) -> dict:
    """Writes a static site whose visitors enlarge and restore photos on their device.

    Args:
        out: The folder to write to, made if missing.
        models: `.tflite` files of `tfsr convert` in place of the released ones.
        package: As for `tfsr.tflite.devices.browser.find_package`.

    Returns:
        `models` (the names), `files` (the number of files) and `size_bytes` (their
        total size).

    Raises:
        InputError: If a model cannot run in a browser, or LiteRT.js is missing.
    """
    out = Path(out)
    choice = None if models else choosing.rule()
    facts = box.write_box(out / "box", models or _released(), package, choice)
    page = box.asset("page.html").replace("<!-- box -->", box.html())
    files.write_text(out / "index.html", page)
    for name in PAGES:
        files.write_text(out / name, box.asset(name))
    icons.draw_icons(out)
    files.write_json(out / "manifest.webmanifest", _manifest())
    written = _written(out)
    written.append(_write_list(out, written))
    return {
        "models": [model["name"] for model in facts],
        "files": len(written),
        "size_bytes": sum(file.stat().st_size for file in written),
    }


def _released():
    return [released.find(name) for name in released.names() if "_int8" in name]


def _manifest():
    sizes = {
        name: {"src": name, "sizes": f"{side}x{side}", "type": "image/png"}
        for name, side in icons.SIDES.items()
    }
    sizes[icons.MASKABLE]["purpose"] = "maskable"
    return {
        "name": f"{NAME}: photos, larger",
        "short_name": NAME,
        "description": "Enlarges and restores photos on this device.",
        "id": "./",
        "start_url": "./",
        "display": "standalone",
        "background_color": icons.DARK,
        "theme_color": icons.DARK,
        "icons": list(sizes.values()),
    }


def _written(out):
    """Returns the files of the site, without others in its folder."""
    names = ("index.html", "manifest.webmanifest", *PAGES, *icons.SIDES)
    inside = sorted(file for file in (out / "box").rglob("*") if file.is_file())
    return [*(out / name for name in names), *inside]


def _write_list(out, written):
    """Writes `files.js`, by which the service worker knows the site and its version.

    Returns:
        Its path.
    """
    digest = hashlib.sha256()
    for file in written:
        digest.update(file.read_bytes())
    # Encoded as by JavaScript's encodeURIComponent, as the worker asks for them.
    names = [quote(file.relative_to(out).as_posix(), "/!'()*") for file in written]
    facts = {
        "version": digest.hexdigest()[:16],
        "files": ["./", *(n for n in names if not n.startswith(RUNTIME))],
        "runtime": {"start": RUNTIME, "version": VERSION},
    }
    file = out / "files.js"
    files.write_text(file, f"self.SITE = {json.dumps(facts, indent=1)};\n")
    return file
