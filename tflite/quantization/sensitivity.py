"""What 8 bits cost, layer by layer: the loss where one alone is rounded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from tfsr.data import BenchmarkFolder, Pair
from tfsr.data.degradation import to_table
from tfsr.graph.graph import Graph
from tfsr.metrics import luma
from tfsr.models import single_scale
from tfsr.tflite.lowering.engine import lower, name_of
from tfsr.tflite.lowering.rules import FOR_INT8
from tfsr.tflite.quantization import activations
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.upscalers import from_uint8

IMAGES = 4
CROP = 96  # HR pixels: each side of what is taken of the middle of an image


@dataclass(frozen=True)
class Trial:
    """Something that is rounded while all else stays as it is."""

    row: dict  # of the table, without the loss
    ranges: activations.Ranges
    kernels: Callable  # as for `simulate`
    first: int  # position of the first node that it changes


def sensitivity(
    model: keras.Model,
    scale: int,
    folder: BenchmarkFolder,
    patches: Iterable[np.ndarray],
) -> dict:
    """Returns the table of `tfsr sensitivity`, by simulation in Keras.

    Of an image whose squared error is e in float, and where rounding makes a difference
    of variance d, the loss is 10 log10((e + d) / e): that of a rounding independent of
    the error. The difference of two PSNRs has this mean, but needs many more pixels to
    tell a layer's share. A shift of all images by the same is no part of d, for
    conversion takes it off; nor are the pixels of input and output, which are 8 bits in
    any case.

    Args:
        model: A float model of one or several scales.
        scale: The scale to take.
        folder: The images, 8-bit; of `IMAGES` of them, evenly chosen, a crop is taken.
        patches: LR images, float32 `(H, W, C)` in [0, 1], that ranges are chosen on.

    Returns:
        `psnr_float` in dB, `loss_db` with all rounded, `sum_db` of the rows but for
        single kernels, `layers`: rows of `name`, `kind` ("activation", "kernel", or
        "kernels" for all), `loss_db` and, of an activation, `range` and `shares`, the
        names of others of the same range; the worst first.
    """
    graph = lower(single_scale(model, scale), FOR_INT8)
    ranges = activations.ranges(graph, activations.observe(graph, patches))
    ranges = {i: b for i, b in ranges.items() if not activations.is_of_pixels(b)}
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
            images = _run(graph, _middle(folder[i], scale), trials, progress)
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


def _activations(graph: Graph, ranges: activations.Ranges) -> Iterator[Trial]:
    names = activations.names(graph)
    for group in activations.shared(graph, ranges):
        name, *shares = (names[i] for i in group)
        bounds = [float(bound) for bound in ranges[group[0]]]
        row = {"name": name, "kind": "activation", "range": bounds, "shares": shares}
        yield Trial(row, {i: ranges[i] for i in group}, _none, group[0])


def _kernels(graph: Graph) -> Iterator[Trial]:
    yield Trial({"name": "all", "kind": "kernels"}, {}, _all, 0)
    first = {}
    for i, node in enumerate(graph.nodes):
        if hasattr(node.operation, "kernel"):
            first.setdefault(name_of(node.operation), i)
    for name, i in first.items():
        row = {"name": name, "kind": "kernel"}
        yield Trial(row, {}, lambda conv, name=name: name_of(conv) == name, i)


def _run(graph: Graph, pair: Pair, trials: list[Trial], progress) -> Iterator:
    """Yields HR, SR in float, and SR of each trial, on the scale of 8 bits."""
    lr = keras.ops.convert_to_tensor(from_uint8(pair.lr)[None])
    position = {id(node): i for i, node in enumerate(graph.nodes)}
    exact = []  # what each node computes

    def keep(node, *args, **kwargs):
        exact.append(node.operation(*args, **kwargs))
        return exact[-1]

    def rounded(trial):
        call = simulate(graph, trial.ranges, kernels=trial.kernels)

        def resume(node, *args, **kwargs):
            i = position[id(node)]
            return exact[i] if i < trial.first else call(node, *args, **kwargs)

        return _pixels(graph.run([lr], resume))

    yield pair.hr
    yield _pixels(graph.run([lr], keep))
    for trial in trials:
        yield rounded(trial)
        progress.update()


def _pixels(outputs):
    """Returns SR on the scale of 8 bits, not rounded."""
    (sr,) = outputs
    return np.clip(keras.ops.convert_to_numpy(sr)[0], 0, 1) * 255.0


def _scored(image, border):
    """Returns what the protocol scores of an image."""
    height, width, channels = image.shape
    inside = image[border : height - border, border : width - border]
    return luma(inside) if channels == 3 else inside.astype(np.float64)


def _moments(difference):
    return np.mean(difference), np.mean(difference**2)


def _losses(errors, differences):
    """Returns the mean loss of each trial in dB.

    Args:
        errors: Squared errors in float, `(images,)`.
        differences: Their mean and mean square, `(images, trials, 2)`.
    """
    mean, square = differences[..., 0], differences[..., 1]
    shift = mean.mean(axis=0)
    variance = square - 2 * shift * mean + shift**2
    return np.mean(10 * np.log10(1 + variance / errors[:, None]), axis=0)


def _middle(pair, scale):
    def cut(image, side):
        top, left = ((n // side - CROP // scale) // 2 * side for n in image.shape[:2])
        top, left = max(top, 0), max(left, 0)
        size = CROP // scale * side
        return image[top : top + size, left : left + size]

    return Pair(pair.name, cut(pair.lr, 1), cut(pair.hr, scale))
