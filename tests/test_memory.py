import sys

from tfsr import memory


def test_the_peak_is_of_this_process():
    before = memory.peak_memory_mb()
    held = bytearray(200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert before > 10
    assert memory.peak_memory_mb() >= before
    assert memory.peak_memory_mb() > 200


def test_unknown_where_the_system_has_no_resource(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    assert memory.peak_memory_mb() > 10  # as `getrusage` has it
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert memory.peak_memory_mb() is None
