"""What commands print: messages on standard error, results on standard output."""

import contextlib
import io
import re
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


def naming_options(message, options):
    """Returns an error message with arguments, such as `scale`, named as options."""

    def option(argument):
        known = hasattr(options, argument[1])
        return f"--{argument[1].replace('_', '-')}" if known else argument[0]

    # Behind `[model]` are arguments of a network's builder.
    return re.sub(r"(?<!\] )`(\w+)`", option, str(message))


def on_stderr():
    """Returns a context that prints to standard error, as for Keras' progress."""
    return contextlib.redirect_stdout(sys.stderr)


def one_line(message):
    return printable(" ".join(str(message).split()))


def present(options, report, text):
    """Prints `text`, and writes `report` as JSON if `--json` asks for it."""
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
