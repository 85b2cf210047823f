"""The Python of docs/app.md, which needs nothing of tfsr."""

import re
from pathlib import Path

import numpy as np

import tfsr
from tfsr.zoo import released

ROOT = Path(__file__).parent.parent


def test_the_python_gives_the_pixels_of_upscale():
    text = (ROOT / "docs" / "app.md").read_text()
    names = {}
    exec(re.search(r"^```python\n(.*?)^```", text, re.M | re.S).group(1), names)
    name = "sesr_m_x2_int8"
    upscaler = tfsr.load_upscaler(name)
    assert (names["SCALE"], names["RADIUS"]) == (upscaler.scale, upscaler.radius)
    names["TILE"] = 56
    for size in ((61, 130), (40, 90)):  # smaller than a tile, too
        photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        large = names["enlarge"](photo, str(released.find(name)))
        np.testing.assert_array_equal(large, tfsr.upscale(photo, upscaler))


def test_every_language_has_the_numbers_of_the_file():
    text = (ROOT / "docs" / "app.md").read_text()
    blocks: dict[str, str] = {}
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S):
        blocks[language] = blocks.get(language, "") + code
    assert blocks.keys() == {"python", "kotlin", "swift", "cpp", "js"}
    for language, code in blocks.items():
        assert re.search(r"RADIUS\b.*\b12|radius = 12|kRadius = 12", code), language
