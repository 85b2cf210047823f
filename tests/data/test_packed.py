import zipfile

import numpy as np
import pytest
from PIL import Image

from tfsr.data import BenchmarkFolder, ImageCache, PatchSampler, list_images, read_image
from tfsr.data.packed import unpack, write_pack
from tfsr.errors import InputError


@pytest.fixture
def make_pack(photographs, tmp_path):
    """Packs the photographs; returns the file and the report."""

    def make(megabytes=1, channels=3, scales=(2,), side=32):
        cache = tmp_path / "cache"
        images = ImageCache([photographs], scales, cache, channels, with_lr=False)
        validation = [BenchmarkFolder(photographs, s, 3).first(2) for s in scales]
        file = tmp_path / "photographs.pack"
        return file, write_pack(file, megabytes, images, side, validation, channels)

    return make


@pytest.mark.parametrize("channels", [1, 3, "y"])
def test_pieces_cover_the_images(make_pack, photographs, tmp_path, channels):
    file, report = make_pack(channels=channels)
    folder = unpack(file, tmp_path / "unpacked", channels)
    pieces = [read_image(f, channels) for f in list_images(folder / "train")]
    images = [read_image(f, channels) for f in list_images(photographs)]
    # 61x70 to 64x79 pixels: two pieces each, the last one four; odd rows are cut off.
    assert len(pieces) == report["pieces"] == report["pieces_in_all"] == 10
    assert all(32 <= side < 64 or side >= 60 for p in pieces for side in p.shape[:2])
    halves = [images[0][:60, :35], images[0][:60, 35:], images[3][:32, :39]]
    for half in halves:
        assert any(np.array_equal(half, piece) for piece in pieces)


def test_validation_is_that_of_the_folder(make_pack, photographs, tmp_path):
    file, report = make_pack(scales=(2, 3))
    folder = unpack(file, tmp_path / "unpacked", 3) / "val"
    assert report["validation_images"] == 2
    for scale in (2, 3):
        before, after = (
            BenchmarkFolder(photographs, scale),
            BenchmarkFolder(folder, scale),
        )
        assert len(after) == 2
        for ours, theirs in zip(after, before, strict=False):
            np.testing.assert_array_equal(ours.hr, theirs.hr)
            np.testing.assert_array_equal(ours.lr, theirs.lr)


def test_lr_files_of_the_validation_are_packed(photographs, tmp_path):
    folder = tmp_path / "pairs"
    for name, side in (("HR", 8), ("LR_bicubic/X2", 4)):
        (folder / name).mkdir(parents=True)
        gray = Image.new("RGB", (side, side), (side, 0, 0))
        gray.save(folder / name / ("a.png" if name == "HR" else "ax2.png"))
    images = ImageCache([photographs], (2,), tmp_path / "cache")
    file = tmp_path / "a.pack"
    write_pack(file, 1, images, 32, [BenchmarkFolder(folder, 2)], 3)
    (pair,) = BenchmarkFolder(unpack(file, tmp_path / "unpacked", 3) / "val", 2)
    assert (pair.lr == [4, 0, 0]).all()


def test_a_pack_is_no_larger_than_asked(photographs, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)  # 2.3 MB as a PNG
    (tmp_path / "noise").mkdir()
    Image.fromarray(pixels).save(tmp_path / "noise" / "noise.png")
    images = ImageCache([tmp_path / "noise"], (2,), tmp_path / "cache", with_lr=False)
    validation = [BenchmarkFolder(photographs, 2)]
    file = tmp_path / "noise.pack"
    report = write_pack(file, 1, images, 100, validation, 3)
    assert 0.9 * 2**20 < report["size_bytes"] == file.stat().st_size <= 2**20
    assert 20 < report["pieces"] < report["pieces_in_all"] == 81
    with pytest.raises(
        InputError, match=r"noise\.pack: 1 megabytes are too few for one"
    ):
        write_pack(file, 1, images, 900, validation, 3)


def test_patches_of_a_pack_are_drawn_as_any(make_pack, tmp_path):
    folder = unpack(make_pack()[0], tmp_path / "unpacked", 3)
    images = ImageCache([folder / "train"], (2,), tmp_path / "cache")
    lr, hr = PatchSampler(images, patch=8, batch=4)[0]
    assert (lr.shape, hr.shape) == ((4, 8, 8, 3), (4, 16, 16, 3))


def test_what_cannot_be_unpacked_is_named(make_pack, tmp_path):
    file, _ = make_pack()
    with pytest.raises(
        InputError, match=r"^\S+\.pack: has images of channels = 3, where"
    ):
        unpack(file, tmp_path / "unpacked", 1)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    file.write_bytes(damaged)
    with pytest.raises(InputError, match=r"\.pack: not a file of tfsr pack \(Bad CRC"):
        unpack(file, tmp_path / "unpacked", 3)
    assert not any(p.suffix == "" for p in (tmp_path / "unpacked").iterdir())
    file.write_text("no archive")
    with pytest.raises(
        InputError, match=r"\.pack: not a file of tfsr pack \(File is not"
    ):
        unpack(file, tmp_path / "unpacked", 3)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.json", '{"format": 2}')
    with pytest.raises(InputError, match=r"^\S+\.pack: is of another version of tfsr"):
        unpack(file, tmp_path / "unpacked", 3)


def test_the_command_packs_and_names_what_is_missing(
    run, write_config, photographs, tmp_path
):
    config = write_config(tmp_path / "tiny.toml")
    file = tmp_path / "tiny.pack"
    code, out, _ = run("pack", config, "-o", file, "--megabytes", "1")
    assert code == 0
    assert "22 of 22 pieces of the training images and 4 validation images" in out
    assert f"--set data.pack={file}" in out
    missing = ("--set", f"data.pack={tmp_path / 'missing.pack'}")
    code, _, err = run("train", config, "--out", tmp_path / "run", *missing)
    assert code == 2
    assert err.endswith("missing.pack: No such file or directory.\n")
    lr = ("--set", f'data.train_lr=["{photographs}"]')
    code, _, err = run("pack", config, "-o", file, *lr)
    assert code == 2
    assert "train_lr: LR files cannot be packed" in err
