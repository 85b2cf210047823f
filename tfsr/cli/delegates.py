"""Delegates in the arguments of commands."""

from tfsr.cli.output import say


def delegates_of(names):
    """Returns the named delegates; prints the notices that their users must know."""
    from tfsr.tflite.devices.delegates import Delegate

    delegates = [Delegate(name) for name in names]
    here = [d.engine for d in delegates if d.engine.notice and not d.missing()]
    for notice in dict.fromkeys(engine.load("notice") for engine in here):
        say(f"{notice}.")
    return delegates
