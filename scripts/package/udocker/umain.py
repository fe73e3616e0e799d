"""Runs the executable with the interface of the Python version of udocker.

    from udocker.umain import UMain
    status = UMain(["udocker", "run", "--rm", "alpine", "true"]).execute()
"""

import importlib.metadata
import subprocess
import sys


def executable():
    """Returns the path of the executable that was installed with this module."""
    files = importlib.metadata.files("udocker") or []
    return next(str(file.locate()) for file in files if file.name == "udocker")


class UMain:
    """A command line; the first word is the program's name."""

    def __init__(self, argv):
        self.argv = argv

    def execute(self):
        """Runs the command line, and returns its exit status; 128+N after signal N."""
        sys.stdout.flush()
        status = subprocess.call([executable(), *self.argv[1:]])
        return status if status >= 0 else 128 - status
