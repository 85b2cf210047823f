"""The JavaScript of docs/app.md in a browser."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tfsr
from tfsr import files
from tfsr.tflite.app.box import write_box

ROOT = Path(__file__).parents[2]
TILE = (40, 48)  # of `small_int8.tflite`
PAGE = """<!doctype html><script type="module">
import { enlarge } from "./enlarge.js";
const { pixels, height, width } = await (await fetch("photo.json")).json();
const photo = new ImageData(Uint8ClampedArray.from(pixels), width, height);
const large = await enlarge(photo, "small_int8.tflite", "litert/");
window.result = [large.height, large.width, [...large.data]];
</script>"""


@pytest.fixture
def folder(runs, litert_js, tmp_path):
    """What a page of the snippet needs, with a tiny model in place of the page's."""
    write_box(tmp_path, [runs / "small_int8.tflite"], litert_js)
    text = (ROOT / "docs" / "app.md").read_text()
    code = re.search(r"^```js\n(.*?)^```", text, re.M | re.S).group(1)
    radius = tfsr.load_upscaler(runs / "small_int8.tflite").radius
    code = re.sub(r"RADIUS = \d+", f"RADIUS = {radius}", code)
    code = code.replace('"@litertjs/core"', '"./litert/core.js"')
    (tmp_path / "enlarge.js").write_text(code)
    (tmp_path / "page.html").write_text(PAGE)
    return tmp_path


def test_the_javascript_gives_the_pixels_of_upscale(chromium, runs, folder):
    """Of a photo wider than a tile and lower, which its last row continues."""
    photo = np.random.default_rng(0).integers(0, 256, (30, 100, 4), np.uint8)
    rgba = {"pixels": photo.ravel().tolist(), "height": 30, "width": 100}
    files.write_json(folder / "photo.json", rgba)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium.open(f"http://127.0.0.1:{server.server_port}/page.html")
        chromium.wait("window.result")
        height, width, pixels = chromium.run("window.result")
        server.shutdown()
    large = np.reshape(np.array(pixels, np.uint8), (height, width, 4))
    whole = np.pad(photo[..., :3], ((0, TILE[0] - 30), (0, 0), (0, 0)), "edge")
    expected = tfsr.upscale(whole, runs / "small_int8.tflite")[:60]
    assert np.abs(large[..., :3].astype(int) - expected).max() <= 1
    assert (large[..., 3] == 255).all()
