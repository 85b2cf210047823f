"""The site in a real browser."""

import http.server
import io
import re
import shutil
import threading
from functools import partial

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter

import tfsr
from tfsr.data import GaussianNoise
from tfsr.models import carn_m, ffdnet
from tfsr.tflite.app.site import write_site
from tfsr.tflite.conversion import convert
from tfsr.tflite.devices.delegates import Delegate, DelegatedUpscaler
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import from_uint8, to_uint8
from tfsr.zoo import released
from tfsr.zoo.choosing import enlarger_of, restorer_of

DESKTOP, PHONE = (1280, 800, False), (390, 844, True)
MODELS = [released.find(f"sesr_m_x{scale}_int8") for scale in (2, 3, 4)]
MODELS += [released.find("photo_x2_int8")]
KEPT = (
    "crossOriginIsolated && /^Works off/.test(document.all['page-state'].textContent)"
)
READY = "document.all['box'] && !document.all['box'].hidden"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
FINISHED = "/^Done| not |^Stopped/.test(document.all['box-status'].textContent)"
SIDES = """(() => {
  const width = (element) => element.getBoundingClientRect().width;
  const picture = width(document.all['box-after']) * devicePixelRatio;
  return [picture, width(document.querySelector('.frame')) <= innerWidth];
})()"""
NEW_VERSION = """(async () => {
  const kept = await navigator.serviceWorker.getRegistration();
  while (!kept.waiting) await new Promise((done) => setTimeout(done, 50));
})()"""
SIZE = (20, 28)
GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")  # in software


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server of static files that sets no headers of its own."""

    def log_message(self, *args):
        pass


@pytest.fixture
def publish():
    """Serves a folder; returns its address, and what ends that."""
    running = []

    def start(folder):
        handler = partial(Handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def stop():
            if server in running:
                running.remove(server)
                server.shutdown()
                server.server_close()

        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/", stop

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def site(litert_js, tmp_path_factory):
    """A site of released models, which chooses as the one of all does."""
    out = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfsr.tflite.app.site._released", lambda: MODELS)
        write_site(out, package=litert_js)
    return out


def photo(file, height, width, **options):
    image = skimage.data.astronaut()[30 : 30 + height, 160 : 160 + width]
    Image.fromarray(image).save(file, **options)
    return image


def text(chromium, part):
    return chromium.run(f"document.all['box-{part}'].textContent")


def result(chromium):
    """Returns the pixels of the file that is offered."""
    with Image.open(io.BytesIO(chromium.linked("#box-download"))) as image:
        return np.array(image.convert("RGB")).astype(int)


def test_a_photo_is_enlarged_with_the_network_off(chromium, site, publish, tmp_path):
    """At the width of a phone; isolated, by a server that knows of no headers."""
    pixels = photo(tmp_path / "face.png", 60, 300)
    address, stop = publish(site)
    chromium.open(address, *PHONE)
    chromium.wait(KEPT)
    assert all(url.startswith((address, "blob:")) for url in chromium.requests)
    stop()
    chromium.open(address, *PHONE)
    chromium.wait(f"{KEPT} && {READY}")
    assert chromium.run("crossOriginIsolated")
    chromium.choose_file("#photo", tmp_path / "face.png")
    chromium.wait(FINISHED)
    assert text(chromium, "status") == "Done."
    assert text(chromium, "choice") == "sesr_m_x2_int8, for a file without loss"
    assert text(chromium, "whole").endswith(", 2 tiles")
    assert "of WebAssembly; Mozilla" in text(chromium, "device")
    size = len(chromium.linked("#box-download"))
    kilobytes = f"{-(-size // 1000)} KB"
    assert text(chromium, "file") == (
        f"face_x2.png: PNG, without loss, 600x120 pixels, {kilobytes}"
    )
    expected = tfsr.upscale(pixels, model="sesr_m_x2_int8")
    assert np.abs(result(chromium) - expected).max() <= 1
    assert chromium.run(FITS)
    for zoom in (1, 3):  # device pixels of a pixel, of which the screen has 2 in each
        chromium.run(f"document.querySelector('[data-zoom=\"{zoom}\"]').click()")
        assert chromium.run(SIDES) == [600 * zoom, True]
        assert chromium.run(FITS)
    assert chromium.errors == []


@pytest.fixture(scope="module")
def shown(chromium, site, tmp_path_factory):
    """The browser with a site at the width of a desktop that has enlarged a JPEG."""
    folder = tmp_path_factory.mktemp("photos")
    photo(folder / "face.jpeg", 40, 50, quality=60)
    handler = partial(Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium.open(f"http://127.0.0.1:{server.server_port}/", *DESKTOP)
        chromium.wait(f"{KEPT} && {READY}")
        chromium.drop_file("#drop", folder / "face.jpeg")
        chromium.wait(FINISHED)
        yield chromium
        server.shutdown()


def change(chromium, part, value):
    """Chooses from a list, and waits until the photo is done again."""
    chromium.run(
        f"(() => {{ const list = document.all['box-{part}']; list.value = '{value}';"
        "document.all['box-status'].textContent = '';"
        "list.dispatchEvent(new Event('change')); })()"
    )
    chromium.wait(FINISHED)


def test_the_model_for_lossy_files_is_chosen(shown):
    assert text(shown, "status") == "Done."
    assert text(shown, "choice") == "photo_x2_int8, for a JPEG of quality 60"
    assert text(shown, "file").startswith("face_x2.jpg: JPEG, 100x80 pixels, ")
    assert shown.linked("#box-download")[:2] == b"\xff\xd8"
    change(shown, "scale", 3)
    assert text(shown, "choice") == (
        "sesr_m_x3_int8, for a JPEG of quality 60; it is for clean files; what "
        "compression left, such as the blocks of JPEG, comes out sharper."
    )
    assert text(shown, "file").startswith("face_x3.jpg: JPEG, 150x120 pixels, ")
    assert shown.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(shown, scheme):
    lowest, texts, background = shown.contrast(scheme)
    assert (background != "rgb(255, 255, 255)") == (scheme == "dark")
    assert texts > 25
    assert lowest >= 4.5  # AA of WCAG
    assert shown.run(FITS)


def test_what_runs_can_be_stopped(shown):
    working = "!document.all['box-working'].hidden"
    shown.run("document.all['box-scale'].dispatchEvent(new Event('change'))")
    shown.wait(working)
    shown.run("document.all['box-stop'].click()")
    shown.wait(FINISHED)
    assert text(shown, "status") == "Stopped."
    assert not shown.run(working)
    change(shown, "scale", 2)
    assert text(shown, "status") == "Done."


def test_what_is_no_photo_is_said(shown, tmp_path):
    shown.run("document.all['box-status'].textContent = ''")
    shown.drop_file("#drop", tmp_path)  # a folder
    shown.wait(FINISHED)
    assert text(shown, "status").endswith(": not a picture that this browser can read.")


def test_files_are_told_apart_as_upscale_does(shown, site):
    """By scripts of the page, of files that a server gives it."""
    image = Image.fromarray(skimage.data.astronaut()[:48, :64])
    options = {f"q{q}.jpg": {"quality": q} for q in (1, 10, 49, 50, 75, 93, 94, 100)}
    options["progressive.jpg"] = {
        "quality": 80,
        "progressive": True,
        "exif": b"x" * 999,
    }
    options["gray.jpg"] = {"quality": 30}
    options |= {"lossy.webp": {"quality": 80}, "exact.webp": {"lossless": True}}
    options |= {"clean.png": {}, "clean.bmp": {}}
    folder = site / "photos"
    folder.mkdir()
    for name, kept in options.items():
        (image.convert("L") if name == "gray.jpg" else image).save(
            folder / name, **kept
        )
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (folder / "cut.jpg").write_bytes((folder / "q50.jpg").read_bytes()[:30])
    names = sorted(file.name for file in folder.iterdir())
    found = shown.run(
        "(async () => { const { enlargerOf } = await import('./box/choosing.js');"
        "const { choice } = await (await fetch('box/models.json')).json();"
        "const names = " + str(names) + ";"
        "const all = []; for (const name of names) {"
        "const blob = await (await fetch(`photos/${name}`)).blob();"
        "all.push((await enlargerOf(blob, 2, choice)).why); }"
        "return all; })()"
    )
    choices = [enlarger_of(folder / name, 2) for name in names]
    # The page shows no choice for cut.jpg, which a browser cannot decode.
    kinds = [choice.found or "a file without loss" for choice in choices]
    models = [choice.model for choice in choices]
    assert found == [f"{m}, for {k}" for m, k in zip(models, kinds, strict=True)]
    assert {c.model for c in choices} == {"photo_x2_int8", "sesr_m_x2_int8"}


def test_of_a_panorama_the_middle_is_enlarged(shown, tmp_path):
    """No canvas is as wide as the whole would be."""
    wide = np.zeros((4, 33000, 3), np.uint8)
    wide[:, 16500:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    shown.run("document.all['box-status'].textContent = ''")
    shown.drop_file("#drop", tmp_path / "wide.png")
    shown.wait(FINISHED)
    assert text(shown, "status") == "Done."
    assert text(shown, "photo") == "the middle of 33000x4, 32750x4 pixels"
    large = result(shown)
    assert large.shape == (8, 65500, 3)
    assert large[:, :32000].max() < 10
    assert large[:, 33500:].min() > 245


def test_what_restores_a_photo_is_chosen_as_restore_does(
    chromium, publish, litert_js, tmp_path
):
    """By the quality of a JPEG, else by the noise in the pixels."""
    write_site(tmp_path / "site", package=litert_js)
    photos = tmp_path / "site" / "photos"
    photos.mkdir()
    clean = skimage.data.astronaut()[30:190, 160:333]
    image = Image.fromarray(clean)
    image.save(photos / "coarse.jpg", quality=12)
    image.convert("L").save(photos / "gray.jpg", quality=10)
    for sigma in (12, 25, 40):
        noisy = GaussianNoise(sigma, "uint8")(clean, 1, np.random.default_rng(sigma))
        Image.fromarray(noisy).save(photos / f"noisy_{sigma}.png")
        Image.fromarray(noisy[..., 1]).save(photos / f"noisy_{sigma}_gray.png")
    dark = np.zeros_like(clean) + np.random.default_rng(0).integers(0, 20, clean.shape)
    Image.fromarray(dark.astype(np.uint8)).save(photos / "dark.png")
    names = sorted(file.name for file in photos.iterdir())
    address, _ = publish(tmp_path / "site")
    chromium.open(address, *DESKTOP)
    chromium.wait(f"{KEPT} && {READY}")
    found = chromium.run(
        "(async () => { const { restorerOf } = await import('./box/choosing.js');"
        "const { choice } = await (await fetch('box/models.json')).json();"
        "const all = []; for (const name of " + str(names) + ") {"
        "const blob = await (await fetch(`photos/${name}`)).blob();"
        "const bitmap = await createImageBitmap(blob);"
        "const { height, width } = bitmap;"
        "const context = new OffscreenCanvas(width, height).getContext('2d');"
        "context.drawImage(bitmap, 0, 0);"
        "const { data } = context.getImageData(0, 0, width, height);"
        "const photo = { pixels: data, height, width };"
        "all.push((await restorerOf(blob, photo, choice)).why); }"
        "return all; })()"
    )
    choices = [restorer_of(photos / name) for name in names]
    assert found == [f"{choice.model}, for {choice.found}" for choice in choices]
    assert {c.model for c in choices} == {"denoise_int8", "restore_jpeg_int8"}
    chromium.run("document.all['box-scale'].value = 1")
    chromium.choose_file("#photo", photos / "coarse.jpg")
    chromium.wait(FINISHED)
    assert text(chromium, "choice") == "restore_jpeg_int8, for a JPEG of quality 12"
    assert text(chromium, "file").startswith(
        "coarse_restored.jpg: JPEG, 173x160 pixels"
    )
    image.resize((64, 48)).filter(ImageFilter.GaussianBlur(2)).save(photos / "fine.png")
    chromium.run("document.all['box-status'].textContent = ''")
    chromium.choose_file("#photo", photos / "fine.png")
    chromium.wait(FINISHED)
    none = "noise of sigma [01], which is not what a model here is for; choose one."
    assert re.fullmatch(f"fine.png: {none}", text(chromium, "status"))
    assert chromium.run("document.all['box-result'].hidden")
    assert chromium.errors == []


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("palette.css", "a file of the site cannot be had"),
        (
            "box/litert/litert_wasm*.wasm",
            r"box/litert/litert_wasm\w*_internal\.wasm: the server answers 404",
        ),
    ],
)
def test_what_cannot_be_kept_is_said(
    open_chromium, site, publish, tmp_path, missing, said
):
    shutil.copytree(site, tmp_path / "site")
    for file in (tmp_path / "site").glob(missing):
        file.unlink()
    address, _ = publish(tmp_path / "site")
    page = open_chromium()
    page.open(address)
    page.wait("/^Not kept/.test(document.all['page-state'].textContent)")
    state = page.run("document.all['page-state'].textContent")
    assert re.fullmatch(rf"Not kept for offline use: {said}\.", state)
    assert page.run(READY)


@pytest.mark.parametrize("missing", ["box/box.js", "box/engines.js", "box/models.json"])
def test_a_site_that_is_not_whole_says_so(
    open_chromium, site, publish, tmp_path, missing
):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / missing).unlink()
    address, _ = publish(tmp_path / "site")
    page = open_chromium()
    page.open(address)
    page.wait("/^It cannot run: /.test(document.all['box-absent'].textContent)")


def test_a_new_version_is_taken_once_the_old_is_closed(
    chromium, publish, litert_js, tmp_path
):
    """After all others of the site, as it shows another."""
    write_site(tmp_path / "site", MODELS, litert_js)
    address, _ = publish(tmp_path / "site")
    models = "fetch('box/models.json').then(r => r.json()).then(m => m.models.length)"
    chromium.open(address)
    chromium.wait(KEPT)
    assert chromium.run(models) == 4
    chromium.run("caches.open('site of another folder').then(() => 0)")
    write_site(tmp_path / "site", MODELS[:1], litert_js)
    chromium.open(address)
    chromium.run(NEW_VERSION)
    assert chromium.run(models) == 4
    for _ in range(10):  # the old worker ends once all that it answers is done
        chromium.wait(KEPT)
        chromium.open("about:blank")
        chromium.run("new Promise(done => setTimeout(done, 200))")
        chromium.open(address)
        if chromium.run(models) == 1:
            break
    kept = set(chromium.run("caches.keys()"))
    assert len(kept) == 3
    assert "site of another folder" in kept
    assert chromium.run(models) == 1


@pytest.fixture(scope="module")
def files(photographs, tmp_path_factory):
    """Files of a tiny network in float32 and in int8, and of one that restores."""
    import keras

    from tfsr.data import BenchmarkFolder

    keras.utils.set_random_seed(0)
    network = carn_m(scale=2, filters=8, blocks=1, units=1, groups=2)
    images = BenchmarkFolder(photographs, 2)
    folder = tmp_path_factory.mktemp("files")
    for format in ("float32", "int8"):
        convert(network, 2, format, [SIZE], folder / f"{format}.tflite", images)
    network = ffdnet(filters=4, blocks=1, colors=4, color_blocks=1, expanded=8)
    convert(network, 1, "float32", [None], folder / "restorer.tflite", images)
    return folder


def on_gpu(file, pixels):
    """Returns what the desktop's GPU engine makes of an image."""
    engine = Delegate("gpu:float32")
    if missing := engine.missing():
        pytest.skip(missing)
    image = from_uint8(pixels)
    upscaler = DelegatedUpscaler(file, engine, [image])
    return to_uint8(upscaler(image)).astype(int)


