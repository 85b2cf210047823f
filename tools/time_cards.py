"""Times the released models again, in turns, and writes the figures into their cards.

python tools/time_cards.py [NAME ...]

Afterwards, run tools/index_released.py, which updates `tfsr models`.
"""

import sys

from release import table, time_scale

import tfsr
from tfsr import files
from tfsr.data import BenchmarkFolder
from tfsr.data.embedded import TRAINING, photographs
from tfsr.models import scales
from tfsr.tflite.runtime import inspect
from tfsr.training import read_config
from tfsr.zoo import released


def main():
    cards = sorted(released.FOLDER.glob("*.md"))
    if sys.argv[1:]:
        cards = [released.FOLDER / f"{name}.md" for name in sys.argv[1:]]
    for card in cards:
        rows = times(card)
        quality, _, _ = card.read_text().partition("| input | float32 |")
        _, _, spoiled = card.read_text().partition("\n\n| LR |")
        lines = table(rows)
        lines += [f"| LR |{spoiled}"] if spoiled else []
        files.write_text(card, quality + "\n".join(lines))
        print(f"{card.stem}: {rows[0]['int8']}", flush=True)


def times(card):
    """Returns a row for each scale of a card's network."""
    model, rows = tfsr.load_model(card.with_suffix(".npz")), []
    task = read_config(card.with_suffix(".toml")).data.task.rounded()
    for scale in scales(model):
        pictures = BenchmarkFolder(
            photographs(TRAINING), scale, model.inputs[0].shape[-1], degradation=task
        )
        name = released.int8_name(card.stem, scale)
        file = released.FOLDER / f"{name}.tflite"
        size = inspect(file)["metadata"]["size"]
        rows.append(time_scale(model, scale, file, pictures, size))
    return rows


if __name__ == "__main__":
    main()
