#!/bin/bash
# Shows that the release executable is one static file that runs on an old and on a new
# distribution: show-portable.sh UDOCKER CACHEDIR. Needs Debian (elsewhere it is skipped with a
# message), and root for debootstrap and chroot. The two roots are kept in CACHEDIR.
set -euo pipefail
[[ $# == 2 ]] || { echo "usage: $0 UDOCKER CACHEDIR" >&2; exit 2; }
binary=$(readlink -e "$1")
cache=$(mkdir -p "$2" && cd "$2" && pwd)
cd "$(dirname "$(readlink -f "$0")")/.."

fail() { echo "$binary: $*" >&2; exit 1; }
# ldd returns 1 for a static executable, so its output is checked.
linked=$(ldd "$binary" 2>&1 || true)
[[ $linked == *"statically linked"* || $linked == *"not a dynamic executable"* ]] || fail "not static: $linked"
size=$(stat --format %s "$binary")
((size < 20000000)) || fail "$size bytes are not under 20 MB"
[[ -z $(nm --defined-only "$binary" 2>/dev/null) ]] || fail "not stripped"
echo "$binary: static, stripped, $size bytes"

archive=$(scripts/debian-mirror.sh) || fail "apt knows no archive to make roots from"
mirror=${archive#* }
# shellcheck source=/dev/null
if [[ $(. /etc/os-release && echo "$ID") != debian ]]; then
	scripts/skip.sh "this machine has no archive of Debian: no roots of Debian 12 and sid"
	exit
fi
for suite in bookworm sid; do
	root=$cache/root-$suite
	if [[ ! -e $root.done ]]; then
		echo "debootstrap $suite"
		rm -rf --one-file-system "$root"
		debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 30 "$root.log"; exit 1; }
		touch "$root.done"
	fi
	install "$binary" "$root/usr/local/bin/udocker"
	version=$(chroot "$root" /usr/local/bin/udocker --version)
	echo "$suite, $(chroot "$root" ldd --version | head -n 1): $version"
	# Unpacks the engine, writes a repository, and runs a program of the distribution in it.
	unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" setpriv --reuid 1000 \
		--regid 1000 --clear-groups env HOME=/tmp/home sh -ec "$2"' - "$root" \
		'mkdir -p /tmp/home; udocker -q install; udocker -q images
		 udocker -q run --location=/ sh -c "echo \"  a container of \$(cat /etc/debian_version), as \$(id -un)\""'
done
