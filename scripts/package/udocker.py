#!python
"""The executable beside this, under the name that some callers know."""

import importlib
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))

if __name__ == "__main__":
    os.execv(os.path.join(HERE, "udocker"), sys.argv)

# Other programs of this folder have it first in their path, and mean the package.
sys.path = [path for path in sys.path if os.path.realpath(path) != HERE]
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module(__name__)
