"""Writes released/index.json, which has the figures of the cards for `tfsr models`.

Run it after tools/release.py has made or changed a card:

python tools/index_released.py
"""

import re

import tfsr
from tfsr import files
from tfsr.config import read_config
from tfsr.graph import complexity
from tfsr.models import scales, single_scale
from tfsr.zoo import catalogue, released


def main():
    files.write_json(released.FOLDER / catalogue.INDEX, {"models": index()})


def index():
    """Returns an entry for every card and scale."""
    cards = sorted(released.FOLDER.glob("*.md"))
    return [entry for card in cards for entry in entries_of(card)]


def entries_of(card):
    config = read_config(card.with_suffix(".toml"))
    model = tfsr.load_model(released.FOLDER / f"{card.stem}.npz")
    quality, latency, *_ = tables(card.read_text())
    for scale in scales(model):
        behind = f" x{scale}" if scale > 1 else ""
        scored = [row for row in quality if row["images"].endswith(behind)]
        (timed,) = (row for row in latency if row["input"].endswith(behind))
        of_scale = single_scale(model, scale)
        yield {
            "network": card.stem,
            "task": "super-resolution" if scale > 1 else TASKS[config.data.task.name],
            "scale": scale,
            "params": complexity.params(of_scale),
            "mult_adds": complexity.mult_adds_720p(of_scale, scale),
            "psnr_y": by_set(scored, behind, lambda row: figures(row["float"])[0]),
            "int8_psnr_y": by_set(scored, behind, lambda row: figures(row["int8"])[0]),
            "int8_loss_db": by_set(
                scored,
                behind,
                lambda row: figures(row.get("int8 loses", row["int8"]))[-1],
            ),
            "int8_latency_of_carn_m": share_of_carn_m(card, timed),
        }


def share_of_carn_m(card, timed):
    """Returns what a card says of that; None of restoration."""
    if card.stem == "carn_m":
        return 1.0
    return next(iter(figures(timed.get("of CARN-M", ""))), None)


TASKS = {"jpeg": "jpeg", "noise": "denoise"}  # of restoration, by degradation


def by_set(rows, behind, figure):
    return {row["images"].removesuffix(behind): figure(row) for row in rows}


def figures(cell):
    """Returns the numbers in a cell such as "37.20 dB, loses 0.037 dB"."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", cell)]


def tables(card):
    """Returns the rows, by column, of each table of a card in Markdown."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", card, re.M):
        head, _, *rows = (
            [cell.strip() for cell in line.strip("| ").split(" | ")]
            for line in block.splitlines()
        )
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


if __name__ == "__main__":
    main()
