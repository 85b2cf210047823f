"""The commands on `.tflite` files as functions, which `import tfsr` exports.

`benchmark` needs no Keras, so `convert` imports it and TensorFlow itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsr import arguments
from tfsr.data.degradation_type import Degradation
from tfsr.errors import InputError
from tfsr.files import check_target
from tfsr.zoo import released
from tfsr.zoo.upscalers import load_upscaler

if TYPE_CHECKING:
    import keras

Size = tuple[int, int]
SIZE = (180, 320)  # of dynamic models in benchmarks


def convert(
    model: "str | Path | keras.Model",
    out: str | Path,
    format: str = "int8",
    size: Size | Sequence[Size | None] | None = None,
    scale: int | None = None,
    calibrate: str | Path | None = None,
    verify: str | Path | None = None,
    lowering: bool = True,
    in_float: Sequence[str] = (),
    degradation: Degradation | None = None,
    picture: str | Path | None = None,
    compile: str | None = None,
    fine_sums: bool = False,
) -> dict:
    """Converts a model to `.tflite` and measures what that loses.

    Args:
        model: A released name, a run folder, a `.keras` file or a Keras model.
        out: The `.tflite` file; for several sizes, each gets `_HxW` before the ending.
        format: A key of `tfsr.tflite.formats.FORMATS`.
        size: Height and width of the input, several of them, or None for any.
        scale: One of the model's scales; needed if it has several.
        calibrate: Images for the ranges of 8 and 16 bits, HR or LR; scikit-image's
            photographs by default.
        verify: Images to measure the loss on; other photographs by default.
        lowering: Whether to rewrite the model for TFLite before it is converted.
        in_float: Layers that int8 leaves in float32, named as by `tfsr sensitivity`.
        degradation: As for `evaluate`.
        picture: A `.png` file to draw the crop in where both models differ most.
        compile: A delegate to compile the file for as well, such as `qualcomm:SM8650`.
        fine_sums: Whether int8 adds with less rounding, for networks with many sums.

    Returns:
        `file`, `size_bytes`, the keys of `tfsr verify`, `notes` (one-line remarks) and,
        if asked for, `compiled` (the compiled file). For several sizes, `files`: a
        list of such dicts.

    Raises:
        InputError: If the model cannot be converted with these arguments.
    """
    if not str(out).endswith(".tflite"):
        raise InputError(f"{out}: the output must end in .tflite.")
    for target in (out, picture):
        if target is not None:
            check_target(target)
    in_float, sizes = arguments.texts("in_float", in_float), _sizes(size)
    original = load_upscaler(model, scale)
    from tfsr.upscaling.upscalers import KerasUpscaler

    if not isinstance(original, KerasUpscaler):
        raise InputError(f"{original.name}: must be a Keras model to be converted.")
    from tfsr.data import BenchmarkFolder
    from tfsr.data.embedded import HELD_OUT, TRAINING, photographs
    from tfsr.scoring.images import task_to_score
    from tfsr.tflite import conversion
    from tfsr.tflite.formats import FORMATS
    from tfsr.tflite.quantization.aware import qat_format

    task = task_to_score(original, degradation).rounded()
    calibration, check = (
        BenchmarkFolder(images, original.scale, original.channels, degradation=task)
        for images in (
            calibrate or photographs(TRAINING),
            verify or photographs(HELD_OUT),
        )
    )
    target = None
    if compile:
        is_open = None in sizes and None in original.model.input.shape[1:3]
        target = _compiler(compile, is_open)
    written = conversion.convert(
        original.model,
        original.scale,
        format,
        sizes,
        out,
        calibration,
        lowering,
        in_float,
        _architecture(model, original.scale),
        fine_sums,
    )
    reports = []
    for file, of_size in zip(written, sizes, strict=True):
        drawn = picture
        if picture and len(sizes) > 1:
            drawn = conversion.name_of_size(picture, of_size)
        reports.append(_file_report(file, original, check, drawn, target, in_float))
    if FORMATS[format].bits and not (calibrate or qat_format(original.model)):
        reports[0]["notes"].insert(
            0,
            "warning: calibrated on scikit-image's photographs; "
            "`calibrate` with a folder of images like your own loses less.",
        )
    return reports[0] if len(reports) == 1 else {"files": reports}


def _compiler(name, is_open):
    """Returns the delegate to compile for; `is_open`: the files take any size."""
    from tfsr.tflite.devices.delegates import Delegate

    target = Delegate(name)
    target.check()
    if target.engine.compile is None:
        raise InputError(f"{name}: takes no compiled files.")
    if is_open:
        raise InputError(f"{name}: compiles files of fixed size; give `size`.")
    return target


def _file_report(file, original, images, picture, target, in_float):
    """Returns the report of `convert` on one file; compiles it for `target`, if any."""
    from tfsr.tflite.devices import delegates
    from tfsr.tflite.runtime import TFLiteUpscaler, left_in_float
    from tfsr.tflite.verification import tiling_notes, verify

    converted = TFLiteUpscaler(file)
    report = verify(converted, original, images, picture)
    facts = {"file": str(file), "size_bytes": file.stat().st_size}
    if target:
        facts["compiled"] = str(delegates.compile(file, target))
    unasked = [] if in_float else left_in_float(converted)
    advice = [f"{file}: {line}" for line in delegates.advice(file)]
    notes = [*unasked, *tiling_notes(converted, report), *advice]
    return {**facts, **report, "notes": notes}


def _architecture(model, scale):
    from tfsr.zoo.loading import load_architecture

    if not isinstance(model, str | Path):
        return None
    return load_architecture(model, scale)


def _sizes(size: Any) -> list[Size | None]:
    """Returns one size or several as a list; None is any size."""
    several = isinstance(size, list | tuple) and any(
        s is None or isinstance(s, list | tuple) for s in size
    )
    sizes = size if several else [size]
    also = ", a list of these, or None for any"
    return [s if s is None else arguments.size("size", s, also) for s in sizes]


def benchmark(
    files: str | Path | Sequence[str | Path],
    threads: Sequence[int] = (1,),
    runs: int = 30,
    warmup: int = 3,
    size: Size = SIZE,
) -> dict:
    """Returns latency and memory of `.tflite` files on this machine.

    Args:
        files: One or more files or names of released models; they run in turns.
        threads: Numbers of CPU threads to try for each.
        runs: Timed runs of each.
        warmup: Untimed runs of each before those, after the first one.
        size: Height and width of the input of dynamic models.

    Returns:
        `device` and `results`, one for each file and number of threads: `median_ms`,
        `p95_ms`, `peak_memory_mb` and more.

    Raises:
        InputError: If a file is damaged or LiteRT cannot run it.
    """
    from tfsr.tflite.benchmark.timing import benchmark

    found = [released.find(file) for file in arguments.paths("files", files)]
    return benchmark(
        found,
        arguments.wholes("threads", threads),
        arguments.whole("runs", runs),
        arguments.whole("warmup", warmup, least=0),
        arguments.size("size", size),
    )
