#!/bin/bash
# Builds PRoot: vendor-proot/build.sh [ARCH], where ARCH is x86_64 or aarch64 (default: this
# machine's).
#
# Leaves proot, loader, loader-m32 (x86_64 only) and manifest in build/ARCH/, all static and
# stripped, and does nothing when they are up to date. CROSS_COMPILE names the tool prefix.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=SOURCE
. ./SOURCE
arch=${1:-$(uname -m)}
cross=${CROSS_COMPILE-}
case $arch in
    x86_64 | aarch64) [ "$arch" = "$(uname -m)" ] || cross=${CROSS_COMPILE-$arch-linux-gnu-} ;;
    *) echo "build.sh: unknown architecture $arch" >&2; exit 2 ;;
esac
die() { echo "build.sh: $*" >&2; exit 1; }
digest() { sha256sum | cut -d ' ' -f 1; }

queue=$(cat patches/*.patch | digest)
inputs=$(cat SOURCE build.sh patches/*.patch talloc/*.[ch] | digest)
out=build/$arch
mkdir -p build
exec 9>build/lock
flock 9
grep -qsx "inputs=$inputs" "$out/manifest" && exit
for tool in "${cross}gcc" "${cross}objcopy" make patch tar; do
    command -v "$tool" >/dev/null || die "$tool is missing; install gcc, binutils, make, patch${cross:+, gcc-$arch-linux-gnu}"
done
if [ "$arch" = x86_64 ] && ! echo 'int x;' | "${cross}gcc" -m32 -ffreestanding -x c -c -o /dev/null - 2>/dev/null; then
    die "this gcc cannot compile with -m32, which the loader for i386 guests needs; install gcc-multilib"
fi
tarball=$(./fetch.sh)

# The tree is built at a fixed relative path, without dates, so that equal tools give equal files.
tree=build/$arch.tree
rm -rf "$tree" "$out"
mkdir -p "$tree" "$out"
tar -xzf "$tarball" -C "$tree" --strip-components=1 --no-same-owner
for patch in patches/*.patch; do
    patch -s -p1 -d "$tree" <"$patch" || die "$patch does not apply"
done
"${cross}gcc" -O2 -Wall -Wextra -c -o "$tree/talloc.o" talloc/talloc.c
make -s -C "$tree/src" -j2 proot CROSS_COMPILE="$cross" VERSION="$version-${queue:0:8}" HAS_SWIG= \
    CFLAGS="-O2 -Wall -I$PWD/talloc -ffile-prefix-map=$PWD=. ${PROOT_CFLAGS-}" \
    LDFLAGS="$PWD/$tree/talloc.o -static -Wl,-z,noexecstack,--build-id=none" >"$tree/build.log" 2>&1 ||
    { tail -n 30 "$tree/build.log" >&2; die "the build failed (see $tree/build.log)"; }
cp "$tree/src/proot" "$tree/src/loader/loader" "$out/"
[ "$arch" != x86_64 ] || cp "$tree/src/loader/loader-m32" "$out/"
"${cross}strip" "$out"/*
./check-binary.sh "$arch"
{
    printf 'version=%s\nsource_sha256=%s\npatches_sha256=%s\n' "$version" "$sha256" "$queue"
    (cd "$out" && sha256sum -- *) | awk '{ gsub("-", "_", $2); print $2 "_sha256=" $1 }'
    echo "inputs=$inputs"
} >"$out.manifest"
mv "$out.manifest" "$out/manifest"
