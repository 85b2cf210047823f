"""Models that come with tfsr, loaded by name.

In the folder `released`, NAME.npz has the weights in float16, in the model's order,
NAME.toml the config of their training, NAME_int8.tflite or NAME_x2_int8.tflite the
conversions, NAME.md the card, and SHA256SUMS the digests.
"""

import re
from pathlib import Path

from tfsr import files
from tfsr.errors import InputError

FOLDER = Path(__file__).parents[1] / "released"
MODELS = (".npz", ".tflite")
ENLARGERS = dict.fromkeys((2, 3, 4), "sesr_m")  # the best in validation, by scale
SCALED = r"_x\d+$"  # ends names of one scale


def names() -> list[str]:
    """Returns the names of all models: NAME for Keras, NAME_int8 and so on for TFLite.

    NAME stands for all of its scales, in one network or in NAME_x2 and so on.
    """
    files = (file.stem for file in FOLDER.glob("*") if file.suffix in MODELS)
    return sorted({public(stem) for stem in files})


def public(stem: str) -> str:
    """Returns the name of a file without its scale: NAME of NAME_x2."""
    return re.sub(SCALED, "", stem)


def find(model: str | Path, scale: int | None = None, smallest: bool = False) -> Path:
    """Returns the file of a released model.

    Returns `model` itself if it is not a released name, or if a file or folder of the
    working directory has that name.

    Args:
        model: The name of a released model, or another model.
        scale: The scale of the network, if each scale has its own.
        smallest: Whether `scale` is by default the smallest.

    Raises:
        InputError: If the file is damaged, or there is no network of the scale.
    """
    if Path(model).exists():
        return Path(model)
    if networks := by_scale(model):
        only = smallest or len(networks) == 1
        scale = scale or (min(networks) if only else None)
        if scale not in networks:
            has = ", ".join(f"x{s}" for s in networks)
            advice = f"not x{scale}"
            if scale is None:
                advice = f"choose one by `scale`, or as {networks[min(networks)]}"
            raise InputError(f"{model}: has networks of {has}; {advice}.")
        model = networks[scale]
    found = [FOLDER / f"{model}{suffix}" for suffix in MODELS]
    found = [file for file in found if file.is_file()]
    if not found:
        return Path(model)
    (file,) = found
    if files.sha256(file) != digests().get(file.name):
        raise InputError(f"{file}: damaged; its checksum does not match.")
    return file


def by_scale(name: str | Path) -> dict[int, str]:
    """Returns NAME_x2 and so on by scale if each scale of NAME has its own network.

    It is empty for other names.
    """
    of_name = re.compile(rf"{re.escape(str(name))}_x(\d+)")
    found = (of_name.fullmatch(file.stem) for file in FOLDER.glob("*.npz"))
    return dict(sorted((int(match[1]), match[0]) for match in found if match))


def named(model: str) -> str:
    """Returns the name of a released model's file; for other models, their path."""
    return Path(model).stem if Path(model).parent == FOLDER else model


def enlarger(scale: int) -> str:
    """Returns the name of the best model that enlarges by `scale`.

    Raises:
        InputError: If there is no model for it.
    """
    if scale not in ENLARGERS:
        known = ", ".join(f"x{s}" for s in ENLARGERS)
        raise InputError(
            f"tfsr has models for {known}, not for x{scale}; "
            "give a `model` of your own."
        )
    return ENLARGERS[scale]


def int8_name(name: str, scale: int = 1) -> str:
    """Returns the name of a released model's conversion to int8 for a scale."""
    of_scale = f"{name}_x{scale}_int8"
    return of_scale if of_scale in names() else f"{name}_int8"


def int8_names(network: str) -> list[str]:
    """Returns the names of a released network's conversions to int8."""
    of_network = re.compile(rf"{re.escape(network)}(_x\d+)?_int8")
    return [name for name in names() if of_network.fullmatch(name)]


def config(file: Path) -> Path:
    """Returns the config beside a released file, with which it was trained.

    NAME_x2_int8 has the config of NAME_x2, or of NAME if one network has all scales.
    """
    stem = file.stem.removesuffix("_int8")
    own = file.with_name(f"{stem}.toml")
    shared = file.with_name(f"{public(stem)}.toml")
    return shared if shared.exists() and not own.exists() else own


def write_digests() -> None:
    """Writes SHA256SUMS of all models in the folder."""
    models = sorted(file for file in FOLDER.iterdir() if file.suffix in MODELS)
    lines = [f"{files.sha256(file)}  {file.name}\n" for file in models]
    files.write_text(FOLDER / "SHA256SUMS", "".join(lines))


def digests() -> dict[str, str]:
    """Returns the SHA-256 of all released files by name, as hexadecimal digits."""
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}
