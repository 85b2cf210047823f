"""Plans which files are enlarged or restored, and where their results go."""

import os
from dataclasses import dataclass
from pathlib import Path

from tfsr.errors import InputError
from tfsr.photos.folders import SUFFIXES, is_hidden, left_out
from tfsr.photos.formats import READ_ONLY
from tfsr.shards import Shard

PHOTO_SUFFIXES = (*SUFFIXES, *READ_ONLY)


@dataclass(frozen=True)
class Job:
    """One file to upscale and where its enlargement goes."""

    source: Path
    target: Path


def plan(
    source: str | Path,
    out: str | Path,
    suffix: str = "",
    format: str | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> tuple[list[Job], int]:
    """Returns the jobs for a file, or for a folder with its subfolders.

    Hidden files and linked subfolders are skipped. Files whose format cannot be written
    become PNG; if another file takes that name, the old ending stays: `logo.gif.png`.

    Args:
        source: A file or a folder of images.
        out: The file to write, or for a folder the folder to write to.
        suffix: Appended to the names of the files in a folder.
        format: The ending of the files written for a folder; by default their own.
        overwrite: Whether to replace existing files. Otherwise existing files of a
            folder count as done, so that an interrupted run is resumed.
        shard: The share of a folder's files to do here; all by default.

    Returns:
        The jobs, and the number of files that are already done.

    Raises:
        InputError: If `source` is missing or empty, if `out` exists (for one file), or
            if two files would be written to one.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder.")
    if not source.is_dir():
        if suffix or format or shard:
            raise InputError(
                f"{source}: `suffix`, `format` and `shard` are for folders."
            )
        return [_job_of_file(source, out, overwrite)], 0
    files = _images_in(source, out)
    targets = _targets(files, source, out, suffix, format)
    for target in targets.values():
        if target.is_symlink() and not target.exists() and not overwrite:
            raise InputError(f"{target}: a link to nothing; `overwrite` replaces it.")
    ours = shard.of(files) if shard else files
    jobs = [
        Job(file, targets[file])
        for file in ours
        if overwrite or not targets[file].is_file()
    ]
    return jobs, len(ours) - len(jobs)


def _job_of_file(source, out, overwrite):
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name the file to write.")
    if os.path.lexists(out) and not overwrite:
        raise InputError(f"{out}: exists; `overwrite` replaces it.")
    return Job(source, out)


def _images_in(source, out):
    """Returns the images in a folder and below it, sorted, without those in `out`."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; for the folder {source} name a folder.")
    inside, here = out.resolve(), source.resolve()
    if inside == here:
        raise InputError(f"{out}: must be another folder than the one upscaled.")
    files = sorted(
        source / file
        for file in _visible(here, inside)
        if file.suffix.lower() in PHOTO_SUFFIXES and not (here / file).is_dir()
    )
    if not files:
        raise InputError(f"{source}: no image in it; expected {', '.join(SUFFIXES)}.")
    return files


def _targets(files, source, out, suffix, format):
    """Returns the target of each file of a folder.

    Raises:
        InputError: If two files would have the same target.
    """
    targets, origin = {}, dict[Path, Path]()
    taken = {
        file.with_suffix(f".{format}" if format else file.suffix)
        for file in files
        if file.suffix.lower() not in READ_ONLY
    }
    for file in files:
        read_only = file.suffix.lower() in READ_ONLY
        ending = f".{format}" if format else ".png" if read_only else file.suffix
        keeps = read_only and file.with_suffix(ending) in taken
        stem = file.name if keeps else file.stem  # logo.gif beside logo.png
        relative = file.relative_to(source)
        target = out / relative.with_name(f"{stem}{suffix}{ending}")
        if target in origin:
            advice = "rename one" + " or leave out `format`" * bool(format)
            raise InputError(
                f"{target}: would be written for both {origin[target]} and {file}; "
                f"{advice}."
            )
        origin[target] = file
        targets[file] = target
    return targets


def photos_left_out(source: str | Path, out: str | Path) -> str:
    """Returns a line on what `plan` leaves out in a folder, or ""."""
    source = Path(source)
    if not source.is_dir():
        return ""
    folder = source.resolve()
    visible = [*_visible(folder, Path(out).resolve())]
    folders = {path for path in visible if (folder / path).is_dir()}
    kinds = left_out((path for path in visible if path not in folders), PHOTO_SUFFIXES)
    links = sorted(p.as_posix() for p in folders if (folder / p).is_symlink())
    said = [f"of kinds not read here: {kinds}"] if kinds else []
    said += [f"links to folders: {', '.join(links)}"] if links else []
    return f"{source}: left out, {'; '.join(said)}." if said else ""


def _visible(folder, out):
    """Yields what is under `folder`, relative to it, and not hidden."""
    for file in folder.rglob("*"):
        relative = file.relative_to(folder)
        hidden = any(map(is_hidden, (relative, *relative.parents[:-1])))
        if not hidden and out not in file.parents:
            yield relative
