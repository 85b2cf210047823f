"""Delegates that a command is asked for."""

from tfsr.cli.output import say


def delegates_of(names):
    """Returns delegates by name, after what their users must know is said."""
    from tfsr.tflite.devices.delegates import Delegate

    delegates = [Delegate(name) for name in names]
    here = [d.kind for d in delegates if d.kind.notice and not d.kind.missing()]
    for notice in dict.fromkeys(kind.notice for kind in here):
        say(f"{notice}.")
    return delegates
