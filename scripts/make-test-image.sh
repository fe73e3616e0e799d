#!/bin/bash
# Makes the image of a real distribution that the end-to-end tests use: an OCI layout OUTDIR/distro
# with the tag "latest" and three layers: debootstrap; then a compiler, numpy and git; then
# deletions and replacements (test-image/changes.sh). Root only; a few minutes and 700 MB.
# A second run does nothing unless these scripts have changed (a stamp has their hash).
set -euo pipefail

[[ $# == 1 ]] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
archive=$("$here/debian-mirror.sh") || { echo "$0: apt knows no archive to make a root from" >&2; exit 1; }
suite=${archive% *} mirror=${archive#* }

stamp=$(cat "$0" "$here/test-image/"* | sha256sum | cut -c 1-16)-$suite
[[ $(cat "$out/distro.stamp" 2>/dev/null) != "$stamp" ]] || { echo "test image: $out/distro is up to date"; exit 0; }
[[ $(id -u) == 0 ]] || { echo "$0: debootstrap needs root" >&2; exit 1; }

work=$(mktemp -d "$out/.distro.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
image=$work/distro bundle=$work/bundle root=$work/bundle/rootfs
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
umoci init --layout "$image"
umoci new --image "$image:latest"
umoci unpack --image "$image:latest" "$bundle"

# Packs the changes in the bundle since the last layer.
layer() {
	rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*_* "$root"/var/log/*.log
	umoci repack --refresh-bundle --image "$image:latest" --history.comment "$1" "$bundle"
}

# Runs one of our scripts inside the tree.
inside() { chroot "$root" /bin/bash -s <"$here/test-image/$1.sh"; }

echo "test image: layer 1, debootstrap $suite"
extra=(); [[ $mirror != https* ]] || extra=(--include=ca-certificates)
# shellcheck source=/dev/null
[[ $(. /etc/os-release && echo "$ID") != ubuntu ]] || extra+=("--components=main,universe") # for rpm
debootstrap --variant=minbase "${extra[@]}" "$suite" "$root" "$mirror" >"$work/log" || { tail -n 30 "$work/log"; exit 1; }
layer debootstrap

echo "test image: layer 2, gcc make python3-numpy git rpm"
cp /etc/resolv.conf "$root/etc/resolv.conf"
{ chroot "$root" apt-get update &&
	chroot "$root" apt-get install --yes --no-install-recommends gcc libc6-dev make python3-numpy git rpm
} >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
inside below
layer packages

echo "test image: layer 3, deletions and replacements"
inside changes
layer changes

umoci config --image "$image:latest" --config.cmd /bin/bash --config.env LANG=C.UTF-8 \
	--config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.workingdir /root
umoci gc --layout "$image"
chmod -R a+rX "$image"
rm -rf "$out/distro"
mv "$image" "$out/distro"
echo "$stamp" >"$out/distro.stamp"
