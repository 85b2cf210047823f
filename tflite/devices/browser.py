"""Prepares a model to run in the visitor's browser: LiteRT.js and the file for a page.

LiteRT.js runs a model only at the size in its file. So the page writes the size it
needs into its copy of the file, at the places in `shapes`. The runtime computes all
other shapes from there, as it does on the desktop when an input is resized. Thus a
small photograph needs no padding, and the result is the same as on the desktop. A file
that computes sizes at run time, such as those of its padding, is fixed to its tile
size; the page pads instead.
"""

import shutil
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.files import replacing, write_bytes, write_text
from tfsr.tflite.devices.delegates import operator_uses
from tfsr.tflite.formats import format_of
from tfsr.tflite.interpreters import child_of
from tfsr.tflite.metadata import with_metadata
from tfsr.tflite.resizing import constants
from tfsr.tflite.runtime import TFLiteUpscaler, metadata_of

DYNAMIC_TILE = (192, 192)  # LR pixels: tile of models that have no fixed size
INSIDE = 64  # LR pixels: smallest side of a tile without its overlap
SHAPE, SHAPE_SIGNATURE = 4, 18  # offsets of these fields in the schema's `Tensor` table
PACKAGE = Path("@litertjs/core")
VERSION = "2.5.3"  # the tested version
# One runtime for each set of browser features; that of JSPI is for GPUs.
RUNTIMES = ("", "_compat", "_threaded", "_jspi")
IMPORT = '"@litertjs/wasm-utils"'


def copy_runtime(out: str | Path, package: str | Path | None) -> None:
    """Puts LiteRT.js into the folder `out`, made if missing.

    Args:
        out: The folder to write to.
        package: As for `find_package`.

    Raises:
        InputError: If LiteRT.js is missing or of another version.
    """
    core, utils = find_package(package)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = (core / "dist" / "index.js").read_text(encoding="utf-8")
    if text.count(IMPORT) != 1:
        raise InputError(
            f"{core}: this version of LiteRT.js is not known to work; {VERSION} is."
        )
    # Browsers import modules by address; import maps do not work in workers.
    write_text(out / "core.js", text.replace(IMPORT, '"./wasm-utils.js"'))
    copy(utils / "dist" / "index.js", out / "wasm-utils.js")
    for runtime in RUNTIMES:
        for ending in ("js", "wasm"):
            name = f"litert_wasm{runtime}_internal.{ending}"
            copy(core / "wasm" / name, out / name)


def find_package(folder: str | Path | None = None) -> tuple[Path, Path]:
    """Returns the folders of `@litertjs/core` and `@litertjs/wasm-utils`.

    Args:
        folder: The folder of `@litertjs/core`, the `node_modules` folder that has it,
            or the folder that has that; the working directory by default.

    Raises:
        InputError: If the packages are not found there.
    """
    folder = Path(folder or ".")
    for core in (folder, folder / PACKAGE, folder / "node_modules" / PACKAGE):
        for scope in (core.parent, core / "node_modules" / PACKAGE.parent):
            utils = scope / "wasm-utils"
            if (core / "dist/index.js").is_file() and (utils / "dist").is_dir():
                return core, utils
    raise InputError(
        f"{folder.resolve()}: no LiteRT.js in it; run npm install {PACKAGE}@{VERSION} "
        "there, or name its folder with --litert-js."
    )


def put(file: Path, target: Path) -> dict:
    """Writes a model for a page; returns its facts, as `tiling` has them.

    A file that computes sizes at run time is fixed to its tile size, because GPUs
    refuse it otherwise.

    Raises:
        InputError: As `tiling` does.
    """
    facts = tiling(file)
    computes = any(use.name == "SHAPE" for use in operator_uses(file.read_bytes()))
    if not (facts["resizable"] and computes):
        copy(file, target)
        return facts
    content, (height, width) = file.read_bytes(), facts["tile"]
    child = child_of(str(file), height * width * facts["channels"])
    smaller = height - facts["step"], width - facts["step"]
    fixed, other = (
        child.run("tfsr.tflite.resizing:at_size", content, *size)
        for size in (facts["tile"], smaller)
    )
    one_size = constants(fixed) != constants(other)
    known = {**metadata_of(file), "size": facts["tile"], "one_size": one_size}
    write_bytes(target, with_metadata(fixed, known, content))
    return tiling(target)


def tiling(file: str | Path) -> dict:
    """Returns how a browser runs a model on photographs.

    Returns:
        The facts that the box needs: `name`; `title`, what it is for; `file`; `scale`;
        `channels`; `ends`, the type of its pixels; `luma`, whether a model of one
        channel gets the luma of a colour image instead of R, G and B in turn; `size`,
        height and width at which latency is measured; `resizable`; `tile` and
        `overlap`, height and width; `step`, which sides of tiles are multiples of;
        `shapes`, where the file has its sizes.

    Raises:
        InputError: If the model is not a file of ours that browsers run.
    """
    upscaler = TFLiteUpscaler(file, threads=1)
    facts = upscaler.metadata
    if not upscaler.is_ours:
        raise InputError(f"{file}: was not made by tfsr convert; the box wants that.")
    step, radius = upscaler.alignment, upscaler.radius
    size = facts["size"] or DYNAMIC_TILE
    if upscaler.tiles:
        tile, overlap = upscaler.size, upscaler.tiles.overlap
    else:
        least = 2 * radius + INSIDE
        tile = [max(side, least) // step * step for side in size]
        overlap = [radius, radius]
    return {
        "name": Path(file).stem,
        "title": f"{Path(file).stem}, {_purpose(upscaler)}",
        "file": Path(file).name,
        "scale": upscaler.scale,
        "channels": upscaler.channels,
        "ends": format_of(facts, file).io_dtype,
        "luma": upscaler.channels == 1 and _restores_luma(upscaler),
        "size": list(size),
        "resizable": upscaler.tiles is None,
        "tile": list(tile),
        "overlap": list(overlap),
        "step": step,
        "shapes": _shapes(Path(file).read_bytes(), upscaler.scale),
    }


def _purpose(upscaler):
    if upscaler.scale == 1:
        return f"for {upscaler.task.in_short if upscaler.task else 'unknown damage'}"
    return "for clean photos" if upscaler.task == BICUBIC else "for spoiled photos"


def _restores_luma(upscaler):
    task = upscaler.task
    return upscaler.scale == 1 and task is not None and task.of_luma


def _shapes(content, scale):
    """Returns where a file has the sizes of its input and output.

    Each entry has the byte offsets of `height` and `width`, and their `factor` to the
    input's size. A file of open size has each size twice, once as -1.
    """
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    found = []
    for tensor, factor in ((graph.Inputs(0), 1), (graph.Outputs(0), scale)):
        table = graph.Tensors(tensor)._tab
        for place in (SHAPE, SHAPE_SIGNATURE):
            offset = table.Offset(place)
            if offset:
                batch = table.Vector(offset)
                sides = {"height": batch + 4, "width": batch + 8}
                found.append({**sides, "factor": factor})
    return found


def copy(source: Path, target: Path) -> None:
    """Copies a file of LiteRT.js or a model; it is whole or not there."""
    if not source.is_file():
        raise InputError(f"{source}: missing; install @litertjs/core again.")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
