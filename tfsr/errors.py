class InputError(ValueError):
    """The user's mistake: a file, folder, option or config value that cannot be used.

    The message is one line that names the culprit and says what would be right. The
    command line prints it and exits with 2.
    """


class NotFiniteError(ValueError):
    """Weights, a loss or an output are NaN or infinite: the training has diverged.

    The command line prints its one line and exits with 1.
    """


class WorkerLostError(RuntimeError):
    """Another worker of a training on several machines has stopped.

    The command line prints its one line and exits with 1.
    """
