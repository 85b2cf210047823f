"""The commands as functions, which `import tfsr` exports and loads when asked for.

The functions import Keras and TensorFlow themselves, where they need them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfsr import arguments
from tfsr.data.degradation_type import Degradation
from tfsr.errors import InputError
from tfsr.files import check_target
from tfsr.quiet import import_keras
from tfsr.zoo import released
from tfsr.zoo.upscalers import load_upscaler

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfsr.config import Config
    from tfsr.upscaling.upscalers import Upscaler


def load_model(name: str | Path, scale: int | None = None) -> "keras.Model":
    """Returns a Keras model.

    Args:
        name: The name of a released model, a run folder (its best weights) or a
            `.keras` file.
        scale: One of the model's scales, which is returned as a model of its own; all
            scales by default. It is required where each scale is a separate network.

    Raises:
        InputError: If there is no such model, the file is not one, or it lacks the
            scale.
    """
    if not isinstance(name, str | Path):
        raise InputError(
            f"`name` must be a model's name or a path. Received: name={name!r}."
        )
    if scale is not None:
        arguments.whole("scale", scale)
    import_keras()
    from tfsr.models import scales, single_scale
    from tfsr.zoo.loading import load_model
    from tfsr.zoo.upscalers import pick_scale

    model = load_model(name, scale)
    if scale is None:
        return model
    return single_scale(model, pick_scale(str(name), scales(model), scale))


def upscale(
    image: "np.ndarray",
    model: "str | Path | keras.Model | Upscaler | None" = None,
    scale: int | None = None,
    tile: int | None = None,
) -> "np.ndarray":
    """Returns an image enlarged or restored, of the same type and channels.

    Large images are enlarged in tiles, which gives the same result as the whole image
    unless the upscaler is `far_seeing`. Every call loads a model that is given by name;
    for many calls, load it once with `load_upscaler`.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, uint8, uint16 or float in [0, 1].
        model: As for `load_upscaler`; by default the best released model for `scale`,
            in int8 for uint8 images.
        scale: One of the model's scales; the smallest by default.
        tile: Side of the tiles in pixels; by default chosen to fit the free memory.

    Returns:
        The result, `(H * scale, W * scale)` or with a channel axis as `image` has it.

    Raises:
        InputError: If the image has another shape or type, or there is no such model.
    """
    import numpy as np

    from tfsr.upscaling.jobs import check_image, upscale_array

    image = np.asarray(image)
    check_image(image)
    for argument, value in {"scale": scale, "tile": tile}.items():
        if value is not None:
            arguments.whole(argument, value)
    if model is None:
        scale = scale or min(released.ENLARGERS)
        model = released.enlarger(scale)
        if image.dtype == np.uint8:
            model = released.int8_name(model, scale)
    return upscale_array(load_upscaler(model, scale, smallest=True), image, tile)


def train(
    config: "str | Path | Config",
    out: str | Path,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    overrides: Sequence[str] = (),
) -> dict | None:
    """Trains a config's model into the run folder `out`, or resumes the run there.

    Args:
        config: A TOML file, or what `tfsr.training.read_config` returned.
        out: The run folder.
        callbacks: Further Keras callbacks.
        overrides: Values that replace those of the file, such as `"train.epochs=10"`.

    Returns:
        What `metrics.json` in `out` holds; None on workers other than the chief.

    Raises:
        InputError: If config or data cannot be used, or `out` holds another run.
        NotFiniteError: If the training diverges.
    """
    out, overrides = arguments.path("out", out), arguments.texts("overrides", overrides)
    check_target(out, new_folders=True)
    import_keras()
    from tfsr.training import Config, read_config, train

    if isinstance(config, str | Path):
        config = read_config(config, overrides)
    if not isinstance(config, Config):
        raise InputError(
            "`config` must be a TOML file or what tfsr.training.read_config returned. "
            f"Received: {type(config).__name__}."
        )
    if config.quantize:
        raise InputError(f"{config.source}: has [quantize]; see tfsr quantize-train.")
    return train(config, out, callbacks=callbacks)


def evaluate(
    model: "str | Path | keras.Model | Upscaler",
    folder: str | Path,
    scale: int | None = None,
    degradation: Degradation | None = None,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    border: int | None = None,
) -> dict:
    """Returns the scores of a model on a benchmark folder.

    Args:
        model: As for `load_upscaler`.
        folder: Images, or `HR/` and `LR_bicubic/X2`, `X3`, `X4`, or `HR/` and `LR/`.
        scale: One of the model's scales; needed if it has several.
        degradation: What degrades the images, such as `tfsr.data.JPEG(10)`, after
            bicubic if the model enlarges; by default what it was trained on.
            `tfsr.data.Bicubic()` leaves LR clean.
        seed: Seed of the noise.
        metrics: Keys of `tfsr.metrics.METRICS`; by default PSNR, SSIM and those that
            papers add for the degradation.
        border: Pixels shaved from each side; by default the scale, none in restoration.

    Returns:
        `model`, `protocol`, `folder`, `scale`, `degradation`, `mean` and `images`: the
        metrics by name, their mean and those of every image.

    Raises:
        InputError: If the model or the folder cannot be used.
    """
    from tfsr.scoring.evaluation import evaluate
    from tfsr.scoring.images import images_to_score

    if metrics is not None:
        metrics = arguments.texts("metrics", metrics)
    upscaler = load_upscaler(model, scale)
    images = images_to_score(upscaler, folder, degradation, seed=seed, border=border)
    return {"model": upscaler.name, **evaluate(upscaler, images, metrics)}


def params(model: "keras.Model") -> int:
    """Returns the number of trainable parameters of a Keras model that is built.

    Collapsible convolutions count as what they collapse to.
    """
    from tfsr.graph import complexity
    from tfsr.zoo.keras_models import functional

    return complexity.params(functional(model))


def mult_adds(model: "keras.Model", height: int, width: int) -> int:
    """Returns the multiply-accumulates of a model for one image.

    They are those of `tfsr summary`: biases, activations and additions are free.

    Args:
        model: A Keras model, built.
        height: Height of the input.
        width: Width of the input.

    Raises:
        InputError: If it is a subclassed model that cannot run on such images.
    """
    from tfsr.graph import complexity
    from tfsr.zoo.keras_models import functional

    height, width = arguments.size("size", (height, width))
    return complexity.mult_adds(functional(model), height, width)
