"""Counts the parameters and mult-adds of a network."""

from tfsr import arguments, networks
from tfsr.config import parse_config, read_config
from tfsr.config_files import find_config
from tfsr.errors import InputError
from tfsr.networks import build_model, model_table
from tfsr.quiet import import_keras
from tfsr.zoo import released
from tfsr.zoo.upscalers import pick_scale


def summarize(
    source: str,
    scale: int | None = None,
    size: tuple[int, int] | None = None,
    overrides: list[str] | None = None,
) -> dict:
    """Returns parameters and mult-adds of a network for each of its scales.

    Args:
        source: The name of a network or of a released model, a config, a run folder or
            a `.keras` file.
        scale: The scale to count; all by default. It is required where each scale is a
            separate network.
        size: Height and width of the input; by default that of a 1280x720 output,
            which may be fractional. Ignored for networks of fixed size.
        overrides: `model.key=value` each, for a network by name or a config.

    Returns:
        `model`, `params`, `mult_adds`, `input` and `output` of the largest scale,
        `uncounted` (names of layers of unknown mult-adds), `far_seeing` (names of
        operations that may depend on the whole image), and `scales`, a list of these
        keys for each scale.

    Raises:
        InputError: If there is no such network, or it lacks the scale.
    """
    size = size and arguments.size("size", size)
    _check(source, scale, overrides)
    import_keras()
    from tfsr.graph import complexity
    from tfsr.models import scales, single_scale

    model, name = _load(source, scale, overrides or [])
    counted = [
        _count(single_scale(model, s), s, size)
        for s in ([pick_scale(name, scales(model), scale)] if scale else scales(model))
    ]
    keys = ("mult_adds", "input", "output", "uncounted", "far_seeing")
    largest = {key: counted[-1][key] for key in keys}
    return {
        "model": name,
        "params": complexity.params(model),
        **largest,
        "scales": counted,
    }


def _check(source, scale, overrides):
    """Raises an `InputError` if there is no such network, without loading Keras."""
    if source in networks.names():
        return
    if _is_config(source):
        parse_config(source, overrides or [])
    elif not released.find(source, scale).exists():
        known = ", ".join(networks.names())
        raise InputError(
            f"{source}: no such config or model; networks: {known}; "
            f"released models: {', '.join(released.names())}."
        )
    elif overrides:
        raise InputError(f"override {overrides[0]}: is only for networks and configs.")


def _is_config(source):
    return find_config(source).suffix == ".toml"


def _load(source, scale, overrides):
    from tfsr.zoo.loading import load_model

    if source in networks.names():
        return build_model(model_table(source, overrides), source), source
    if _is_config(source):
        table = read_config(source, overrides).model
        return build_model(table, source), table["name"]
    return load_model(source, scale), released.named(source)


def _count(model, scale, size):
    from tfsr.graph import complexity
    from tfsr.graph.footprint import far_seeing

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
        "far_seeing": far_seeing(model),
    }
