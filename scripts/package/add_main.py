"""Lets Python run an executable, since callers of udocker.py write `python3 udocker run …`.

add_main.py EXECUTABLE appends a zip archive with `__main__.py`: Python runs what is in the archive,
the kernel what is before it.
"""

import os
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))

with zipfile.ZipFile(sys.argv[1], "a") as archive:
    with open(os.path.join(HERE, "__main__.py"), "rb") as main:
        # The member gets no time, so that the archive is always the same.
        archive.writestr(zipfile.ZipInfo("__main__.py"), main.read())
