"""The configs that come with tfsr, by name."""

import difflib
from pathlib import Path

# A wheel has them inside the package, a clone beside it.
CONFIGS = [parent / "configs" for parent in Path(__file__).parents[:2]]


def find_config(name: str | Path) -> Path:
    """Returns the file of a config that comes with tfsr, such as `carn/carn_m`.

    Returns `name` itself if there is none, or if a file or folder of the working
    directory has that name.
    """
    if not Path(name).exists():
        for folder in CONFIGS:
            file = folder / f"{name}.toml"
            if file.is_file():
                return file
    return Path(name)


def alike(name: str | Path) -> list[str]:
    """Returns the configs of tfsr whose last part resembles that of `name`."""
    there = [file for folder in CONFIGS for file in folder.glob("*/*.toml")]
    alike = difflib.get_close_matches(
        Path(name).stem, {file.stem for file in there}, cutoff=0.8
    )
    return sorted(f"{f.parent.name}/{f.stem}" for f in there if f.stem in alike)
