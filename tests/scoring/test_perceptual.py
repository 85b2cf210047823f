import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from tfsr.metrics import METRICS, figures, key_of

ROOT = Path(__file__).parents[2]
NAMES = ("lpips", "dists")
STAND_IN = {  # for what the extra brings, whose downloads fail
    "torch/__init__.py": "class hub:\n    get_dir = lambda: '/cache/hub'",
    "torchvision/__init__.py": """
class models:
    class AlexNet_Weights:
        class DEFAULT:
            url = "https://weights.org/alexnet.pth"
    class VGG16_Weights:
        class DEFAULT:
            url = "https://weights.org/vgg16.pth"
""",
    "torchmetrics/__init__.py": "",
    "torchmetrics/image.py": """
from urllib.error import URLError

def LearnedPerceptualImagePatchSimilarity(**options):
    raise URLError("no route to host")
""",
    "torchmetrics/functional/__init__.py": "",
    "torchmetrics/functional/image/__init__.py": "",
    "torchmetrics/functional/image/dists.py": """
def DISTSNetwork():
    raise RuntimeError('invalid hash value (expected "3979", got "0000")\\nTraceback')
""",
}


@pytest.mark.parametrize(
    ("name", "reason", "file"),
    [
        ("lpips", "<urlopen error no route to host>", "alexnet.pth"),
        ("dists", 'invalid hash value (expected "3979", got "0000")', "vgg16.pth"),
    ],
)
def test_what_cannot_be_downloaded_is_named(tmp_path, photographs, name, reason, file):
    for path, text in STAND_IN.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    command = ["evaluate", "bicubic", photographs, "--scale", "2", "--metrics", name]
    done = subprocess.run(
        [sys.executable, "-m", "tfsr", *map(str, command)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"tfsr: {name}: no weights ({reason}); download https://weights.org/{file} "
        f"and put it into {Path('/cache/hub/checkpoints')}.\n"
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The folder of weights, random ones of the right shapes."""
    for module in ("torchmetrics", "torchvision"):
        pytest.importorskip(module, reason="LPIPS and DISTS need `tfsr[perceptual]`")
    import torch
    import torchvision

    from tfsr.scoring import perceptual

    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for make, weights in (
        (torchvision.models.alexnet, perceptual.NETWORKS["lpips"][1]),
        (torchvision.models.vgg16, perceptual.NETWORKS["dists"][1]),
    ):
        torch.save(make().state_dict(), folder / Path(weights.url).name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        perceptual.network.cache_clear()
        yield folder
        perceptual.network.cache_clear()


@pytest.fixture(scope="module")
def hr():
    return data.astronaut()[:80, 100:190]


@pytest.mark.parametrize("name", NAMES)
def test_a_greater_difference_is_farther(cache, hr, name):
    distance = METRICS[name].function
    noise = np.random.default_rng(0).normal(0, 10, hr.shape)
    assert distance(hr, hr, 0) == pytest.approx(0, abs=1e-6)
    near, far = (distance(hr + factor * noise, hr, 0) for factor in (1, 4))
    assert 1e-4 < near < far < 1


@pytest.mark.parametrize("name", NAMES)
def test_gray_and_borders(cache, hr, name):
    distance = METRICS[name].function
    gray = hr[..., :1]
    rgb = gray.repeat(3, axis=-1)
    assert distance(gray // 2, gray, 0) == distance(rgb // 2, rgb, 0) > 0
    sr = hr // 2
    assert distance(sr, hr, 7) == distance(sr[7:-7, 7:-7], hr[7:-7, 7:-7], 0)
    for image in (hr, gray):
        assert list(figures(image // 2, image, 0, (name,))) == [name]
        assert key_of(name, image.shape[-1]) == name


@pytest.mark.parametrize(("name", "side"), [("lpips", 32), ("dists", 16)])
def test_the_least_size(cache, hr, name, side):
    distance = METRICS[name].function
    image = hr[: side + 4, : side + 4]
    assert distance(image // 2, image, 2) > 0
    with pytest.raises(ValueError, match=rf"Received: shape=\({side - 2}, {side - 2}"):
        distance(image, image, 3)


def test_evaluate_reports_them(cache, report, photographs):
    names = "psnr,lpips,dists"
    scored = report(
        "evaluate", "bicubic", photographs, "--scale", 4, "--metrics", names
    )
    assert list(scored["mean"]) == ["psnr_y", "psnr_rgb", "lpips", "dists"]
    assert all(image["lpips"] > 0 and image["dists"] > 0 for image in scored["images"])
    assert "lower is better" in scored["protocol"]["lpips"]


@pytest.mark.parametrize("name", NAMES)
def test_damaged_weights_are_named(
    cache, run, photographs, name, monkeypatch, tmp_path
):
    from tfsr.scoring import perceptual

    file = Path(perceptual.NETWORKS[name][1].url).name
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / file).write_bytes((cache / file).read_bytes()[:1000])
    perceptual.network.cache_clear()
    command = ("evaluate", "bicubic", photographs, "--scale", 4, "--metrics", name)
    code, out, err = run(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{name}: no weights (" in err
    assert f"{file} and put it into {folder}" in err
