import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfsr.data import ImageCache, ImageSurvey, imresize, read_image
from tfsr.data.cache import WithSynthetic
from tfsr.errors import InputError

# Builds a cache, saying "ready" first and waiting for a line before it starts. Every
# decoded image adds a line to the file `log`; image number `die_at` kills the process.
BUILD = """
import os, signal, sys, time
import tfsr.data.cache as cache
from tfsr.data import ImageCache

photographs, folder, log, die_at = sys.argv[1:]
read_image, count = cache.read_image, 0

def slow_read_image(*args):
    global count
    count += 1
    if count == int(die_at):
        os.kill(os.getpid(), signal.SIGKILL)
    with open(log, "a") as file:
        file.write("decoded\\n")
    time.sleep(0.1)
    return read_image(*args)

cache.read_image = slow_read_image
print("ready", flush=True)
sys.stdin.readline()
print(ImageCache([photographs], (2,), folder).folder)
"""


def builder(photographs, folder, log, die_at=0):
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, photographs, folder, log, str(die_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def save(file, seed, height=20, width=24):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def check_pairs(cache, folder):
    files = sorted(folder.iterdir())
    assert len(cache) == len(files)
    for i, file in enumerate(files):
        for s in cache.scales:
            hr = read_image(file)
            hr = hr[: hr.shape[0] // s * s, : hr.shape[1] // s * s]
            pair = cache.pair(i, s)
            np.testing.assert_array_equal(pair.hr, hr)
            np.testing.assert_array_equal(pair.lr, imresize(hr, 1 / s))
            assert cache.shapes(s)[i] == pair.lr.shape


def test_pairs_are_those_of_the_files(photographs, tmp_path):
    check_pairs(ImageCache([photographs], (2, 3, 4), tmp_path / "cache"), photographs)


def test_lr_files_are_kept_as_they_are(tmp_path):
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    hr.mkdir()
    lr.mkdir()
    for seed, (name, height) in enumerate({"a": 20, "b": 13}.items()):
        save(hr / f"{name}.png", seed, height)
        for s, ending in ((2, ""), (3, "x3")):
            save(lr / f"{name}{ending}.png", 9 * s + seed, height // s, 24 // s)
    made = ImageCache([hr], (2, 3), tmp_path)
    cache = ImageCache([hr], (2, 3), tmp_path, lr_folders=[lr])
    assert cache.folder != made.folder
    for i, name in enumerate("ab"):
        for s, ending in ((2, ""), (3, "x3")):
            pair = cache.pair(i, s)
            np.testing.assert_array_equal(pair.hr, made.pair(i, s).hr)
            expected = read_image(lr / f"{name}{ending}.png")
            np.testing.assert_array_equal(pair.lr, expected)
    save(lr / "b.png", 0, 7, 12)
    for kind, arguments in ((ImageCache, [tmp_path]), (ImageSurvey, [])):
        with pytest.raises(InputError, match=r"b\.png: 7x12 where HR asks for 6x12"):
            kind([hr], (2,), *arguments, lr_folders=[lr])
    (lr / "b.png").unlink()
    with pytest.raises(InputError, match=r"bx2\.png: missing"):
        ImageCache([hr], (2,), tmp_path, lr_folders=[lr])


def test_a_folder_named_twice_has_its_lr_files_in_turn(tmp_path):
    hr, folders = tmp_path / "hr", [tmp_path / "sharp", tmp_path / "blurred"]
    for folder in (hr, *folders):
        folder.mkdir()
    save(hr / "a.png", 0, 20)
    for seed, folder in enumerate(folders, 1):
        save(folder / "a.png", seed, 10, 12)
    cache = ImageCache([hr, hr], (2,), tmp_path, lr_folders=folders)
    for i, folder in enumerate(folders):
        np.testing.assert_array_equal(cache.pair(i, 2).lr, read_image(folder / "a.png"))


def test_grayscale(photographs, tmp_path):
    cache = ImageCache([photographs], (2,), tmp_path, channels=1)
    file = min(photographs.iterdir())
    hr = read_image(file, 1)
    pair = cache.pair(0, 2)
    np.testing.assert_array_equal(pair.hr, hr[: len(hr) // 2 * 2, :])
    assert pair.lr.shape == (len(hr) // 2, hr.shape[1] // 2, 1)


def test_scale_1_stores_no_lr(photographs, tmp_path):
    cache = ImageCache([photographs], (1,), tmp_path)
    survey = ImageSurvey([photographs], (1,))
    assert survey.bytes == (cache.folder / "pixels.bin").stat().st_size
    for i, file in enumerate(sorted(photographs.iterdir())):
        pair = cache.pair(i, 1)
        np.testing.assert_array_equal(pair.hr, read_image(file))
        np.testing.assert_array_equal(pair.lr, pair.hr)
        assert cache.shapes(1)[i] == pair.hr.shape


def test_excluded_images_are_left_out(photographs, tmp_path):
    images = ImageCache([photographs], (2,), tmp_path, exclude=["coffee", "rocket"])
    names = [images.pair(i, 2).name for i in range(len(images))]
    assert names == [str(photographs / f"{n}.png") for n in ("astronaut", "chelsea")]
    assert len(ImageSurvey([photographs], (2,), exclude=["coffee"])) == 3
    assert len(ImageCache([photographs], (2,), tmp_path)) == 4


def test_an_excluded_name_that_is_not_there_is_an_error(photographs, tmp_path):
    with pytest.raises(InputError, match="no image is named tea; see `exclude`"):
        ImageCache([photographs], (2,), tmp_path, exclude=["coffee", "tea"])


def test_images_of_several_folders(photographs, tmp_path):
    (tmp_path / "more").mkdir()
    save(tmp_path / "more" / "noise.png", seed=0)
    cache = ImageCache([photographs, tmp_path / "more"], (2,), tmp_path / "cache")
    assert len(cache) == 5
    assert cache.pair(4, 2).hr.shape == (20, 24, 3)


def test_the_same_images_are_built_once(photographs, tmp_path, monkeypatch):
    first = ImageCache([photographs], (2,), tmp_path)
    monkeypatch.setattr("tfsr.data.cache.read_image", None)  # a build would call it
    again = ImageCache([photographs], (2,), tmp_path)
    assert again.folder == first.folder
    check_pairs(again, photographs)


@pytest.mark.parametrize(
    ("scales", "channels"), [((3,), 3), ((2, 3), 3), ((2,), 1)], ids=str
)
def test_what_is_stored_decides_the_folder(photographs, tmp_path, scales, channels):
    plain = ImageCache([photographs], (2,), tmp_path)
    assert ImageCache([photographs], scales, tmp_path, channels).folder != plain.folder


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed"])
def test_a_changed_image_gets_a_new_cache(tmp_path, change):
    images = tmp_path / "images"
    images.mkdir()
    save(images / "a.png", seed=0)
    save(images / "b.png", seed=1)
    before = ImageCache([images], (2,), tmp_path / "cache")
    if change == "content":
        save(images / "a.png", seed=2)
        os.utime(images / "a.png", ns=(1, 1))
    elif change == "added":
        save(images / "c.png", seed=2)
    elif change == "removed":
        (images / "a.png").unlink()
    else:
        (images / "a.png").rename(images / "z.png")
    after = ImageCache([images], (2,), tmp_path / "cache")
    assert after.folder != before.folder
    check_pairs(after, images)


def test_two_processes_build_it_once(photographs, tmp_path):
    log = tmp_path / "log"
    processes = [builder(photographs, tmp_path / "cache", log) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    folders = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert folders[0] == folders[1] != ""
    assert log.read_text().splitlines() == ["decoded"] * 4
    check_pairs(ImageCache([photographs], (2,), tmp_path / "cache"), photographs)


def test_a_killed_build_is_started_again(photographs, tmp_path):
    process = builder(photographs, tmp_path / "cache", tmp_path / "log", die_at=3)
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cache").glob("*.building/pixels.bin"))) == 1
    check_pairs(ImageCache([photographs], (2,), tmp_path / "cache"), photographs)
    assert list((tmp_path / "cache").glob("*.building")) == []


def test_of_two_builders_the_one_that_is_not_killed_has_it(photographs, tmp_path):
    """FUZZ=14 kills 42 times; each time one of two, at a random moment of its work."""
    whole = ImageCache([photographs], (2,), tmp_path / "whole").folder
    expected = {file.name: file.read_bytes() for file in whole.iterdir()}
    rng, kills = np.random.default_rng(0), 0
    while kills < 3 * int(os.environ.get("FUZZ", "1")):
        pair = [builder(photographs, tmp_path / "cache", os.devnull) for _ in range(2)]
        for process in pair:
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(rng.uniform(0, 0.5))
        killed, other = rng.permutation(pair)
        killed.kill()
        killed.communicate()
        kills += killed.returncode == -signal.SIGKILL  # it had not ended by itself
        folder = Path(other.communicate(timeout=60)[0].strip())
        assert other.returncode == 0
        assert {f.name: f.read_bytes() for f in folder.iterdir()} == expected
        assert list(folder.parent.glob("*.building")) == []
        shutil.rmtree(folder)


@pytest.mark.parametrize("change", [-1, 1])
def test_damaged_pixels_are_named(photographs, tmp_path, change):
    pixels = ImageCache([photographs], (2,), tmp_path).folder / "pixels.bin"
    os.truncate(pixels, pixels.stat().st_size + change)
    with pytest.raises(InputError, match=rf"{pixels}: \d+ bytes where \d+ belong"):
        ImageCache([photographs], (2,), tmp_path)


def test_a_damaged_index_is_named(photographs, tmp_path):
    index = ImageCache([photographs], (2,), tmp_path).folder / "index.json"
    os.truncate(index, index.stat().st_size // 2)
    with pytest.raises(InputError, match=rf"{index}: damaged .* delete .* built again"):
        ImageCache([photographs], (2,), tmp_path)


def test_an_image_that_disappears_while_decoding_is_named(
    photographs, tmp_path, monkeypatch
):
    images = shutil.copytree(photographs, tmp_path / "images")

    def removing(file, channels):
        max(images.iterdir()).unlink(missing_ok=True)
        return read_image(file, channels)

    monkeypatch.setattr("tfsr.data.cache.read_image", removing)
    with pytest.raises(InputError, match=r"images/coffee\.png: no such file"):
        ImageCache([images], (2,), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/index.json"))


@pytest.mark.parametrize("scales", [(2,), (2, 3, 4)])
def test_a_survey_promises_what_the_cache_holds(photographs, tmp_path, scales):
    images = shutil.copytree(photographs, tmp_path / "images")
    turned = Image.open(images / "rocket.png")
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(images / "turned.jpg", exif=exif)
    survey = ImageSurvey([images], scales)
    cache = ImageCache([images], scales, tmp_path / "cache")
    assert len(survey) == len(cache) == 5
    for s in scales:
        assert survey.shapes(s) == cache.shapes(s)
    assert survey.bytes == (cache.folder / "pixels.bin").stat().st_size


def test_a_survey_names_what_it_cannot_read(tmp_path):
    save(tmp_path / "tiny.png", seed=0, height=3)
    with pytest.raises(InputError, match=r"tiny\.png: smaller than the scale 4"):
        ImageSurvey([tmp_path], (4,))
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(InputError, match=r"broken\.png: not a"):
        ImageSurvey([tmp_path], (2,))


def test_an_unreadable_image_leaves_no_cache(photographs, tmp_path):
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "a.png", seed=0)
    (tmp_path / "images" / "broken.png").write_text("no image")
    for _ in range(2):
        with pytest.raises(InputError, match=r"broken\.png: not a"):
            ImageCache([tmp_path / "images"], (2,), tmp_path / "cache")


def test_an_image_smaller_than_the_scale_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "tiny.png", seed=0, height=3)
    with pytest.raises(InputError, match=r"tiny\.png: smaller than the scale 4"):
        ImageCache([tmp_path / "images"], (2, 4), tmp_path / "cache")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: not a folder"):
        ImageCache([tmp_path / "nowhere"], (2,), tmp_path / "cache")


def test_hr_alone_is_one_cache_for_all_scales(photographs, tmp_path):
    kept = [
        ImageCache([photographs], scales, tmp_path, with_lr=False)
        for scales in ((1,), (2, 3))
    ]
    assert kept[0].folder == kept[1].folder
    whole = ImageCache([photographs], (2, 3), tmp_path)
    for scale in (2, 3):
        assert kept[1].shapes(scale) == whole.shapes(scale)
        pair = kept[1].pair(0, scale)
        np.testing.assert_array_equal(pair.hr, whole.pair(0, scale).hr)
        np.testing.assert_array_equal(pair.lr, pair.hr)
    survey = ImageSurvey([photographs], (2, 3), with_lr=False)
    assert survey.shapes(3) == kept[1].shapes(3)
    assert survey.bytes == (kept[1].folder / "pixels.bin").stat().st_size


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: [],
        lambda index: {"bytes": index["bytes"]},
        lambda index: {**index, "images": []},
        lambda index: {**index, "images": [{}]},
        lambda index: {**index, "bytes": str(index["bytes"])},
        lambda index: of_first(index, offset=-1),
        lambda index: of_first(index, offset=index["bytes"]),
        lambda index: of_first(index, offset="0"),
        lambda index: of_first(index, shape=[2, 2]),
        lambda index: of_first(index, shape=[2, 2, 3]),
        lambda index: of_first(index, shape=[10**9, 10**9, 3]),
        lambda index: of_first(index, shape=None),
    ],
)
def test_an_index_of_wrong_content_is_named(photographs, tmp_path, damage):
    folder = ImageCache([photographs], (2,), tmp_path).folder
    index = folder / "index.json"
    index.write_text(json.dumps(damage(json.loads(index.read_text()))))
    with pytest.raises(InputError, match=r"index\.json: damaged.*; delete \S+ to have"):
        ImageCache([photographs], (2,), tmp_path)


def of_first(index, **values):
    index["images"][0]["hr"] |= values
    return index


@pytest.mark.parametrize("with_lr", [True, False])
def test_drawn_images_come_every_so_often(tmp_path, with_lr):
    (tmp_path / "hr").mkdir()
    for i in range(6):
        save(tmp_path / "hr" / f"{i}.png", i)
    cache = ImageCache([tmp_path / "hr"], (2,), tmp_path / "cache", with_lr=with_lr)
    synthetic = [np.full((9, 8, 3), value, np.uint8) for value in (0, 255)]
    images = WithSynthetic(cache, synthetic, every=3)
    assert len(images) == 6 + 3
    assert images.shapes(2) == cache.shapes(2) + 3 * [(4, 4, 3)]
    for position, value in ((6, 0), (7, 255), (8, 0)):
        pair = images.pair(position, 2)
        assert pair.hr.shape == (8, 8, 3)
        assert np.all(pair.hr == value)
        assert pair.lr.shape == ((4, 4, 3) if with_lr else (8, 8, 3))
        assert np.all(pair.lr == value)
    assert images.pair(5, 2).name == cache.pair(5, 2).name
