import keras
import numpy as np
import pytest

from networks import small
from tfsr.data import BenchmarkFolder
from tfsr.graph.graph import run_node
from tfsr.layers import GroupedConv2D
from tfsr.metrics import luma
from tfsr.models import single_scale
from tfsr.scoring.evaluation import psnr
from tfsr.tflite.lowering.engine import lower, name_of
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization.calibration import calibration_patches
from tfsr.tflite.quantization.constraints import is_of_pixels
from tfsr.tflite.quantization.mixed_precision import drop_ranges, node_names
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.sensitivity import measure_sensitivity
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.upscalers import from_uint8

NETWORKS = {
    "carn_m": lambda: small("carn_m", 2, filters=8, units=2),
    "scn": lambda: small("scn", 2, filters=4),
    "cmsc": lambda: single_scale(small("cmsc", 2), 2),
}


@pytest.fixture(scope="module")
def folder(photographs):
    return BenchmarkFolder(photographs, 2).first(2)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_range_and_kernel_has_one_row(name, folder):
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    patches = calibration_patches(folder)[:2]
    report = measure_sensitivity(model, 2, folder.first(1), patches)
    rows = {"activation": [], "kernel": [], "kernels": []}
    for row in report["layers"]:
        rows[row["kind"]] += [row["name"], *row.get("shares", ())]
        assert row["loss_db"] >= 0
    graph = lower(model, INT8_RULES)
    ranges = choose_ranges(graph, observe(graph, patches))
    names = node_names(graph)
    learned = [i for i, b in ranges.items() if not is_of_pixels(b)]
    assert sorted(rows["activation"]) == sorted(names[i] for i in learned)
    convs = [n.operation for n in graph.nodes if hasattr(n.operation, "kernel")]
    assert sorted(rows["kernel"]) == sorted({name_of(conv) for conv in convs})
    assert rows["kernels"] == ["all"]
    losses = [row["loss_db"] for row in report["layers"]]
    assert losses == sorted(losses, reverse=True)


def test_a_loss_is_of_its_range_alone(folder):
    keras.utils.set_random_seed(0)
    model = NETWORKS["scn"]()
    patches = calibration_patches(folder)[:2]
    report = measure_sensitivity(model, 2, folder, patches)
    rows = {row["name"]: row for row in report["layers"] if row["kind"] == "activation"}
    graph = lower(model, INT8_RULES)
    ranges = choose_ranges(graph, observe(graph, patches))
    (i,) = (i for i, name in node_names(graph).items() if name == "skip")
    assert rows["skip"]["shares"] == []
    low, high = ranges[i]
    assert rows["skip"]["range"] == [low, high]

    def call(node, *args, **kwargs):
        outputs = np.asarray(node.operation(*args, **kwargs))
        if node is graph.nodes[i]:
            step = (high - low) / 255
            outputs = np.clip(np.rint(outputs / step), -round(-low / step), None) * step
            outputs = np.minimum(outputs, low + 255 * step).astype(np.float32)
        return outputs

    errors, added = [], []
    for pair in folder:  # smaller than a crop
        y = luma(pair.hr)[2:-2, 2:-2]
        exact, rounded = (
            luma(np.clip(np.asarray(graph.run([lr], run)[0])[0], 0, 1) * 255.0)
            for lr, run in (
                (from_uint8(pair.lr)[None], call_of) for call_of in (run_node, call)
            )
        )
        exact, rounded = exact[2:-2, 2:-2], rounded[2:-2, 2:-2]
        errors.append(np.mean((exact - y) ** 2))
        added.append(rounded - exact)
    shift = np.mean([image.mean() for image in added])
    losses = [
        10 * np.log10(1 + np.mean((image - shift) ** 2) / error)
        for image, error in zip(added, errors, strict=True)
    ]
    assert rows["skip"]["loss_db"] == pytest.approx(np.mean(losses), rel=0.02)


def test_fine_sums_have_rows(folder):
    model, patches = NETWORKS["scn"](), calibration_patches(folder)[:1]
    report = measure_sensitivity(model, 2, folder.first(1), patches, fine_sums=True)
    rows = {row["name"] for row in report["layers"] if row["kind"] == "kernel"}
    assert any(name.startswith("sum_") for name in rows)
    assert not rows & {"skip", "tail"}  # one convolution now


