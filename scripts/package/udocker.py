#!python
"""Starts the executable beside this file, under the name that some callers use."""

import importlib
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))

if __name__ == "__main__":
    os.execv(os.path.join(HERE, "udocker"), sys.argv)

# Other programs in this directory have it first in their search path, and mean the package.
sys.path = [path for path in sys.path if os.path.realpath(path) != HERE]
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module(__name__)
