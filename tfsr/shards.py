"""Work that several machines share: each takes every N-th piece."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shard:
    """The share of one machine of `count`; `index` is from 1 to `count`."""

    index: int
    count: int

    def __post_init__(self):
        if not 1 <= self.index <= self.count:
            raise ValueError(
                "`index` must be from 1 to `count`. "
                f"Received: index={self.index}, count={self.count}."
            )

    def __str__(self):
        return f"{self.index}/{self.count}"

    def of(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """Returns this machine's share of `pieces`, which all machines sort alike."""
        return pieces[self.index - 1 :: self.count]

    def file(self, of_all: str | Path) -> Path:
        """Returns the file of this shard, as `scores_1of4.json` for `scores.json`."""
        of_all = Path(of_all)
        name = f"{of_all.stem}_{self.index}of{self.count}{of_all.suffix}"
        return of_all.with_name(name)

    @classmethod
    def beside(cls, of_all: str | Path) -> Iterator[list["Shard"]]:
        """Yields the shards 1 to N for each N whose files all exist beside `of_all`."""
        of_all = Path(of_all)
        for file in sorted(of_all.parent.glob(f"{glob.escape(of_all.stem)}_1of*")):
            count = file.stem.rpartition("of")[2]
            if count.isdigit():
                shards = [cls(i + 1, int(count)) for i in range(int(count))]
                if all(shard.file(of_all).is_file() for shard in shards):
                    yield shards
