"""What commands print: messages on standard error, results on standard output."""

import contextlib
import io
import sys

from tfsr import files
from tfsr.terminal import printable


def say(message):
    print(f"tfsr: {one_line(message)}", file=sys.stderr)


def fail(message, code=2):
    say(message)
    return code


def escape_what_cannot_be_printed():
    """Has standard output escape what its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def on_stderr():
    """Returns a context that prints on standard error, as Keras' progress should be."""
    return contextlib.redirect_stdout(sys.stderr)


def one_line(message):
    return printable(" ".join(str(message).split()))


def present(options, report, text):
    """Prints `text`, or writes `report` where `--json` says."""
    if options.json == "-":
        print(files.to_json(report))
        return
    print(printable(text, keep="\n"))
    if options.json:
        files.write_json(options.json, report)


def columns(lines):
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
