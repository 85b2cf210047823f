"""The page in a real browser."""

import http.server
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tfsr.data import JPEG, GaussianNoise
from tfsr.models import scn
from tfsr.report import server
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import from_uint8, to_uint8

DESKTOP, PHONE = (1280, 800, False), (390, 844, True)
A4 = (718, 1016)  # at 96 pixels an inch, without margins of 1 cm

LOADED = "[...document.images].every(i => i.complete)"
EAGER = "document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
STAGE = """(({x, y, width}) => [x, y, width])
(document.querySelector('.stage').getBoundingClientRect())"""
CAN_HAVE_FOCUS = """[...document.querySelectorAll(
  'a, button, input, select, summary, [tabindex]')]
.filter(e => e.checkVisibility()).length"""
FOCUS = """(() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const all = [...document.querySelectorAll('*')];
  const seen = element.closest('.stage, .frame, .button') ?? element;
  const box = seen.getBoundingClientRect();
  return [
    all.indexOf(element),
    element.id || element.textContent.trim() || element.type,
    getComputedStyle(seen).outlineStyle === 'solid' && box.right > 0 && box.bottom > 0
      && box.top < innerHeight,
  ];
})()"""
READY = "document.all['box'] && !document.all['box'].hidden"
FINISHED = "/^Done| not /.test(document.all['box-status'].textContent)"


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_and_complains_of_nothing(chromium, made, serve, screen):
    address = serve(made)
    chromium.open(address, *screen)
    chromium.run(EAGER)
    chromium.wait(LOADED)
    assert chromium.errors == []
    assert chromium.run("[...document.images].every(i => i.naturalWidth > 0)")
    assert chromium.run(FITS)
    assert len(chromium.requests) > 20
    assert all(url.startswith((address, "data:,")) for url in chromium.requests)


def test_the_page_works_as_a_file(chromium, made):
    chromium.open((made / "index.html").as_uri())
    chromium.run(EAGER)
    chromium.wait(LOADED)
    assert chromium.errors == []
    assert chromium.run("[...document.images].every(i => i.naturalWidth > 0)")


@pytest.fixture
def used(chromium, runs, tried, serve, tmp_path):
    """The browser, showing a box that has done a photo."""
    photo(tmp_path / "photo.png", 40, 52)
    chromium.open(serve(tried(runs / "small_int8.tflite")))
    chromium.wait(READY)
    chromium.choose_file("#photo", tmp_path / "photo.png")
    chromium.wait(FINISHED)
    return chromium


@pytest.fixture
def with_all(chromium, made, serve):
    """The browser, showing a report with everything but a box."""
    chromium.open(serve(made))
    return chromium


