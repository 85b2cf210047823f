"""A model for the visitor's browser: LiteRT.js and the `.tflite` file beside a page.

LiteRT.js runs a model at the size in its file and no other. So the page writes the size
it wants into its copy of the file, where `shapes` says: from there the runtime works
out all other shapes, as it does on the desktop when an input is resized. That way a
small photograph needs no padding, and what comes out is what the desktop gives.
"""

import shutil
from importlib import resources
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tfsr.data import JPEG
from tfsr.errors import InputError
from tfsr.files import replacing, write_text
from tfsr.tflite.runtime import TFLiteUpscaler

DYNAMIC_TILE = (192, 192)  # LR pixels of models without a size of their own
INSIDE = 64  # LR pixels of a tile at least, beside what overlaps
SHAPE, SHAPE_SIGNATURE = 4, 18  # places of the fields in a flatbuffer's `Tensor`
PACKAGE = Path("@litertjs/core")
VERSION = "2.5.3"  # what is tested
# By feature of the browser; `jspi` is for GPU and NPU.
RUNTIMES = ("", "_compat", "_threaded")
IMPORT = '"@litertjs/wasm-utils"'


def prepare(model: str | Path, out: str | Path, package: str | Path | None) -> dict:
    """Puts a model, LiteRT.js and the worker that runs them into `out`.

    Args:
        model: An int8 `.tflite` file.
        out: The folder, made if need be.
        package: The folder of `@litertjs/core`, or one with it in its `node_modules`;
            the working directory by default.

    Returns:
        What the worker needs to know of the model: `file`, `scale`, `channels`,
        `luma` (of colour it gets the luma, not R, G and B in turn), `size` (height and
        width of the latency), `resizable`, `tile` and `overlap` (height and width),
        `step` and `shapes`.

    Raises:
        InputError: If the model is another one or LiteRT.js is missing.
    """
    facts = tiling(model)
    core, utils = find_package(package)
    out = Path(out)
    (out / "litert").mkdir(parents=True, exist_ok=True)
    _copy(Path(model), out / facts["file"])
    text = (core / "dist" / "index.js").read_text()
    if text.count(IMPORT) != 1:
        raise InputError(
            f"{core}: this version of LiteRT.js is not known to work; {VERSION} is."
        )
    # Browsers find a module by its address alone, and no map of names is for workers.
    write_text(out / "litert" / "core.js", text.replace(IMPORT, '"./wasm-utils.js"'))
    _copy(utils / "dist" / "index.js", out / "litert" / "wasm-utils.js")
    for runtime in RUNTIMES:
        for ending in ("js", "wasm"):
            name = f"litert_wasm{runtime}_internal.{ending}"
            _copy(core / "wasm" / name, out / "litert" / name)
    worker = resources.files("tfsr.report").joinpath("worker.js").read_text()
    write_text(out / "worker.js", worker)
    return facts


def find_package(folder: str | Path | None = None) -> tuple[Path, Path]:
    """Returns the folders of `@litertjs/core` and `@litertjs/wasm-utils`.

    Args:
        folder: The folder of the first, its `node_modules`, or what holds that; the
            working directory by default.

    Raises:
        InputError: If they are not there.
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


def tiling(file: str | Path) -> dict:
    """Returns what `prepare` does: how a browser is to run a model on photographs."""
    upscaler = TFLiteUpscaler(file, threads=1)
    facts = upscaler.metadata
    if facts["format"] != "int8":
        raise InputError(f"{file}: takes {facts['input']}; the browser wants int8.")
    step, radius = facts["alignment"], facts["receptive_radius"]
    radius += -radius % step
    size = facts["size"] or DYNAMIC_TILE
    if upscaler.tiles:
        tile, overlap = upscaler.size, upscaler.tiles.overlap
    else:
        least = 2 * radius + INSIDE
        tile = [max(side, least) // step * step for side in size]
        overlap = [radius, radius]
    return {
        "file": Path(file).name,
        "scale": upscaler.scale,
        "channels": upscaler.channels,
        "luma": upscaler.channels == 1 and facts["degradation"]["name"] == JPEG.name,
        "size": list(size),
        "resizable": upscaler.tiles is None,
        "tile": list(tile),
        "overlap": list(overlap),
        "step": step,
        "shapes": _shapes(Path(file).read_bytes(), upscaler.scale),
    }


def _shapes(content, scale):
    """Returns where the sizes of input and output stand in a file: byte and factor.

    A file of open size has them twice, once with -1 for what is open.
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


def _copy(source, target):
    if not source.is_file():
        raise InputError(f"{source}: missing; install @litertjs/core again.")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
