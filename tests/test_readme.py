"""The README's commands run, in its order, on small images and networks."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHORT = [
    *("--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"),
    *("--set", "train.batch=1", "--set", "train.patch=8"),
    *(
        "--set",
        "model.filters=8",
        "--set",
        "model.blocks=1",
        "--set",
        "data.val_images=1",
    ),
]
SHORTER = {
    "train": [*SHORT, "--set", "model.groups=2"],
    "study": [*SHORT, "--set", 'data.train=["photos/train"]'],
    "benchmark": ["--runs", "1"],
}
ELSEWHERE = {
    "import-carn": "the authors' weights are not in the repository: test_weights.py",
    "--android": "there is no phone: tflite/test_android.py",
    "--serve": "does not end: report/test_server.py",
}


def commands():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("tfsr ")]


@pytest.fixture
def reader(tmp_path, monkeypatch, photographs):
    """What the reader has: the configs, images, and models of earlier commands."""
    import keras

    import tfsr
    from tfsr.data import BenchmarkFolder
    from tfsr.models import carn_m
    from tfsr.tflite.convert import convert

    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", "configs")
    for folder in (
        *("photos", "photos/train", "photos/held_out", "holiday"),
        *("data/train/DIV2K", "data/val/crops512"),
        *(f"data/test/{name}" for name in ("Set5", "Set14", "B100", "LIVE1_gray")),
    ):
        Path(folder).mkdir(parents=True)
        for image in sorted(photographs.iterdir())[:2]:
            shutil.copy(image, folder)
    shutil.copy(photographs / "coffee.png", "photo.jpg")  # known by its content
    keras.utils.set_random_seed(0)
    carn_m((2, 3, 4), filters=8, blocks=1, groups=2).save("carn_m.keras")
    for run in (Path("demo/run"), Path("runs/carn_m")):
        run.mkdir(parents=True)
        shutil.copy("carn_m.keras", run / "model.keras")
    images = BenchmarkFolder("photos", 2)
    model = tfsr.load_model("carn_m.keras")
    convert(model, 2, "int8", [None], Path("demo/carn_m_x2_int8.tflite"), images)


def test_commands_run(reader, run):
    done = []
    litert_js = ROOT / "node_modules"
    if litert_js.is_dir():
        Path("node_modules").symlink_to(litert_js)
    for words in commands():
        if "--try" in words and not litert_js.is_dir():
            del words[(box := words.index("--try")) : box + 2]
        if skipped := [word for word in words if word in ELSEWHERE]:
            done += skipped
            continue
        command = words[1]
        code, _, err = run(*words[1:], *SHORTER.get(command, []))
        assert code == 0, f"{shlex.join(words)}\n{err}"
        done.append(command)
    assert done.count("evaluate") >= 3
    assert {*ELSEWHERE, "upscale", "train", "study", "convert", "report"} <= {*done}
    for picture in ("photo_x2.png", "large", "restored.png", "report/index.html"):
        assert Path(picture).exists()