@pytest.mark.parametrize("shown", ["with_all", "used"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(request, chromium, shown, scheme):
    request.getfixturevalue(shown)
    lowest, texts, background = chromium.contrast(scheme)
    assert (background != "rgb(255, 255, 255)") == (scheme == "dark")
    assert texts > 50
    assert lowest >= 4.5  # AA of WCAG


def test_the_slider_moves_by_keyboard_and_by_hand(chromium, made, serve):
    chromium.open(serve(made))
    shown = "getComputedStyle(document.querySelector('.after')).clipPath"
    assert chromium.run(shown) == "inset(0px 0px 0px 50%)"
    chromium.run("document.querySelector('.stage input').focus()")
    chromium.press("ArrowRight", 39)
    assert chromium.run(shown) == "inset(0px 0px 0px 51%)"
    chromium.press("Home", 36)
    assert chromium.run(shown) == "inset(0px 0px 0px 0%)"
    x, y, width = chromium.run(STAGE)
    for kind in ("mousePressed", "mouseReleased"):
        at = {"x": x + 0.75 * width, "y": y + 20}
        mouse = {"button": "left", "clickCount": 1}
        chromium.call("Input.dispatchMouseEvent", type=kind, **at, **mouse)
    at = float(chromium.run(shown).split()[-1].rstrip("%)"))
    assert at == pytest.approx(75, abs=3)


def test_the_slider_follows_a_finger(chromium, made, serve):
    chromium.open(serve(made), *PHONE)
    chromium.call("Emulation.setTouchEmulationEnabled", enabled=True)
    x, y, width = chromium.run(STAGE)
    shares = (0.3, 0.4, 0.6, 0.8)
    chromium.touch(*((x + share * width, y + 20) for share in shares))
    at = chromium.run("document.querySelector('.stage input').value")
    chromium.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert float(at) == pytest.approx(80, abs=3)


@pytest.mark.parametrize("shown", ["with_all", "used"])
def test_the_keyboard_reaches_everything_in_order(request, chromium, shown):
    request.getfixturevalue(shown)
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    chromium.call("Emulation.setEmulatedMedia", features=[still])
    stops = []
    while True:
        chromium.press("Tab", 9)
        stop = chromium.run(FOCUS)
        if stop is None or stop in stops:
            break
        stops.append(stop)
    chromium.call("Emulation.setEmulatedMedia", features=[])
    places, names, seen = zip(*stops, strict=True)
    assert list(places) == sorted(places)
    assert len(stops) == chromium.run(CAN_HAVE_FOCUS)
    assert names[0] == "Skip to the results"
    assert names[-1] == "report.json"
    assert "range" in names
    assert ("photo" in names) == (shown == "used")
    assert all(seen)


def test_paper_has_both_pictures_side_by_side(chromium, made, serve):
    chromium.open(serve(made))
    chromium.call("Emulation.setEmulatedMedia", media="print")
    boxes = chromium.run(
        "[...document.querySelectorAll('.stage img')]"
        ".map(i => i.getBoundingClientRect())"
        ".map(b => [b.left, b.right, b.top, b.width])"
    )
    hidden = chromium.run("getComputedStyle(document.querySelector('nav')).display")
    chromium.call("Emulation.setEmulatedMedia", media="")
    before, after = boxes
    assert before[1] <= after[0]
    assert before[2:] == after[2:]
    assert hidden == "none"


@pytest.fixture(scope="module")
def tried(runs, litert_js, photographs, tmp_path_factory):
    """Returns the folder of a report with a box for a model."""
    from tfsr.cli import main

    out = tmp_path_factory.mktemp("tried")

    def make(file):
        folder = out / file.stem
        if not folder.exists():
            arguments = [runs / "small", "--test", photographs, "-o", folder]
            box = ["--try", file, "--litert-js", litert_js]
            assert main(["report", *map(str, arguments), *map(str, box)]) == 0
        return folder

    return make


@pytest.fixture(scope="module")
def resizing(runs, photographs):
    """A file of fixed size that resizes between its levels."""
    import keras

    from tfsr.data import BenchmarkFolder
    from tfsr.tflite.conversion import convert

    keras.utils.set_random_seed(0)
    network = scn(scale=2, levels=2, filters=4, blocks=1)
    file = runs / "resizing.tflite"
    convert(network, 2, "int8", [(24, 32)], file, BenchmarkFolder(photographs, 2))
    return file


def photo(file, height, width):
    import skimage.data

    image = skimage.data.astronaut()[30 : 30 + height, 160 : 160 + width]
    Image.fromarray(image).save(file)
    return image


def downloaded(chromium):
    """Returns the PNG behind the link to download."""
    with Image.open(io.BytesIO(chromium.linked("#box-download"))) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize(
    ("name", "size", "tiles"),
    [
        ("small_int8", (137, 190), 6),  # tiles that overlap, to the pixel
        ("small_int8", (31, 45), 1),  # smaller than the file's own size
        ("small_dynamic", (60, 70), 1),
        ("resizing", (50, 61), 12),  # tiles of the file's size alone, the last padded
    ],
)
def test_a_dropped_photo_comes_out_as_on_the_desktop(
    chromium, runs, resizing, tried, serve, tmp_path, name, size, tiles
):
    file = runs / f"{name}.tflite"
    pixels = photo(tmp_path / "photo.png", *size)
    chromium.open(serve(tried(file)))
    chromium.wait(READY)
    chromium.drop_file("#drop", tmp_path / "photo.png")
    chromium.wait(FINISHED)
    assert chromium.run("document.all['box-status'].textContent") == "Done."
    ours = downloaded(chromium)
    desktop = to_uint8(TFLiteUpscaler(file)(from_uint8(pixels)))
    assert np.abs(ours.astype(int) - desktop).max() <= 1
    whole = chromium.run("document.all['box-whole'].textContent")
    assert whole.endswith(f"{tiles} tile{'s' if tiles > 1 else ''}")
    network = chromium.run("document.all['box-network'].textContent")
    assert network.endswith(" ms, median of 7 runs")
    assert float(network.split()[0]) > 0
    assert chromium.errors == []


def test_a_page_without_isolation_has_one_thread(
    chromium, runs, tried, serve, tmp_path, monkeypatch
):
    """As a phone has it that is served over plain HTTP."""
    plain = http.server.SimpleHTTPRequestHandler.end_headers
    monkeypatch.setattr(server.Handler, "end_headers", plain)
    file = runs / "small_int8.tflite"
    pixels = photo(tmp_path / "photo.png", 60, 50)
    chromium.open(serve(tried(file)))
    chromium.wait(READY)
    chromium.drop_file("#drop", tmp_path / "photo.png")
    chromium.wait(FINISHED)
    device = chromium.run("document.all['box-device'].textContent")
    assert device.startswith("1 thread of WebAssembly; Mozilla")
    desktop = to_uint8(TFLiteUpscaler(file)(from_uint8(pixels)))
    assert np.abs(downloaded(chromium).astype(int) - desktop).max() <= 1
    assert chromium.errors == []


def test_a_photo_can_be_chosen_and_another_after_it(
    chromium, runs, tried, serve, tmp_path
):
    (tmp_path / "notes.png").write_text("no picture")
    file = runs / "small_int8.tflite"
    chromium.open(serve(tried(file)), *PHONE)
    chromium.wait(READY)
    chromium.choose_file("#photo", tmp_path / "notes.png")
    chromium.wait(FINISHED)
    status = chromium.run("document.all['box-status'].textContent")
    assert status == "notes.png: not a picture that this browser can read."
    for i, size in enumerate(((40, 52), (33, 29))):
        pixels = photo(tmp_path / f"{i}.png", *size)
        chromium.choose_file("#photo", tmp_path / f"{i}.png")
        shown = f"document.all['box-photo'].textContent.startsWith('{size[1]}x')"
        chromium.wait(f"{shown} && {FINISHED}")
        desktop = to_uint8(TFLiteUpscaler(file)(from_uint8(pixels)))
        ours = downloaded(chromium)
        assert ours.shape == desktop.shape
        assert np.abs(ours.astype(int) - desktop).max() <= 1
    assert chromium.run(FITS)


def test_a_file_says_how_to_open_the_box(chromium, runs, tried):
    chromium.open((tried(runs / "small_int8.tflite") / "index.html").as_uri())
    notice = "document.all['box-absent'].checkVisibility()"
    assert chromium.run(notice)
    assert not chromium.run("document.all['drop'].checkVisibility()")
    text = chromium.run("document.all['box-absent'].textContent")
    assert "tfsr report --serve" in text


def test_a_runtime_that_is_gone_is_said(chromium, runs, tried, serve, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(tried(runs / "small_int8.tflite"), folder)
    (folder / "try" / "litert" / "core.js").unlink()
    photo(tmp_path / "photo.png", 20, 20)
    chromium.open(serve(folder))
    chromium.wait(READY)
    chromium.choose_file("#photo", tmp_path / "photo.png")
    chromium.wait(FINISHED)
    status = chromium.run("document.all['box-status'].textContent")
    assert status.startswith("The model could not be run: ")
    assert not chromium.run("document.all['photo'].disabled")


@pytest.fixture(params=[GaussianNoise(25, "uint8"), JPEG(10)], ids=["noise", "jpeg"])
def restorer(request, photographs, tmp_path):
    """A file that restores one channel."""
    import keras

    from tfsr.data import BenchmarkFolder
    from tfsr.tflite.conversion import convert

    keras.utils.set_random_seed(0)
    network = scn(scale=1, levels=2, filters=4, blocks=1, channels=1)
    images = BenchmarkFolder(photographs, 1, 1, degradation=request.param)
    file = tmp_path / f"{request.param.name}.tflite"
    convert(network, 1, "int8", [(24, 32)], file, images)
    return file


def test_colour_is_restored_by_one_channel_as_on_the_desktop(
    chromium, restorer, tried, serve, tmp_path
):
    from tfsr.cli import main

    photo(tmp_path / "photo.png", 50, 61)
    chromium.open(serve(tried(restorer)))
    chromium.wait(READY)
    assert " restores it in 8 bits" in chromium.run("document.all['try'].textContent")
    chromium.drop_file("#drop", tmp_path / "photo.png")
    chromium.wait(FINISHED)
    assert chromium.run("document.all['box-status'].textContent") == "Done."
    restored = tmp_path / "restored.png"
    arguments = [tmp_path / "photo.png", "-o", restored, "--model", restorer]
    assert main(["restore", *map(str, arguments)]) == 0
    with Image.open(restored) as image:
        desktop = np.asarray(image).astype(int)
    with Image.open(tmp_path / "photo.png") as image:
        assert np.abs(np.asarray(image) - desktop).mean() > 1
    assert np.abs(downloaded(chromium) - desktop).max() <= 1
    assert chromium.errors == []


@pytest.fixture
def wide(runs, photographs, tmp_path):
    """The folder of a report on three test folders, of models with long names."""
    from tfsr.cli import main

    tests = [tmp_path / name for name in ("Set14", "B100", "Urban100")]
    for test in tests:
        shutil.copytree(photographs, test)
    models = {"small": "a_network_of_some_size", "small_int8.tflite": "in_8.tflite"}
    for name, longer in models.items():
        (tmp_path / longer).symlink_to(runs / name)
    arguments = [*(tmp_path / name for name in models.values()), "--test", *tests]
    assert main(["report", *map(str, arguments), "-o", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_paper_is_wide_enough_and_folds_nothing(chromium, wide, serve):
    chromium.open(serve(wide), *A4)
    folded = "document.querySelector('details td').checkVisibility()"
    assert not chromium.run(folded)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    fits, unfolded = chromium.run(FITS), chromium.run(folded)
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert fits
    assert unfolded