def test_one_kernel_is_rounded_alone():
    graph = lower(NETWORKS["scn"](), INT8_RULES)
    call = simulate(graph, {}, kernels=lambda conv: name_of(conv) == "skip")
    rng = np.random.default_rng(0)
    for node in graph.nodes:
        if hasattr(node.operation, "kernel"):
            channels = node.input_tensors[0].shape[-1]
            x = rng.random((1, 8, 8, channels), np.float32)
            same = np.array_equal(call(node, x), node.operation(x))
            assert same == (name_of(node.operation) != "skip")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Repeats pixels by way of a map of which one channel is 50 times wider."""
    lr = keras.Input((None, None, 3), name="lr_x2")
    head, body = GroupedConv2D(4, 1, name="head"), GroupedConv2D(3, 3, name="body")
    tail = GroupedConv2D(12, 1, name="tail")
    sr = keras.ops.depth_to_space(tail(body(keras.ops.relu(head(lr)))), 2)
    model = keras.Model(lr, sr)
    widen = np.concatenate([np.eye(3), [[50], [0], [0]]], axis=1)
    narrow = np.zeros((3, 3, 4, 3))
    narrow[1, 1] = [[0, 0, 0], [0, 1, 0], [0, 0, 1], [0.02, 0, 0]]
    head.set_weights([widen[None, None], np.zeros(4)])
    body.set_weights([narrow, np.zeros(3)])
    tail.set_weights([np.tile(np.eye(3), 4)[None, None], np.zeros(12)])
    file = tmp_path_factory.mktemp("uneven") / "uneven.keras"
    model.save(file)
    return file


def test_the_worst_layer_comes_first_and_can_stay_in_float(
    uneven, report, photographs, tmp_path, monkeypatch
):
    # Of an untrained network saturated colours are not asked for.
    monkeypatch.setattr("tfsr.cli.verification.MAX_FLAT_FIELD_ERROR", 255)
    images = ("--calibrate", photographs)
    table = report("sensitivity", uneven, "--images", photographs, *images)
    assert [row["name"] for row in table["layers"][:1]] == ["head"]
    assert table["layers"][0]["loss_db"] <= table["loss_db"] < 2 * table["sum_db"]

    convert = ("convert", uneven, "--format", "int8", "--verify", photographs, *images)
    files = tmp_path / "int8.tflite", tmp_path / "mixed.tflite"
    int8 = report(*convert, "-o", files[0])
    mixed = report(*convert, "--in-float", "head", "-o", files[1])
    assert int8["loss_db"] > 1
    assert abs(mixed["loss_db"]) < 0.01
    facts = report("inspect", files[1])
    assert facts["metadata"]["in_float"] == ["head"]
    # Into float, what computes the map and what reads it, and back.
    assert facts["float_operators"] == 4
    assert facts["operators"]["CONV_2D"] == 3
    assert "in_float" not in report("inspect", files[0])["metadata"]


def test_what_shares_a_range_leaves_together():
    model = NETWORKS["carn_m"]()
    graph = lower(model, INT8_RULES)
    rng = np.random.default_rng(0)
    patches = [rng.random((12, 12, 3), np.float32)]
    ranges = choose_ranges(graph, observe(graph, patches))
    names = node_names(graph)
    kept = drop_ranges(graph, ranges, ["head"])
    left = {names[i] for i in ranges.keys() - kept.keys()}
    units = {f"block_0.unit_0.pointwise.add{call}" for call in ("", ":2")}
    assert left == {"head", "block_0.fuse_1", *units}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "int8", "--in-float", "haed"), "haed: not a range; there are"),
        (
            ("--format", "int16x8", "--in-float", "head"),
            "layers in float are for float",
        ),
    ],
)
def test_misuse(uneven, run, photographs, tmp_path, arguments, message):
    command = ("convert", uneven, "--calibrate", photographs, *arguments)
    code, _, err = run(*command, "-o", tmp_path / "m.tflite")
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_the_middle_of_an_image_is_taken(folder, monkeypatch):
    keras.utils.set_random_seed(0)
    monkeypatch.setattr("tfsr.tflite.quantization.sensitivity.CROP", 32)
    model = NETWORKS["scn"]()
    first = folder.first(1)
    pair = first[0]
    top, left = ((side - 16) // 2 for side in pair.lr.shape[:2])
    lr = from_uint8(pair.lr[top : top + 16, left : left + 16])
    hr = pair.hr[2 * top : 2 * top + 32, 2 * left : 2 * left + 32]
    sr = np.clip(np.asarray(model(lr[None]))[0], 0, 1) * 255.0
    report = measure_sensitivity(model, 2, first, calibration_patches(folder)[:1])
    # The shift by the mean is exact inside the border alone.
    assert report["psnr_float"] == pytest.approx(psnr(sr, hr, 2), abs=0.02)
