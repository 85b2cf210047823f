class InputError(ValueError):
    """The user's mistake: a file, folder, option or config value that cannot be used.

    The message is one line that names the culprit and says what would be right. The
    command line prints it and exits with 2.
    """
