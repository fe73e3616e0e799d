"""`python -m udocker.maincmd`, and `main`, the entry point of udocker.py 1.3."""

import os
import sys

from udocker.umain import executable


def main():
    """Replaces this process by the executable."""
    sys.stdout.flush()
    os.execv(executable(), ["udocker", *sys.argv[1:]])


if __name__ == "__main__":
    main()
