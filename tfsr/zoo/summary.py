"""What a network costs, by its name, its config or its file."""

from pathlib import Path

from tfsr.config import build_model, model_table, read_config
from tfsr.errors import InputError
from tfsr.graph import complexity
from tfsr.models import MODELS, scales, single_scale
from tfsr.zoo import released
from tfsr.zoo.loading import load_model
from tfsr.zoo.upscalers import pick_scale


def summarize(
    source: str,
    scale: int | None = None,
    size: tuple[int, int] | None = None,
    overrides: list[str] | None = None,
) -> dict:
    """Returns parameters and mult-adds of a network, of each of its scales.

    Args:
        source: The name of a network or of a released model, a config, a run folder or
            a `.keras` file.
        scale: Of the scales, the one to count; all by default.
        size: Height and width of the input; by default an output of 1280x720, where LR
            need not be whole pixels. A network of one size has its own.
        overrides: `model.key=value` each, of a network by name or of a config.

    Returns:
        `model`, `params`, `mult_adds`, `input` and `output` of the largest scale,
        `uncounted`, the names of layers whose mult-adds are unknown, and `scales`, a
        list of these for each scale.

    Raises:
        InputError: If there is no such network, or it lacks the scale.
    """
    model, name = _load(source, overrides or [])
    counted = [
        _count(single_scale(model, s), s, size)
        for s in ([pick_scale(name, scales(model), scale)] if scale else scales(model))
    ]
    largest = {key: counted[-1][key] for key in ("mult_adds", "input", "output")}
    return {
        "model": name,
        "params": complexity.params(model),
        **largest,
        "uncounted": counted[-1]["uncounted"],
        "scales": counted,
    }


def _load(source, overrides):
    if source in MODELS:
        return build_model(model_table(source, overrides), source), source
    if source.endswith(".toml"):
        table = read_config(source, overrides).model
        return build_model(table, source), table["name"]
    known = Path(source).exists() or source in released.names()
    if not known:
        raise InputError(
            f"{source}: no such config or model; networks: {', '.join(MODELS)}; "
            f"released models: {', '.join(released.names())}."
        )
    if overrides:
        raise InputError(f"--set {overrides[0]}: is for networks and configs.")
    return load_model(source), released.named(source)


def _count(model, scale, size):
    own, channels = tuple(model.input.shape[1:3]), model.input.shape[-1]
    if None not in own:
        size = own
    if size:
        height, width = size
        mult_adds = complexity.mult_adds(model, height, width)
    else:  # as in the CARN paper
        height, width = (
            side / scale if side % scale else side // scale for side in (720, 1280)
        )
        mult_adds = complexity.mult_adds_720p(model, scale)
    return {
        "scale": scale,
        "params_of_scale": complexity.params(model),
        "mult_adds": mult_adds,
        "input": [height, width, channels],
        "output": [round(height * scale), round(width * scale), channels],
        "uncounted": complexity.uncounted(model, *(size or (720, 1280))),
    }
