#!/bin/bash
# Checks build/ARCH/proot in a rootfs made of busybox and tests/probe.c.
#
# vendor-proot/test.sh [NAME...] runs tests/NAME.sh, or all of them, with seccomp, without its fast
# paths (PROOT_NO_FAST=1), and without seccomp; MODES names some of these. Needs a static busybox
# (BUSYBOX=FILE, or busybox-static installed) and gcc; any user will do.
set -uo pipefail
umask 022
here=$(dirname "$(readlink -f "$0")")
engine=$here/build/$(uname -m)
busybox=${BUSYBOX:-$(command -v busybox)} || { echo "test.sh: install busybox-static" >&2; exit 2; }
[ -x "$engine/proot" ] || { echo "test.sh: run build.sh first" >&2; exit 2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/proot-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,tmp} "$work/empty"
cp "$busybox" "$root/bin/busybox"
"${CC:-gcc}" -O1 -static -pthread -o "$root/bin/probe" "$here/tests/probe.c" || exit 2
for name in sh sleep true cat env kill echo ls rm; do ln -s busybox "$root/bin/$name"; done
export PATH=/bin:/usr/bin PROOT_LOADER=$engine/loader PROOT_LOADER_32=$engine/loader-m32
export PROOT_TMP_DIR=$work/empty
passed=0 failed=0 mode=

# Replaces the shell that runs it: use it through status, or in the background, where $! is then
# the id of PRoot itself.
guest() { exec "$engine/proot" -r "$root" -b /proc -b /dev -w / "$@"; }

# same DESCRIPTION EXPECTED ACTUAL
same() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED ($mode) $1: expected '$2', got '$3'"
    fi
}

# status DESCRIPTION EXPECTED COMMAND...
status() {
    local description=$1 expected=$2 actual
    shift 2
    timeout -k 1 20 bash -c "$(declare -f guest); $(declare -p engine root); \"\$@\"" - "$@" >"$work/out" 2>"$work/err" </dev/null
    actual=$?
    same "$description" "$expected" "$actual"
}

names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(cd "$here/tests" && printf '%s\n' *.sh | sed 's/\.sh$//')
for mode in ${MODES:-seccomp no-fast no-seccomp}; do
    if [ "$mode" = no-fast ]; then export PROOT_NO_FAST=1; else unset PROOT_NO_FAST; fi
    if [ "$mode" = no-seccomp ]; then export PROOT_NO_SECCOMP=1; else unset PROOT_NO_SECCOMP; fi
    for name in "${names[@]}"; do
        # shellcheck source=/dev/null
        . "$here/tests/$name.sh"
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
