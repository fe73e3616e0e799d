#!/bin/bash
# Checks what build.sh made for ARCH: right machine, static, and, where it can run, that it does.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
arch=$1
fail() { echo "check-binary.sh: build/$arch/$1" >&2; exit 1; }

for file in proot loader loader-m32; do
    path=build/$arch/$file
    if [ ! -e "$path" ]; then
        [ "$arch/$file" = aarch64/loader-m32 ] || fail "$file is missing"
        continue
    fi
    case $arch/$file in
        */loader-m32) machine='Intel 80386' ;;
        x86_64/*) machine='X86-64' ;;
        *) machine='AArch64' ;;
    esac
    LC_ALL=C readelf -h "$path" | grep -Eq "Machine: .*$machine" || fail "$file is not for $machine"
    LC_ALL=C readelf -lW "$path" | grep -Eq '^ +(INTERP|DYNAMIC) ' && fail "$file is not static"
done
if [ "$arch" = "$(uname -m)" ]; then
    "build/$arch/proot" --version >/dev/null || fail "proot does not run"
fi
