"""The `tfsr` command: parse, load, call, save.

Each command has a module with `add`, which declares its arguments, and `run`. Heavy
imports stay inside `run`, so that `--help` and mistakes are answered at once.
"""

import _thread
import argparse
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path

import tfsr
from tfsr.cli import (
    app,
    benchmark,
    convert,
    demo,
    evaluate,
    import_carn,
    inspect,
    models,
    pack,
    quantize_train,
    report,
    sensitivity,
    study,
    summary,
    train,
    upscale,
    verify,
)
from tfsr.cli.output import escape_what_cannot_be_printed, fail, naming_options
from tfsr.errors import InputError, NotFiniteError, WorkerLostError
from tfsr.extras import MODULES, check, needs
from tfsr.files import check_target

COMMANDS = (
    demo,
    models,
    summary,
    pack,
    train,
    quantize_train,
    study,
    evaluate,
    upscale,
    import_carn,
    convert,
    verify,
    inspect,
    sensitivity,
    benchmark,
    report,
    app,
)
# The user can mend these, even where Python gives no file name.
DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code.

    0: done; 1: a check failed; 2: misuse; 130: interrupted; 128 + N: ended by signal N.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    escape_what_cannot_be_printed()
    options = _parser().parse_args(arguments)
    try:
        with _signals_that_end():
            if "" in (sys.argv[1:] if arguments is None else arguments):
                raise InputError("an argument is empty: '' names no file or folder.")
            _check_targets(options)
            code = _quietly(options) if options.quiet else options.run(options) or 0
            sys.stdout.flush()
            return code
    except InputError as error:
        return fail(naming_options(error, options))
    except (NotFiniteError, WorkerLostError) as error:
        return fail(error, code=1)
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if not error.filename and error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}.")
    except ModuleNotFoundError as error:
        if error.name not in MODULES:
            raise
        return fail(needs(error.name))
    except MemoryError:
        return fail("out of memory.")
    except _Ended as ended:
        return fail(f"ended by {ended.signal.name}.", code=128 + ended.signal)
    except KeyboardInterrupt:
        return fail("interrupted.", code=130)


class _Ended(KeyboardInterrupt):
    """A signal asks the process to end, which is handled like Ctrl-C."""

    def __init__(self, number):
        super().__init__()
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def _signals_that_end():
    """Makes the signals that would end the process raise `_Ended` inside the block."""

    def end(number, frame):
        raise _Ended(number)

    def once_more(dropped):
        # Python drops exceptions that a signal raises during garbage collection.
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            return hook(dropped)
        number = getattr(dropped.exc_value, "signal", signal.SIGINT)
        threading.Timer(0.1, _thread.interrupt_main, [number]).start()

    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread can catch them
    numbers = [n for n in numbers if n and signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    hook, sys.unraisablehook = sys.unraisablehook, once_more
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _quietly(options):
    """Runs a command; shows its messages only if it fails."""
    with io.StringIO() as messages:
        with contextlib.redirect_stderr(messages):
            code = options.run(options) or 0
        if code:
            sys.stderr.write(messages.getvalue())
    return code


def _check_targets(options):
    """Checks, before any work, that the files which the options name can be written."""
    for key in ("out", "json", "picture"):
        target = getattr(options, key, None)
        if target in (None, "-"):
            continue
        makes_folders = key == "out" and options.makes_folders
        # Commands with --overwrite write files or folders, and check that themselves.
        checks_itself = hasattr(options, "overwrite")
        if makes_folders and Path(target).is_file() and not checks_itself:
            raise InputError(f"{target}: is a file; name a folder.")
        check_target(target, makes_folders)
    if getattr(options, "picture", None):
        check("matplotlib")


class _Parser(argparse.ArgumentParser):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._later = []

    def later(self, declare):
        """Calls `declare(self)` when this command is used.

        It is for options that come from tables which take long to import.
        """
        self._later.append(declare)

    def declare(self):
        """Declares the options that were put off by `later`."""
        while self._later:
            self._later.pop(0)(self)

    def parse_known_args(self, args=None, namespace=None):
        self.declare()
        return super().parse_known_args(args, namespace)

    def error(self, message):
        raise SystemExit(fail(f"{message} (see {self.prog} --help)"))


class _Completion(argparse.Action):
    """Prints a script by which a shell completes commands, options and files."""

    def __call__(self, parser, namespace, shell, option=None):
        import shtab

        def complete(parser):
            parser.declare()
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for command in action.choices.values():
                        complete(command)
                elif action.nargs != 0 and not action.choices:
                    action.complete = shtab.FILE

        complete(parser)
        print(shtab.complete(parser, shell))
        parser.exit()


def _parser():
    parser = _Parser(
        prog="tfsr",
        description="Compact super-resolution and restoration: train, score, convert "
        "to TFLite, time.",
    )
    parser.add_argument(
        "--version", action="version", version=f"tfsr {tfsr.__version__}"
    )
    quiet = {"action": "store_true", "help": "print only results and errors"}
    parser.add_argument("--quiet", **quiet)
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print the completion script for this shell",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, run, help, makes_folders=False):
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run, makes_folders=makes_folders)
        added.add_argument("--quiet", default=argparse.SUPPRESS, **quiet)
        return added

    for module in COMMANDS:
        module.add(command)
    return parser
