#!python
"""The executable beside this, under the name that some callers know."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
os.execv(os.path.join(HERE, "udocker"), sys.argv)
