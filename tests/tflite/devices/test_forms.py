"""Every form of operator that files of ours have, on each engine.

The float file on this CPU is what the others are held against.
All forms are outputs of one file, since an engine takes seconds to start.
"""

import warnings

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfsr.tables import markdown
from tfsr.tflite import export
from tfsr.tflite.devices.delegates import MISCOMPILES, Delegate, operator_uses
from tfsr.tflite.devices.verification import small_copy
from tfsr.tflite.flatbuffer import pack, unpack
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, split_as_slices
from tfsr.tflite.runtime import metadata_of
from tfsr.zoo import released

SIDE, CHANNELS = 12, 8
ENGINES = ("gpu:float32", "gpu", "qualcomm:SM8650")
# What tells forms of one operator apart, as the schema names it.
OPTIONS = (
    *("strideH", "padding", "fusedActivationFunction", "blockSize", "mode"),
    *("halfPixelCenters", "alignCorners"),
)
# Of the range of an output: float16 on Hexagon and most GPUs, and steps of 8 bits.
TOLERANCE = {
    ("cpu", "int8"): 0.05,
    ("gpu:float32", "float32"): 1e-4,
    ("gpu:float32", "int8"): 0.05,
    ("gpu", "float32"): 0.01,
    ("gpu", "int8"): 0.05,
    ("qualcomm:SM8650", "float32"): 0.01,
    ("qualcomm:SM8650", "int8"): 0.05,
}
# What an engine takes and computes wrongly, as `MISCOMPILES` has it.
WRONG = {
    ("qualcomm:SM8650", "int8", "depthwise 2x2/2 of 3"),
    ("qualcomm:SM8650", "int8", "depthwise 2x2/2 of 4"),
    ("gpu:float32", "float32", "sum of halves"),
    ("gpu", "float32", "sum of halves"),
}


