"""Sensitivity of a network to 8 bits: the loss when only one layer is rounded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from tfsr.data import BenchmarkFolder, Pair
from tfsr.data.degradation_type import to_table
from tfsr.graph.footprint import alignment
from tfsr.graph.graph import Graph
from tfsr.metrics import luma
from tfsr.models import single_scale
from tfsr.tflite.lowering.engine import lower, name_of
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization.constraints import Ranges, is_of_pixels
from tfsr.tflite.quantization.equalization import with_fine_sums
from tfsr.tflite.quantization.mixed_precision import node_names, shared_ranges
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.upscalers import from_uint8

IMAGES = 4
CROP = 96  # HR pixels: side of the crop from the middle of each image


@dataclass(frozen=True)
class Trial:
    """Activations and kernels that are rounded while all others stay in float.

    Attributes:
        row: The trial's row of the table, without the loss.
        ranges: Ranges of the activations to round.
        kernels: Whether to round a convolution's kernel, as for `simulate`.
        first: Position of the first node that the trial changes.
    """

    row: dict
    ranges: Ranges
    kernels: Callable
    first: int


def measure_sensitivity(
    model: keras.Model,
    scale: int,
    folder: BenchmarkFolder,
    patches: Iterable[np.ndarray],
    fine_sums: bool = False,
) -> dict:
    """Returns the table of `tfsr sensitivity`, by simulation in Keras.

    If the float model has the squared error e on an image, and rounding changes its
    output by a difference of variance d, the loss is 10 log10((e + d) / e). This
    assumes that rounding is independent of the error. The difference of two PSNRs has
    the same mean, but needs many more pixels to tell a layer's share. d leaves out the
    mean difference over all images, because conversion corrects it. Input and output
    are not rounded, because their pixels have 8 bits in any case.

    Args:
        model: A float model of one or several scales.
        scale: The scale to measure.
        folder: The images, 8-bit. A crop of `IMAGES` evenly spaced ones is used.
        patches: LR images, float32 `(H, W, C)` in [0, 1], from which ranges are chosen.
        fine_sums: Whether sums are computed by convolutions, as for `convert`.

    Returns:
        `psnr_float` in dB; `loss_db` with everything rounded; `sum_db`, the sum of the
        rows except those of single kernels; `layers`, the rows, worst first: `name`,
        `kind` ("activation", "kernel", or "kernels" for all kernels), `loss_db` and,
        for an activation, `range` and `shares`, the names of the activations that share
        this range. Also `folder`, `scale`, `degradation` and `images`, their number.
    """
    model = single_scale(model, scale)
    graph, step = lower(model, INT8_RULES), alignment(model)
    patches = list(patches)
    if fine_sums:
        graph = with_fine_sums(graph, patches)
    ranges = choose_ranges(graph, observe(graph, patches))
    ranges = {i: b for i, b in ranges.items() if not is_of_pixels(b)}
    trials = [
        Trial({}, ranges, _all, 0),
        *_activations(graph, ranges),
        *_kernels(graph),
    ]
    errors, differences = [], []  # by image
    chosen = np.linspace(0, len(folder) - 1, min(len(folder), IMAGES)).astype(int)
    runs = len(chosen) * len(trials)
    with tqdm(total=runs, desc="sensitivity", unit="run", disable=None) as progress:
        for i in chosen:
            images = _run(graph, _middle(folder[i], scale, step), trials, progress)
            hr, in_float, *rounded = (_scored(x, folder.border) for x in images)
            errors.append(np.mean((in_float - hr) ** 2))
            differences.append([_moments(image - in_float) for image in rounded])
    everything, *losses = _losses(np.array(errors), np.array(differences))
    rows = [
        {**trial.row, "loss_db": float(loss)}
        for trial, loss in zip(trials[1:], losses, strict=True)
    ]
    return {
        "folder": str(folder.folder),
        "scale": scale,
        "degradation": to_table(folder.degradation),
        "images": len(chosen),
        "psnr_float": float(np.mean(10 * np.log10(255**2 / np.array(errors)))),
        "loss_db": float(everything),
        "sum_db": sum(row["loss_db"] for row in rows if row["kind"] != "kernel"),
        "layers": sorted(rows, key=lambda row: -row["loss_db"]),
    }


def _all(conv):
    return True


def _none(conv):
    return False


def _activations(graph: Graph, ranges: Ranges) -> Iterator[Trial]:
    names = node_names(graph)
    for group in shared_ranges(graph, ranges):
        name, *shares = (names[i] for i in group)
        bounds = [float(bound) for bound in ranges[group[0]]]
        row = {"name": name, "kind": "activation", "range": bounds, "shares": shares}
        yield Trial(row, {i: ranges[i] for i in group}, _none, group[0])


def _kernels(graph: Graph) -> Iterator[Trial]:
    yield Trial({"name": "all", "kind": "kernels"}, {}, _all, 0)
    first: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        if hasattr(node.operation, "kernel"):
            first.setdefault(name_of(node.operation), i)
    for name, i in first.items():
        row = {"name": name, "kind": "kernel"}
        yield Trial(row, {}, lambda conv, name=name: name_of(conv) == name, i)


def _run(graph: Graph, pair: Pair, trials: list[Trial], progress) -> Iterator:
    """Yields HR, the float model's SR, and each trial's SR, in [0, 255]."""
    lr = keras.ops.convert_to_tensor(from_uint8(pair.lr)[None])
    exact = []  # what each node computes

    def keep(node, *args, **kwargs):
        exact.append(node.operation(*args, **kwargs))
        return exact[-1]

    def rounded(trial):
        call = simulate(graph, trial.ranges, kernels=trial.kernels)

        def resume(node, *args, **kwargs):
            i = graph.position[id(node)]
            return exact[i] if i < trial.first else call(node, *args, **kwargs)

        return _pixels(graph.run([lr], resume))

    yield pair.hr
    yield _pixels(graph.run([lr], keep))
    for trial in trials:
        yield rounded(trial)
        progress.update()


def _pixels(outputs):
    """Returns SR `(H, W, C)` in [0, 255], not rounded."""
    (sr,) = outputs
    return np.clip(keras.ops.convert_to_numpy(sr)[0], 0, 1) * 255.0


def _scored(image, border):
    """Returns what the evaluation protocol scores: luma, without the border."""
    height, width, channels = image.shape
    inside = image[border : height - border, border : width - border]
    return luma(inside) if channels == 3 else inside.astype(np.float64)


def _moments(difference):
    return np.mean(difference), np.mean(difference**2)


def _losses(errors, differences):
    """Returns the mean loss of each trial in dB.

    Args:
        errors: Squared errors of the float model, `(images,)`.
        differences: Mean and mean square of the difference that rounding makes,
            `(images, trials, 2)`.
    """
    mean, square = differences[..., 0], differences[..., 1]
    shift = mean.mean(axis=0)
    variance = square - 2 * shift * mean + shift**2
    return np.mean(10 * np.log10(1 + variance / errors[:, None]), axis=0)


def _middle(pair, scale, step):
    """Returns the middle of a pair; its LR sides are multiples of `step`, if they can.

    Smaller images are taken as they are.
    """
    lr, hr = [], []
    for side in pair.lr.shape[:2]:
        size = min(side, CROP // scale)
        size -= size % min(step, size)
        start = (side - size) // 2
        lr.append(slice(start, start + size))
        hr.append(slice(start * scale, (start + size) * scale))
    return Pair(pair.name, pair.lr[*lr], pair.hr[*hr])
