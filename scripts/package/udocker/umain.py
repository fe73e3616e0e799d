"""The program, called from Python as the Python version of udocker was.

    from udocker.umain import UMain
    status = UMain(["udocker", "run", "--rm", "alpine", "true"]).execute()
"""

import importlib.metadata
import subprocess
import sys


def executable():
    """The path of the executable that was installed with this module."""
    files = importlib.metadata.files("udocker") or []
    return next(str(file.locate()) for file in files if file.name == "udocker")


class UMain:
    """A command line, the program's name first."""

    def __init__(self, argv):
        self.argv = argv

    def execute(self):
        """Runs it, and returns its exit status; 128+N where signal N ended it."""
        sys.stdout.flush()
        status = subprocess.call([executable(), *self.argv[1:]])
        return status if status >= 0 else 128 - status
