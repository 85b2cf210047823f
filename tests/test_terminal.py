import pytest

from tfsr.cli.output import columns, fail, one_line, present
from tfsr.terminal import duration, printable

EVIL = "\x1b]0;x\x07\x1b[2J\x9b1mx.png"
SAFE = r"\x1b]0;x\x07\x1b[2J\x9b1mx.png"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a b.png", "a b.png"),
        ("été, 写真 🖼.png", "été, 写真 🖼.png"),
        (EVIL, SAFE),
        ("a\nb\rc\x7f", r"a\nb\rc\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (b"bad\xff.png".decode(errors="surrogateescape"), r"bad\udcff.png"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(text, safe):
    assert printable(text) == safe


def test_lines_and_tables_are_escaped(capsys):
    assert one_line(f"{EVIL}:\n no") == f"{SAFE}: no"
    assert columns([["image", "dB"], [f"{EVIL}\n", "1"]]).count("\n") == 1
    assert fail(f"{EVIL}: no such file.") == 2
    assert capsys.readouterr().err == f"tfsr: {SAFE}: no such file.\n"


@pytest.mark.parametrize("json", [None, "-"])
def test_results_are_escaped(capsys, json):
    class Options:
        pass

    Options.json = json
    present(Options, {"name": EVIL}, f"{EVIL}\nb")
    out = capsys.readouterr().out
    assert not set(out) & {"\x1b", "\x07", "\x9b"}
    assert json or out == f"{SAFE}\nb\n"


def test_a_file_with_escapes_in_its_name_is_named(tmp_path, run):
    (tmp_path / EVIL).write_text("no image")
    out = tmp_path / "o.png"
    arguments = ("upscale", tmp_path / EVIL, "-o", out, "--model", "bicubic")
    code, stdout, stderr = run(*arguments, "--scale", 2)
    assert (code, stdout) == (2, "")
    assert SAFE in stderr
    assert stderr.count("\n") == 1
    assert not set(stderr) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5000, "83 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
