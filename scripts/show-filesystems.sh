#!/bin/bash
# Shows, on its own file systems in loop devices, behaviour that tests without privilege cannot:
# clones share blocks on btrfs and xfs, an exceeded quota is named and leaves nothing behind, a
# repository of another user can be read without messages, and a failing disk is named. Root only;
# takes the executable: show-filesystems.sh UDOCKER. The files in filesystems/ have one part each.
set -euo pipefail

[[ $# == 1 ]] || { echo "usage: $0 UDOCKER" >&2; exit 2; }
[[ $(id -u) == 0 ]] || { echo "$0: mounting needs root" >&2; exit 1; }
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
chmod 755 "$work"
trap 'kill $(jobs -p) 2>/dev/null || true; umount --quiet --recursive "$work"/*.mount || true; rm -rf --one-file-system "$work"' EXIT
install -m 755 "$1" "$work/udocker"
cd "$work" # which every user can read
# shellcheck source=scripts/filesystems/common.sh
. "$here/filesystems/common.sh"

(mounted ext2 -q 2>/dev/null) || { "$here/skip.sh" "this system mounts no loop devices"; exit; }
# shellcheck source=scripts/filesystems/clones.sh
. "$here/filesystems/clones.sh"
for type in btrfs xfs; do
	command -v "mkfs.$type" >/dev/null || { "$here/skip.sh" "mkfs.$type is not installed"; continue; }
	(mounted "$type" 2>/dev/null) || { "$here/skip.sh" "this kernel lacks the file system: $type"; continue; }
	show_clones "$type"
done
# Not every kernel has quotas for users; those of btrfs give the same error.
# shellcheck source=scripts/filesystems/quota.sh
! mountpoint --quiet "$work/btrfs.mount" || . "$here/filesystems/quota.sh"
# shellcheck source=scripts/filesystems/failing.sh
. "$here/filesystems/failing.sh"