def test_a_gpu_gives_what_the_desktop_does(
    open_chromium, files, litert_js, publish, tmp_path
):
    """A driver in software stands for it, which is taken where it is asked for."""
    models = [files / "float32.tflite", files / "int8.tflite"]
    write_site(tmp_path / "site", models, litert_js)
    pixels = photo(tmp_path / "face.png", *SIZE)
    chromium = open_chromium(*GPU)
    chromium.open(publish(tmp_path / "site")[0])
    chromium.wait(f"{KEPT} && {READY}")
    if not chromium.run("navigator.gpu?.requestAdapter().then(Boolean)"):
        pytest.skip("this Chromium has no WebGPU in software")
    engines = chromium.run("[...document.all['box-engine'].options].map(o => o.text)")
    assert engines[1:3] == [
        "GPU (google swiftshader), float32",
        "GPU (google swiftshader), float16",
    ]
    chromium.choose_file("#photo", tmp_path / "face.png")
    chromium.wait(FINISHED)
    assert "of WebAssembly" in text(chromium, "device")
    exact = on_gpu(models[0], pixels)
    assert np.abs(result(chromium) - exact).max() <= 1
    for engine, bits in ((0, 32), (1, 16)):
        change(chromium, "engine", engine)
        device = f"GPU (google swiftshader), float{bits}; Mozilla"
        assert text(chromium, "device").startswith(device)
        assert np.abs(result(chromium) - exact).max() <= 1
    chromium.run("document.all['box-engine'].value = 0")
    change(chromium, "model", "int8")
    assert text(chromium, "device").startswith("GPU (google swiftshader), float32")
    assert np.abs(result(chromium) - on_gpu(models[1], pixels)).max() <= 1
    assert chromium.errors == []


def test_a_gpu_restores_a_photo_smaller_than_a_tile(
    open_chromium, files, litert_js, publish, tmp_path
):
    """To its very border as the desktop does; of odd sides, which the network pads."""
    model = files / "restorer.tflite"
    write_site(tmp_path / "site", [model], litert_js)
    pixels = photo(tmp_path / "face.png", 21, 35)
    chromium = open_chromium(*GPU)
    chromium.open(publish(tmp_path / "site")[0])
    chromium.wait(f"{KEPT} && {READY}")
    if not chromium.run("navigator.gpu?.requestAdapter().then(Boolean)"):
        pytest.skip("this Chromium has no WebGPU in software")
    chromium.choose_file("#photo", tmp_path / "face.png")
    chromium.wait(FINISHED)
    change(chromium, "engine", 0)
    assert text(chromium, "device").startswith("GPU (google swiftshader), float32")
    restored = to_uint8(TFLiteUpscaler(model)(from_uint8(pixels))).astype(int)
    assert np.abs(result(chromium) - restored).max() <= 1
    assert chromium.errors == []
