"""Turns any Keras model from image to image into the functional model tfsr needs."""

import re
import zipfile
from pathlib import Path, PureWindowsPath

import keras
import numpy as np

from tfsr.errors import InputError, reason_of
from tfsr.graph.graph import Graph, run_node
from tfsr.models import luminance_scales, scales
from tfsr.models.scaling import TRIED_SIDES


def read_keras(file: str | Path) -> keras.Model:
    """Returns the model of a `.keras` file after `as_image_model`.

    Keras refuses files with code in them.

    Raises:
        InputError: If the file has no such model; names the file.
    """
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file.")
    if Path(file).suffix != ".keras" or not zipfile.is_zipfile(file):
        raise InputError(f"{file}: not a .keras file.")
    try:
        _check_paths(file)
        loaded = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # on damaged files Keras raises nearly anything
        if "Lambda" in str(error):
            raise InputError(
                f"{file}: not a model tfsr can load: it has a Lambda layer, whose code "
                "is not run from a file; if you trust it, load it in Python with "
                "safe_mode=False, and give the loaded model to tfsr."
            ) from None
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        if unknown:
            raise InputError(
                f"{file}: not a model tfsr can load: its class {unknown[1]} is not "
                "known here; from Python, import what registers it, and give the "
                "loaded model to tfsr."
            ) from None
        raise InputError(
            f"{file}: not a model tfsr can load ({reason_of(error)})."
        ) from None
    loaded = as_image_model(loaded, str(file))
    _keep_names(loaded)
    return loaded


def _check_paths(file):
    """Raises a `ValueError` if the archive has a path that leaves its folder."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            path = PureWindowsPath(name)  # splits at both kinds of slashes
            if path.anchor or ".." in path.parts:
                raise ValueError(f"it holds {name!r}, a path out of its folder")


def as_image_model(model: keras.Model, name: str) -> keras.Model:
    """Returns a Keras model as a functional model, of open size if possible.

    A subclassed model becomes the single layer of a functional model. A model of fixed
    size is rebuilt for any size, unless that fails or changes its values. Weights are
    shared. Models of several scales are returned unchanged.

    Args:
        model: A built model.
        name: Its name in messages, such as its file.

    Raises:
        InputError: If the model is not from one image to one image.
    """
    model = functional(model, name)
    if _is_ours(model):
        return model
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{name}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "must have one each: an image, or a model of several scales by the names "
            "lr_x2 and sr_x2."
        )
    if not isinstance(model.input, keras.KerasTensor) or isinstance(model.output, dict):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    model = _with_open_size(model)
    _check_images(model, name)
    return model


def _is_ours(model):
    """Returns whether a model has scales by name, or is a luminance network."""
    names = [x.name for x in model.inputs]
    of_scales = isinstance(model.input, dict) and all(
        re.fullmatch(r"lr_x\d", name) for name in names
    )
    return of_scales or bool(luminance_scales(model))


def functional(model: keras.Model, name: str = "") -> keras.Model:
    """Returns a sequential or subclassed model as a functional one; others unchanged.

    Args:
        model: A built model.
        name: Its name in messages; by default the model's name.

    Raises:
        InputError: If the model was never built, or does not run on images.
    """
    name = name or getattr(model, "name", "`model`")
    if not isinstance(model, keras.Model):
        raise InputError(f"{name}: not a Keras model.")
    if getattr(model, "inputs", None):
        if type(model).call is keras.Sequential.call:
            return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        if not isinstance(model, keras.Sequential):
            return model
    shape = model.get_build_config() or {}
    shape = shape.get("input_shape")
    if not shape or len(shape) != 4 or not isinstance(shape[-1], int):
        raise InputError(
            f"{name}: a subclassed model that was never built; call it on an image "
            "before it is saved."
        )
    for size in ((None, None), shape[1:3]):
        lr = keras.Input((*size, shape[-1]), name="lr")
        try:
            wrapped = keras.Model(lr, model(lr), name=model.name)
        except Exception as error:  # user code may raise anything
            reason = reason_of(error)
            continue
        reason = _why_unusable(wrapped)  # it may accept open sizes but not real ones
        if not reason:
            return wrapped
    raise InputError(f"{name}: does not run on images of {shape[1:]} ({reason}).")


def _with_open_size(model):
    """Returns a model of fixed size rebuilt for any size, if results stay the same."""
    (x,) = model.inputs
    if None in x.shape[1:3]:
        return model
    lr = keras.Input((None, None, x.shape[-1]), name=x.name)
    graph = Graph(model.inputs, model.outputs)
    image = np.random.default_rng(0).random((1, *x.shape[1:]), np.float32)
    try:
        opened = keras.Model(lr, graph.run([lr], run_node)[0], name=model.name)
        here, there = (np.asarray(m(image)) for m in (model, opened))
    except Exception:  # other sizes may raise anything
        return model
    same = here.shape == there.shape and np.allclose(here, there, atol=1e-5)
    return opened if same and not _why_unusable(opened) else model


def _why_unusable(model):
    """Returns why the model does not scale every image by one whole factor, or "".

    It is run on another size than the one it may have been built for.
    """
    *sides, channels = model.input.shape[1:]
    height, width = sides if None not in sides else [2 * max(TRIED_SIDES)] * 2
    try:
        outputs = model(np.zeros((1, height, width, channels), np.float32))
    except Exception as error:  # user code may raise anything
        return reason_of(error)
    shapes = [tuple(y.shape) for y in keras.tree.flatten(outputs)]
    if len(shapes) > 1 or len(shapes[0]) != 4:
        return f"gives {', '.join(map(str, shapes))}"
    try:
        (scale,) = scales(model)
    except ValueError as error:
        return str(error)
    enlarged = shapes[0][1:3] == (height * scale, width * scale)
    return "" if enlarged else f"has another scale there: gives {shapes[0]}"


def _check_images(model, name):
    (x,), (y,) = model.inputs, model.outputs
    for what, tensor in (("takes", x), ("gives", y)):
        if len(tensor.shape) != 4 or tensor.shape[-1] not in (1, 3):
            raise InputError(
                f"{name}: {what} {tuple(tensor.shape)}; must be images (batch, height, "
                "width, channels) of 1 or 3 channels."
            )
    if not keras.backend.is_float_dtype(x.dtype):
        raise InputError(
            f"{name}: takes {x.dtype}; must take floats in [0, 1]: wrap it, as a model "
            "of pixels from 0 to 255 (docs/your_model.md)."
        )
    if x.shape[-1] != y.shape[-1]:
        raise InputError(
            f"{name}: takes {x.shape[-1]} channels and gives {y.shape[-1]}; must be "
            "the same."
        )
    try:
        scales(model)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _keep_names(model):
    """Keeps Keras from reusing the names of a loaded model's operations.

    Keras counts names from 0 in each process, and refuses a model with two operations
    of the same name, so nothing could be built around a loaded model.
    """
    for operation in model.operations:
        kind, number = re.fullmatch(r"(.+?)(?:_(\d+))?", operation.name).groups()
        while keras.backend.get_uid(kind) <= int(number or 0):
            pass
