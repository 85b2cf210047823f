"""Published figures of other networks, from `published.toml`."""

import tomllib
from dataclasses import dataclass
from importlib import resources

from tfsr.data.degradation_type import Degradation

HR_720P = 720 * 1280


@dataclass(frozen=True)
class Published:
    """Figures of one network from a paper or repository; PSNR in dB by test folder."""

    paper: str
    name: str
    psnr: dict[str, float]
    params: int | None
    mult_adds: int | None  # for an output of 1280x720
    int8_share: float | None = None  # latency of its architecture relative to CARN-M


def published_networks(scale: int, degradation: Degradation) -> list[Published]:
    """Returns the networks with published figures for one task.

    Mult-adds are scaled by area from the paper's HR size to 1280x720.

    Args:
        scale: The upscaling factor; 1 in restoration.
        degradation: What the networks are for.
    """
    task = degradation.published(scale)
    tables = resources.files(__package__).joinpath("published.toml")
    text = tables.read_text(encoding="utf-8")
    return [
        _network(paper, network)
        for paper in tomllib.loads(text)["paper"]
        for network in paper["network"]
        if network["task"] == task
    ]


def _network(paper, network):
    mult_adds = None
    if "mult_adds_g" in network:
        height, width = paper["hr"]
        mult_adds = round(network["mult_adds_g"] * 1e9 * HR_720P / (height * width))
    params = network.get("params_k")
    return Published(
        paper["name"],
        network["name"],
        network["psnr"],
        params and 1000 * params,
        mult_adds,
        network.get("int8_share"),
    )
