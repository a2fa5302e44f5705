"""What can stop a run besides wrong arguments."""


class InputError(ValueError):
    """Wrong input from the command line or a file; the message is one line that names it and the fix."""


class RunStopped(RuntimeError):  # noqa: N818 - it is what happened, not a fault of the program
    """Training cannot go on; what was saved stays valid."""
