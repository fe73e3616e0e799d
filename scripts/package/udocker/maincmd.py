"""`python -m udocker.maincmd`, and the function that was once the program's entry point."""

import os
import sys

from udocker.umain import executable


def main():
    """Becomes the program."""
    sys.stdout.flush()
    os.execv(executable(), ["udocker", *sys.argv[1:]])


if __name__ == "__main__":
    main()
