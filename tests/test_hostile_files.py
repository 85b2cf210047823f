"""Damaged files of every kind are refused in one line; a few of each.

`hostile_files.py` tries them by the thousand.
"""

import importlib.util
import warnings

import pytest

from hostile_files import ENTRIES, attempt
from tfsr import children
from tfsr.errors import InputError

FEW = {"graph run": 1}  # each in a process of its own
CASES = 12


@pytest.mark.parametrize("name", ENTRIES)
def test_damaged_files_are_used_or_refused_in_a_line(name, tmp_path, monkeypatch):
    if name == "pth" and importlib.util.find_spec("torch") is None:
        pytest.skip("reading a .pth needs PyTorch")
    monkeypatch.setattr(children, "is_child", False)  # the entry may set it
    entry = ENTRIES[name]
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names what it misses
        corpus, use = entry.prepare(tmp_path)
        for number in range(FEW.get(name, CASES)):
            try:
                outcomes.append(attempt(use, entry.case(corpus, number, seed=0)))
            except BaseException as error:
                error.add_note(f"{name}, case {number} of seed 0")
                raise
    assert "refused" in outcomes or name in FEW


def test_a_npz_needs_its_config(tmp_path):
    import tfsr

    corpus, use = ENTRIES["npz"].prepare(tmp_path)
    use(corpus[0])
    (tmp_path / "m.toml").unlink()
    with pytest.raises(InputError, match=r"m\.npz: .*m\.toml"):
        tfsr.load_model(tmp_path / "m.npz")
