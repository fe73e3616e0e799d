#!/bin/bash
# Runs PRoot's own test suite, from the pinned source, against build/ARCH/proot.
#
# The unpatched 5.4.0 fails the first four named below as well. Four
# ask for what our patches change on purpose: test-33333333 for the exit status of the process that
# ends last, test-rrrrrrrr for the host path in /proc/self/root, test-1fedd9a3 and test-ssssssss for
# access as emulated root to folders of the host that deny it, which took a chmod of the host's
# folders behind the back of their owner. Exits non-zero if anything else fails. What is skipped depends on the tools that are installed.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
known='test-socket01 test-socket02 test-socket03 test-5bed7141 test-33333333 test-rrrrrrrr test-1fedd9a3
test-ssssssss'
proot=$(readlink -f "${1:-build/$(uname -m)/proot}")
tarball=$(./fetch.sh)

work=$(mktemp -d "${TMPDIR:-/tmp}/proot-tests.XXXXXX")
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
tar -xzf "$tarball" -C "$work" --strip-components=1 --no-same-owner
cp "$proot" "$work/src/proot"
make -k -C "$work/test" check PROOT="$work/src/proot" </dev/null >"$work/log" 2>&1 || true

results=$(sed -n 's/^ *CHECK\s*\(.*\)/\1/p' "$work/log")
count() { grep -c " $1\$" <<<"$results" || true; }
unexpected=$(awk '/ FAILED$/ { print $1 }' <<<"$results" | grep -vxF "$(xargs -n 1 <<<"$known")" | xargs || true)
echo "$(count ok) passed, $(count FAILED) failed, $(count skipped) skipped"
[ -z "$unexpected" ] || { echo "unexpected failures: $unexpected" >&2; exit 1; }
