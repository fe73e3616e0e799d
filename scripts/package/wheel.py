"""Makes a wheel around the executable: wheel.py UDOCKER VERSION ARCH OUTDIR.

The executable is static, so it works with every C library. The content of a wheel is specified by
the "Binary distribution format" of the Python packaging specifications.
"""

import base64
import hashlib
import os
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

METADATA = """\
Metadata-Version: 2.1
Name: udocker
Version: {version}
Summary: Pulls, keeps and runs Docker and OCI containers without root, daemon or administrator
Home-page: https://github.com/indigo-dc/udocker
License: Apache-2.0; the executable carries PRoot, a program under GPL-2.0-or-later
Requires-Python: >=3.8
Description-Content-Type: text/markdown

{readme}"""

WHEEL = """\
Wheel-Version: 1.0
Generator: udocker
Root-Is-Purelib: false
Tag: py3-none-{platform}
"""


def read(*path):
    """Returns the bytes of a file of this repository."""
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def record_line(name, data):
    """Returns the line of RECORD for a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def contents(udocker, version, platforms):
    """Yields the members: name, bytes, and whether the file is executable."""
    yield f"udocker-{version}.data/scripts/udocker", read(udocker), True
    yield f"udocker-{version}.data/scripts/udocker.py", read(HERE, "udocker.py"), True
    for name in sorted(os.listdir(os.path.join(HERE, "udocker"))):
        if name.endswith(".py"):
            text = read(HERE, "udocker", name).replace(b"@VERSION@", version.encode())
            yield f"udocker/{name}", text, False
    info = f"udocker-{version}.dist-info"
    readme = read(TOP, "README.md").decode()
    yield f"{info}/METADATA", METADATA.format(version=version, readme=readme).encode(), False
    tags = "".join(WHEEL.format(platform=one) for one in platforms[:1])
    tags += "".join(f"Tag: py3-none-{one}\n" for one in platforms[1:])
    yield f"{info}/WHEEL", tags.encode(), False
    for licence in (("LICENSE",), ("vendor-proot", "COPYING"), ("vendor-proot", "SOURCE")):
        yield f"{info}/licenses/{'/'.join(licence)}", read(TOP, *licence), False


def main():
    """Writes the wheel."""
    udocker, version, arch, out = sys.argv[1:]
    platforms = [f"{one}_{arch}" for one in ("manylinux_2_17", "manylinux2014", "musllinux_1_1")]
    name = f"udocker-{version}-py3-none-{'.'.join(platforms)}.whl"
    record = ""
    with zipfile.ZipFile(os.path.join(out, name), "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(member, data, executable):
            info = zipfile.ZipInfo(member)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            wheel.writestr(info, data)

        for member, data, executable in contents(udocker, version, platforms):
            add(member, data, executable)
            record += record_line(member, data)
        listing = f"udocker-{version}.dist-info/RECORD"
        add(listing, (record + f"{listing},,\n").encode(), False)


main()
