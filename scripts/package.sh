#!/bin/bash
# Makes the files of a release: package.sh UDOCKER OUTDIR writes
#   udocker-VERSION-ARCH.tar.gz  udocker/udocker, with licences and the source reference of PRoot
#   udocker-VERSION-….whl        the same executable for `pip install`, with the module that Python
#                                programs import
# from a release executable, which Python can run too then. Needs python3 alone.
set -euo pipefail
[[ $# == 2 ]] || { echo "usage: $0 UDOCKER OUTDIR" >&2; exit 2; }
udocker=$(readlink -e "$1")
out=$(mkdir -p "$2" && cd "$2" && pwd)
cd "$(dirname "$(readlink -f "$0")")/.."

version=$("$udocker" --version | sed -n 's/^version: //p') arch=$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/udocker"
install -m 755 "$udocker" "$work/udocker/udocker"
python3 scripts/package/add_main.py "$work/udocker/udocker"
ln -s udocker "$work/udocker/udocker.py"
cp README.md CHANGELOG.md LICENSE "$work/udocker"
mkdir "$work/udocker/proot"
cp -r vendor-proot/{COPYING,README.md,SOURCE,patches} "$work/udocker/proot"
tar --create --gzip --file "$out/udocker-$version-$arch.tar.gz" --owner 0 --group 0 --numeric-owner \
	--mode a+rX,go-w --directory "$work" udocker
python3 scripts/package/wheel.py "$work/udocker/udocker" "$version" "$arch" "$out"
ls -l "$out/udocker-$version"*
