import os
import sys
import types

import numpy as np
import pytest

from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.models import single_scale
from tfsr.scoring.evaluation import psnr
from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8, to_uint8
from tfsr.zoo.carn_checkpoints import import_carn


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="the authors' checkpoints need PyTorch")


def random_state(torch, filters, groups, recursive):
    """A state dict named like those of https://github.com/nmhkahn/CARN-pytorch."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def conv(name, c_in, c_out, k, groups=1):
        fan_in = c_in // groups * k * k
        for key, shape in (("weight", (c_in // groups, k, k)), ("bias", ())):
            values = torch.rand((c_out, *shape), generator=generator) * 2 - 1
            state[f"{name}.{key}"] = values / fan_in**0.5

    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        state[f"{name}.shifter.weight"] = torch.eye(3).reshape(3, 3, 1, 1)
        state[f"{name}.shifter.bias"] = sign * torch.tensor([0.4488, 0.4371, 0.4040])
    conv("entry", 3, filters, 3)
    for b in (1, 2, 3):
        for u in (1, 2, 3):
            if u == 1 or not recursive:
                conv(f"b{b}.b{u}.body.0", filters, filters, 3, groups or 1)
                conv(f"b{b}.b{u}.body.2", filters, filters, 3, groups or 1)
                if groups:
                    conv(f"b{b}.b{u}.body.4", filters, filters, 1)
            conv(f"b{b}.c{u}.body.0", filters * (u + 1), filters, 1)
        conv(f"c{b}.body.0", filters * (b + 1), filters, 1)
    for name, step in (
        ("2.body.0", 2),
        ("3.body.0", 3),
        ("4.body.0", 2),
        ("4.body.3", 2),
    ):
        conv(f"upsample.up{name}", filters, filters * step**2, 3, groups or 1)
    conv("exit", filters, 3, 3)
    return state


def forward(torch, state, lr, scale):
    """The authors' network, written from their code with PyTorch's own operations."""

    def conv(name, x):
        weight = state[f"{name}.weight"]
        groups = x.shape[1] // weight.shape[1]
        padding = weight.shape[-1] // 2
        return torch.nn.functional.conv2d(
            x, weight, state[f"{name}.bias"], padding=padding, groups=groups
        )

    def unit(name, x):
        out = conv(f"{name}.body.2", torch.relu(conv(f"{name}.body.0", x)))
        if f"{name}.body.4.weight" in state:
            out = conv(f"{name}.body.4", torch.relu(out))
        return torch.relu(out + x)

    def cascade(x, units, fuses):
        features, out = x, x
        for unit_, fuse in zip(units, fuses, strict=True):
            features = torch.cat([features, unit_(out)], dim=1)
            out = torch.relu(conv(f"{fuse}.body.0", features))
        return out

    def block(b, x):
        names = [
            f"b{b}.b{u}" if f"b{b}.b{u}.body.0.weight" in state else f"b{b}.b1"
            for u in (1, 2, 3)
        ]
        units = [lambda x, name=name: unit(name, x) for name in names]
        return cascade(x, units, [f"b{b}.c{u}" for u in (1, 2, 3)])

    x = conv("sub_mean.shifter", torch.from_numpy(lr.transpose(0, 3, 1, 2)))
    x = conv("entry", x)
    blocks = [lambda x, b=b: block(b, x) for b in (1, 2, 3)]
    x = cascade(x, blocks, ["c1", "c2", "c3"])
    for i, step in enumerate((2, 2) if scale == 4 else (scale,)):
        x = torch.relu(conv(f"upsample.up{scale}.body.{3 * i}", x))
        x = torch.nn.functional.pixel_shuffle(x, step)
    x = conv("add_mean.shifter", conv("exit", x))
    return x.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("filters", "groups", "recursive"),
    [(8, 2, True), (8, 4, False), (8, None, False), (8, 1, True)],
)
def test_imported_model_equals_the_authors_network(
    tmp_path, torch, filters, groups, recursive
):
    state = random_state(torch, filters, groups, recursive)
    torch.save(state, tmp_path / "carn.pth")
    model = import_carn(tmp_path / "carn.pth")
    lr = np.random.default_rng(0).random((2, 5, 7, 3), dtype="float32")
    for scale in (2, 3, 4):
        expected = forward(torch, state, lr, scale)
        np.testing.assert_allclose(single_scale(model, scale)(lr), expected, atol=1e-5)


# The authors' CARN-M measured by this project's protocol.
@pytest.mark.parametrize(("scale", "expected"), [(2, 37.678), (3, 34.058), (4, 31.883)])
def test_released_weights_on_set5(shared, torch, scale, expected):
    file = shared / "weights/carn_m.pth"
    if not file.is_file():
        pytest.skip(f"{file} is missing")
    upscaler = KerasUpscaler(import_carn(file), scale)
    figures = [
        psnr(to_uint8(upscaler(from_uint8(pair.lr))), pair.hr, scale)
        for pair in BenchmarkFolder(shared / "data/test/Set5", scale)
    ]
    assert np.mean(figures) == pytest.approx(expected, abs=0.005)


def without(*names):
    return lambda state: {k: v for k, v in state.items() if k not in names}


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: {},
        lambda state: list(state.values()),
        lambda state: {**state, "epoch": 3},
        lambda state: {**state, "b4.extra.weight": state["exit.bias"]},
        lambda state: {**state, "exit.bias": state["exit.bias"][:2]},
        lambda state: {**state, "b1.b1.body.0.weight": state["exit.bias"]},
        lambda state: {**state, "b2.c1.body.0.weight": state["exit.weight"]},
        lambda state: {**state, "exit.bias": state["exit.bias"][:0]},
        lambda state: {**state, 5: state["exit.bias"]},
        without("exit.weight"),
        without("b2.b1.body.4.weight"),
        without("upsample.up3.body.0.bias"),
    ],
    ids=[
        "empty",
        "list",
        "number",
        "extra",
        "bias_shape",
        "dimensions",
        "kernel_shape",
        "no_values",
        "no_name",
        "no_exit",
        "no_pointwise",
        "one_scale_missing",
    ],
)
def test_other_checkpoints_are_named(tmp_path, torch, damage):
    file = tmp_path / "other.pth"
    torch.save(damage(random_state(torch, 8, 2, True)), file)
    with pytest.raises(InputError, match=r"other\.pth: not a .*checkpoint"):
        import_carn(file)


class Tensor(np.ndarray):
    """As much of PyTorch's as is used."""

    def float(self):
        return self

    def numpy(self):
        return np.asarray(self)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 0, 3, 3), r"b1\.b1\.body\.0\.weight is empty"),
        ((0, 8, 3, 3), r"b1\.b1\.body\.0\.weight is empty"),
        ((2**20, 1, 1, 1), "its widths do not fit"),  # 16 TB of other kernels
    ],
)
def test_widths_without_sense_are_named(tmp_path, monkeypatch, shape, message):
    state = {
        "b1.b1.body.0.weight": np.zeros(shape, np.float32).view(Tensor),
        "b1.b1.body.4.weight": np.zeros((8, 8, 1, 1), np.float32).view(Tensor),
        "c1.body.0.weight": np.zeros((8, 16, 1, 1), np.float32).view(Tensor),
    }
    fake = types.SimpleNamespace(load=lambda file, **options: state)
    monkeypatch.setitem(sys.modules, "torch", fake)
    (tmp_path / "m.pth").touch()
    with pytest.raises(InputError, match=rf"m\.pth: not a .*checkpoint \({message}"):
        import_carn(tmp_path / "m.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02", b"PK\3\4"])
def test_files_that_are_no_checkpoint_are_named(tmp_path, torch, content):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.pth: not a PyTorch checkpoint"):
        import_carn(tmp_path / "broken.pth")


def test_a_truncated_checkpoint_is_named(tmp_path, torch):
    file = tmp_path / "half.pth"
    torch.save(random_state(torch, 8, 2, True), file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"half\.pth: not a PyTorch checkpoint"):
        import_carn(file)


def test_a_missing_checkpoint_is_named(tmp_path, torch):
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        import_carn(tmp_path / "nowhere.pth")


class Malicious:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint_runs_no_code(tmp_path, torch, zipped):
    state = {**random_state(torch, 8, 2, True), "x": Malicious(tmp_path / "proof")}
    file = tmp_path / "evil.pth"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"evil\.pth: not a PyTorch checkpoint"):
        import_carn(file)
    assert not (tmp_path / "proof").exists()
    torch.load(file, weights_only=False)
    assert (tmp_path / "proof").exists()  # so it would have