def network(x):
    """Returns what each form makes of `x`, by its name."""
    import tensorflow as tf

    from tfsr.layers.bicubic_enlarge import mirror

    rng = np.random.default_rng(1)
    three, four = x[..., :3], x[..., 1:5]

    def kernel(*shape):
        return tf.constant(rng.normal(size=shape) / shape[0], tf.float32)

    def conv(x, side, filters, strides=1, padding="SAME", groups=1):
        k = kernel(side, side, x.shape[-1] // groups, filters)
        return tf.nn.conv2d(x, k, strides, padding) + kernel(filters)

    def depthwise(x):
        k = tf.constant(np.full((2, 2, x.shape[-1], 1), 0.25), tf.float32)
        return tf.nn.depthwise_conv2d(x, k, (1, 2, 2, 1), "VALID")

    def dense_pool(x):
        k = np.tile(np.eye(x.shape[-1]) / 4, (2, 2, 1, 1))
        return tf.nn.conv2d(x, tf.constant(k, tf.float32), 2, "VALID")

    wide = conv(x, 3, 16)
    return {
        "conv 1x1": conv(x, 1, 8),
        "conv 1x1 of 3": conv(three, 1, 12),
        "conv 1x1, ReLU": tf.nn.relu(conv(x, 1, 8)),
        "conv 3x3": conv(x, 3, 8),
        "conv 3x3, ReLU": tf.nn.relu(conv(x, 3, 8)),
        "conv 3x3 of 3 to 3": conv(three, 3, 3),
        "conv 3x3 of 3 to 16": conv(three, 3, 16),
        "conv 5x5 of 3": conv(three, 5, 8),
        "conv 5x5 of 3, valid": conv(three, 5, 12, padding="VALID"),
        "conv 2x2": conv(x, 2, 12),
        "conv 2x2/2 of 3": conv(three, 2, 8, 2, "VALID"),
        "conv 2x2/2": conv(x, 2, 8, 2, "VALID"),
        "conv 3x3/3": conv(x, 3, 8, 3, "VALID"),
        "conv 4x4/2": conv(x, 4, 12, 2),
        "conv 4x4/2 of 1": conv(x[..., :1], 4, 8, 2),
        "conv 6x6/2 of 3, ReLU": tf.nn.relu(conv(three, 6, 8, 2)),
        "conv 3x3, 4 groups": conv(wide, 3, 16, groups=4),
        "conv 3x3, 4 groups, ReLU": tf.nn.relu(conv(wide, 3, 16, groups=4)),
        "depthwise 2x2/2": depthwise(x),
        "depthwise 2x2/2 of 3": depthwise(three),
        "depthwise 2x2/2 of 4": depthwise(four),
        "dense pooling of 3": dense_pool(three),
        "dense pooling of 4": dense_pool(four),
        "average pooling": tf.nn.avg_pool2d(x, 2, 2, "VALID"),
        "pixel shuffle x2": tf.nn.depth_to_space(wide, 2),
        "pixel shuffle x3": tf.nn.depth_to_space(conv(x, 1, 27), 3),
        "pixel shuffle x4": tf.nn.depth_to_space(conv(x, 1, 48), 4),
        "space to depth": tf.nn.space_to_depth(x, 2),
        "concatenation of channels": tf.concat([x, three], -1),
        "concatenation of rows": tf.concat([x[:, :1], x], 1),
        "concatenation of columns": tf.concat([x[:, :, :1], x], 2),
        "zeros on the left": tf.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0))),
        "mirrored borders": mirror(three),
        "cropped": x[:, 1:-1, 1:-1],
        "last channels": x[..., 4:],
        "sum": x + wide[..., :8],
        "sum, ReLU": tf.nn.relu(x - 0.5 + wide[..., :8]),
        "sum with one of a constant": x + tf.constant(rng.normal(size=8), tf.float32),
        "difference": x - wide[..., :8],
        "sum of halves": tf.add(*tf.split(wide, 2, -1)),
        "sum of slices": wide[..., :8] + wide[..., 8:],
        "product": x * wide[..., :8],
        "product with a number": x * 0.7,
        "clipped": tf.clip_by_value(conv(x, 1, 4), 0.0, 1.0),
        "leaky ReLU": tf.nn.leaky_relu(conv(x, 1, 4), 0.2),
        "bilinear x2": tf.image.resize(x, (2 * SIDE, 2 * SIDE)),
    }


def save(file, bits, lr):
    """Writes all forms as one file, calibrated on `lr`; returns their names."""
    import tensorflow as tf

    names = []

    def run(x):
        found = network(x)
        names[:] = found
        return {f"{i:02}": y for i, y in enumerate(found.values())}  # by their names

    spec = tf.TensorSpec((1, SIDE, SIDE, CHANNELS), tf.float32)
    function = tf.function(run, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], trackable_obj=tf.Module()
    )
    if bits == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: [[lr]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        model = unpack(converter.convert())
    # Qualcomm's compiler renames what has a colon in its name; a number is behind it.
    model.signatureDefs = []  # it has another order
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = b"lr"
    graph.outputs = sorted(graph.outputs, key=lambda i: _number(graph.tensors[i]))
    for i in graph.outputs:
        graph.tensors[i].name = b"y%d" % _number(graph.tensors[i])
    file.write_bytes(pack(model))
    return names


def _number(tensor):
    return int(tensor.name.rpartition(b":")[2] or 0)


def on_cpu(file, lr):
    """Returns the outputs of a file, in order."""
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], lr)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return [interpreter.get_tensor(entry["index"]) for entry in details]


def on_delegate(delegate, file, lr, sizes):
    """Returns the outputs of a file, flat, in order."""
    given, sr = (file.with_name(name) for name in ("lr.npy", "sr.npy"))
    np.save(given, lr[None])
    delegate.engine.load("run")(file, delegate.option, given, sr, 900)
    return np.split(np.load(sr).ravel(), np.cumsum(sizes)[:-1])


