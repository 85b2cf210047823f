"""The zoo: quality against int8 latency of released models and published networks.

Quality is PSNR on Y of Set14, in float, on clean LR. Latency is relative to CARN-M for
the same output: from the cards of released models, and for published networks from
measurements of their architectures in `published.toml`.
"""

from collections.abc import Sequence
from pathlib import Path

from tfsr import pictures
from tfsr.data.degradation_type import BICUBIC
from tfsr.report.published import published_networks
from tfsr.zoo import catalogue
from tfsr.zoo.choosing import PHOTO

TEST = "Set14"
Points = dict[str, tuple[float, list[float]]]


def draw(
    file: str | Path, scales: Sequence[int], inches: tuple[float, float]
) -> str | None:
    """Draws a panel for each scale; returns a description of the picture.

    Returns None, without a picture, if a scale has no published or released network.

    Args:
        file: The picture to write, `.png`.
        scales: The upscaling factors.
        inches: Width and height of a panel.
    """
    ours = {f"x{scale}": _released(scale) for scale in scales}
    theirs = {f"x{scale}": _published(scale) for scale in scales}
    if not all(ours.values()) or not all(theirs.values()):
        return None
    labels = dict.fromkeys(label for of_scale in ours.values() for label in of_scale)
    missing: Points = {label: (0, []) for label in labels}
    panels = {title: missing | ours[title] | theirs[title] for title in ours}
    published = {label for of_scale in theirs.values() for label in of_scale}
    xlabel, ylabel = "int8 latency, CARN-M = 1", f"PSNR on Y, {TEST} (dB)"
    pictures.scatter(file, xlabel, ylabel, panels, published, inches)
    shown = [
        f"{title}: "
        + ", ".join(
            f"{label} {psnr:.2f} dB at {share:.3g}"
            for label, (share, values) in points.items()
            for psnr in values
        )
        for title, points in panels.items()
    ]
    return f"{ylabel} against {xlabel}. {'; '.join(shown)}."


def _released(scale: int) -> Points:
    """Returns relative latency and PSNR of released networks for clean LR, by name."""
    return {
        model["name"]: (model["int8_latency_of_carn_m"], [model["psnr_y"][TEST]])
        for model in catalogue.models()["released"]
        if model["scale"] == scale
        and not model["name"].startswith(PHOTO)
        and not model["name"].endswith("_int8")
    }


def _published(scale: int) -> Points:
    """Returns relative latency and PSNR of published networks, by name."""
    return {
        network.name: (network.int8_share, [network.psnr[TEST]])
        for network in published_networks(scale, BICUBIC)
        if network.int8_share
    }
