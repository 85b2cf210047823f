"""Delegates in the arguments of commands."""

from tfsr.cli.output import say


def delegates_of(names):
    """Returns the named delegates; prints the notices that their users must know."""
    from tfsr.tflite.devices.delegates import Delegate

    delegates = [Delegate(name) for name in names]
    here = [d.kind for d in delegates if d.kind.notice and not d.kind.missing()]
    for notice in dict.fromkeys(kind.notice for kind in here):
        say(f"{notice}.")
    return delegates