@pytest.fixture(scope="module")
def lr():
    return np.random.default_rng(0).random((1, SIDE, SIDE, CHANNELS), np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, lr):
    """The files of all forms, by their bits, and the forms' names."""
    folder = tmp_path_factory.mktemp("forms")
    files = {bits: folder / f"{bits}.tflite" for bits in ("float32", "int8")}
    names, _ = (save(file, bits, lr) for bits, file in files.items())
    return files, names


def kind(form):
    """Returns what tells a form from others that an engine may have another kernel for.

    Counts of channels are not part of it.
    """
    found = [form.name, *(getattr(form.options, name, None) for name in OPTIONS)]
    if form.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        read, kernel = form.shapes[0][-1], form.shapes[1]
        found += [*kernel[1:3], kernel[-1] < read]  # the last: in groups
    return tuple(found)


def test_released_files_have_no_other_forms(saved, tmp_path):
    known = {kind(form) for form in operator_uses(saved[0]["int8"].read_bytes())}
    names = [name for name in released.names() if name.endswith("_int8")]
    assert names
    for name in names:
        file = released.find(name)
        if not metadata_of(file).get("size"):  # else it has what computes sizes
            file = small_copy(file, tmp_path)
        assert {kind(form) for form in operator_uses(file.read_bytes())} <= known, name


def test_every_form_is_computed_as_on_the_cpu(saved, lr):
    delegates = [Delegate(name) for name in ENGINES]
    here = [delegate for delegate in delegates if not delegate.missing()]
    if not here:
        pytest.skip(f"no engine is here: {delegates[0].missing()}")
    files, names = saved
    expected = [values.ravel() for values in on_cpu(files["float32"], lr)]
    sizes = [values.size for values in expected]
    found = {("cpu", "int8"): on_cpu(files["int8"], lr)}
    for delegate in here:
        for bits, file in files.items():
            found[delegate.name, bits] = on_delegate(delegate, file, lr, sizes)
    errors = {
        (*column, name): np.abs(ours.ravel() - theirs).max() / np.ptp(theirs)
        for column, outputs in found.items()
        for name, ours, theirs in zip(names, outputs, expected, strict=True)
    }
    rows = [[name, *(f"{errors[*c, name]:.1e}" for c in found)] for name in names]
    print(markdown(["error of the range", *map(" ".join, found)], rows))
    wrong = {key for key, error in errors.items() if error > TOLERANCE[key[:2]]}
    assert wrong == {key for key in WRONG if key in errors}


@pytest.mark.parametrize(
    ("bits", "known"),
    [("int8", [("qualcomm", 3), ("qualcomm", 4)]), ("float32", [("gpu", 8)])],
)
def test_known_wrong_forms_are_found(saved, bits, known):
    found = [
        (entry.delegate, form.shapes[0][-1])
        for form in operator_uses(saved[0][bits].read_bytes())
        for entry in MISCOMPILES
        if entry.matches(form)
    ]
    assert sorted(found) == known


@pytest.mark.parametrize("mended", [True, False])
def test_halves_that_are_exchanged(here, tmp_path, mended):
    """As parts of a split that nothing else reads they come out wrong on the GPU."""
    import keras

    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, CHANNELS))
    halves = keras.ops.split(keras.layers.Conv2D(16, 3, padding="same")(lr), 2, -1)
    model = keras.Model(lr, keras.ops.concatenate(halves[::-1], -1))
    rules = [rule for rule in FLOAT_RULES if mended or rule != split_as_slices]
    file = tmp_path / "halves.tflite"
    file.write_bytes(export.float32(lower(model, rules, SIDE, SIDE)))
    noise = np.random.default_rng(0).random((1, SIDE, SIDE, CHANNELS), np.float32)
    (expected,) = on_cpu(file, noise)
    (found,) = on_delegate(here("gpu:float32"), file, noise, [expected.size])
    is_right = np.abs(found - expected.ravel()).max() < 1e-4
    known = any(
        w.matches(f) for w in MISCOMPILES for f in operator_uses(file.read_bytes())
    )
    assert (is_right, known) == (mended, not mended)
